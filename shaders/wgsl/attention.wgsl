// Multi-head attention, y = softmax(scale * q . k) v, without a matrix of scores: a workgroup owns BQ queries of one head
// and C4 * TN vec4s of its channels, and goes through the keys BK at a time. It keeps each query's largest score so far and
// rescales earlier sums when a larger one comes (arXiv 1805.02867, 2205.14135). An invocation computes 4 x 4 scores of a tile, then
// adds up 4 queries x TN vec4s of outputs. Larger heads have several workgroups, which compute the same scores.
// BQ * BK = 16 * WG, BQ / 4 * C4 = WG.
#import shape

#input q 2
#input k 3
#input v 4
#output y 5

// For each 4 queries: their largest scores of each 4 keys; what earlier sums are multiplied by; the exponentials, for 4 keys
// in each element.
var<workgroup> largest: array<vec4f, WG>;
var<workgroup> rescales: array<vec4f, $(BQ / 4)>;
var<workgroup> powers: array<vec4f, $(BQ * BK / 4)>;

// Below all scores, and e^x of it and of all that is less is nothing beside 1.
const LOWEST = -3e38;
const LEAST = vec4f(-80.0);

// In one function: what it keeps is in registers that `#for` names, and no call could share those.
@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    // Blocks of queries fastest, then parts of a head, then heads, then samples.
    let blocks = (shape.pixels + BQ - 1u) / BQ;
    var index = group.y * groups.x + group.x;
    let first_query = index % blocks * BQ;
    index /= blocks;
    let part = index % shape.column_groups;
    index /= shape.column_groups;
    let head = index % shape.heads;
    let sample = index / shape.heads;
    if sample >= run.rows {
        return;
    }
    let q_base = sample * shape.pixels;
    let k_base = sample * shape.keys;
    let q_channel = head * shape.head_size;
    let k_channel = shape.first_key + q_channel;
    let v_channel = shape.first_value + q_channel;
    let size4 = (shape.head_size + 3u) / 4u;

    // As scores are computed: 4 queries and 4 keys of each tile.
    let s_group = local / $(BK / 4);
    let s_keys = local % $(BK / 4);
    #for m 4
    let q_row$m = (q_base + min(first_query + s_group * 4u + $m, shape.pixels - 1u)) * shape.input_stride4;
    #endfor
    var most = vec4f(LOWEST);
    // As outputs are summed.
    let o_group = local / C4;
    #for n TN
    let column$n = (part * TN + $n) * C4 + local % C4;
    let v_column$n = min(column$n, size4 - 1u);
    #endfor
    var sum = vec4f(0.0);
    #for m 4
    #for n TN
    var acc$m_$n = vec4f(0.0);
    #endfor
    #endfor

    for (var first = 0u; first < shape.keys; first += BK) {
        #for m 4
        let k_row$m = (k_base + min(first + s_keys * 4u + $m, shape.keys - 1u)) * shape.second_stride4;
        var score$m = vec4f(0.0);
        #endfor
        for (var c = 0u; c < size4; c++) {
            #for m 4
            let k$m = k_of(k_row$m, k_channel, c);
            #endfor
            #for m 4
            let q$m = q_of(q_row$m, q_channel, c);
            score$m += vec4f(dot(q$m, k0), dot(q$m, k1), dot(q$m, k2), dot(q$m, k3));
            #endfor
        }
        let there = vec4u(0u, 1u, 2u, 3u) + vec4u(first + s_keys * 4u) < vec4u(shape.keys);
        #for m 4
        score$m = select(vec4f(LOWEST), score$m * shape.number, there);
        #endfor
        largest[local] = vec4f(top(score0), top(score1), top(score2), top(score3));
        workgroupBarrier();
        var now = most;
        for (var i = 0u; i < $(BK / 4); i++) {
            now = max(now, largest[s_group * $(BK / 4) + i]);
        }
        if s_keys == 0u {
            rescales[s_group] = exp(max(most - now, LEAST));
        }
        most = now;
        #for m 4
        powers[(s_group * 4u + $m) * $(BK / 4) + s_keys] = select(vec4f(0.0), exp(max(score$m - now[$m], LEAST)), there);
        #endfor
        workgroupBarrier();
        let rescale = rescales[o_group];
        sum *= rescale;
        #for m 4
        #for n TN
        acc$m_$n *= rescale[$m];
        #endfor
        #endfor
        let left = min($(BK / 4), (shape.keys - first + 3u) / 4u);
        for (var i = 0u; i < left; i++) {
            #for m 4
            let p$m = powers[(o_group * 4u + $m) * $(BK / 4) + i];
            #endfor
            sum += vec4f(dot(p0, vec4f(1.0)), dot(p1, vec4f(1.0)), dot(p2, vec4f(1.0)), dot(p3, vec4f(1.0)));
            #for j 4
            let v_row$j = (k_base + min(first + i * 4u + $j, shape.keys - 1u)) * shape.value_stride4;
            #endfor
            #for n TN
            #for j 4
            let v$j_$n = v_of(v_row$j, v_channel, v_column$n);
            #endfor
            #for m 4
            acc$m_$n += p$m.x * v0_$n + p$m.y * v1_$n + p$m.z * v2_$n + p$m.w * v3_$n;
            #endfor
            #endfor
        }
    }
    #for n TN
    if column$n < size4 {
        #for m 4
        if first_query + o_group * 4u + $m < shape.pixels {
            let row = q_base + first_query + o_group * 4u + $m;
            y_put(row * shape.output_stride4 + head * size4 + column$n, acc$m_$n / sum[$m]);
        }
        #endfor
    }
    #endfor
}

fn top(score: vec4f) -> f32 {
    return max(max(score.x, score.y), max(score.z, score.w));
}

#ifdef RAGGED
// The four channels from 4 * c on of a head that begins at `channel` of the row at `row`; 0 beyond the head.
fn straddling(before: vec4f, after: vec4f, channel: u32, c: u32) -> vec4f {
    let by = channel % 4u;
    var out = before;
    if by == 1u {
        out = vec4f(before.yzw, after.x);
    } else if by == 2u {
        out = vec4f(before.zw, after.xy);
    } else if by == 3u {
        out = vec4f(before.w, after.xyz);
    }
    return select(vec4f(0.0), out, vec4u(0u, 1u, 2u, 3u) + vec4u(c * 4u) < vec4u(shape.head_size));
}

fn q_of(row: u32, channel: u32, c: u32) -> vec4f {
    let at = channel / 4u + c;
    return straddling(q_at(row + at), q_at(row + min(at + 1u, shape.input_stride4 - 1u)), channel, c);
}

fn k_of(row: u32, channel: u32, c: u32) -> vec4f {
    let at = channel / 4u + c;
    return straddling(k_at(row + at), k_at(row + min(at + 1u, shape.second_stride4 - 1u)), channel, c);
}

fn v_of(row: u32, channel: u32, c: u32) -> vec4f {
    let at = channel / 4u + c;
    return straddling(v_at(row + at), v_at(row + min(at + 1u, shape.value_stride4 - 1u)), channel, c);
}
#else
fn q_of(row: u32, channel: u32, c: u32) -> vec4f {
    return q_at(row + channel / 4u + c);
}

fn k_of(row: u32, channel: u32, c: u32) -> vec4f {
    return k_at(row + channel / 4u + c);
}

fn v_of(row: u32, channel: u32, c: u32) -> vec4f {
    return v_at(row + channel / 4u + c);
}
#endif
