// Multi-head attention as attention.wgsl has it, by subgroups of 8 lanes: a workgroup owns BQ queries of one head and
// 8 * TN vec4s of its channels. A lane computes the scores of KN keys of a tile with all queries, then adds up TN vec4s of
// all outputs. It loads an eighth of what all need and takes the rest from its neighbours (lanes.wgsl says why).
#import shape
#import broadcast

#input q 2
#input k 3
#input v 4
#output y 5

// Below all scores, and e^x of it and of all that is less is nothing beside 1.
const LOWEST = -3e38;
const LEAST = -80.0;

// In one function: what it keeps is in registers that `#for` names, and no call could share those.
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
    // Blocks of queries fastest, then parts of a head, then heads, then samples.
    let queries = shape.pixels;
    let blocks = (queries + BQ - 1u) / BQ;
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
    // Uniforms, read once: inside of a loop an adapter on the CPU reads them for each lane.
    let keys = shape.keys;
    let scale = shape.number;
    let k_stride = shape.second_stride4;
    let v_stride = shape.value_stride4;
    let size4 = shape.head_size / 4u;
    let k_base = sample * keys * k_stride + shape.first_key / 4u + head * size4;
    let v_base = sample * keys * v_stride + shape.first_value / 4u + head * size4;
    // Queries past the end are the last one again and are not stored.
    #for j $(BQ / 8)
    let q_row$j = (sample * queries + min(first_query + $j * 8u + lane, queries - 1u)) * shape.input_stride4 + head * size4;
    #endfor
    #for n TN
    let column$n = (part * TN + $n) * 8u + lane;
    let v_column$n = v_base + min(column$n, size4 - 1u);
    #for m BQ
    var acc$m_$n = vec4f(0.0);
    #endfor
    #endfor
    #for m BQ
    var most$m = LOWEST;
    // Of this lane's keys.
    var sum$m = 0.0;
    #endfor

    for (var first = 0u; first < keys; first += $(8 * KN)) {
        #for n KN
        let key$n = first + $n * 8u + lane;
        let k_row$n = k_base + min(key$n, keys - 1u) * k_stride;
        #for m BQ
        var score$m_$n = 0.0;
        #endfor
        #endfor
        for (var c = 0u; c < size4; c++) {
            #for n KN
            let k$n = k_at(k_row$n + c);
            #endfor
            #for j $(BQ / 8)
            let mine$j = q_at(q_row$j + c);
            #for l 8
            let q$j_$l = broadcast(mine$j, $lu);
            #for n KN
            score$($j * 8 + $l)_$n += dot(q$j_$l, k$n);
            #endfor
            #endfor
            #endfor
        }
        #for n KN
        let there$n = key$n < keys;
        #endfor
        #for m BQ
        #for n KN
        score$m_$n = select(LOWEST, score$m_$n * scale, there$n);
        #endfor
        var now$m = most$m;
        #for n KN
        now$m = max(now$m, score$m_$n);
        #endfor
        now$m = subgroupMax(now$m);
        let rescale$m = exp(max(most$m - now$m, LEAST));
        most$m = now$m;
        sum$m *= rescale$m;
        #for n KN
        score$m_$n = select(0.0, exp(max(score$m_$n - now$m, LEAST)), there$n);
        sum$m += score$m_$n;
        #endfor
        #for n TN
        acc$m_$n *= rescale$m;
        #endfor
        #endfor
        #for n KN
        for (var l = 0u; l < 8u; l++) {
            let v_row = min(first + $n * 8u + l, keys - 1u) * v_stride;
            #for t TN
            let v$t = v_at(v_column$t + v_row);
            #endfor
            #for m BQ
            let p$m = subgroupShuffle(score$m_$n, l);
            #for t TN
            acc$m_$t += p$m * v$t;
            #endfor
            #endfor
        }
        #endfor
    }
    #for m BQ
    let total$m = subgroupAdd(sum$m);
    if first_query + $m < queries {
        let row = (sample * queries + first_query + $m) * shape.output_stride4 + head * size4;
        #for t TN
        if column$t < size4 {
            y_put(row + column$t, acc$m_$t / total$m);
        }
        #endfor
    }
    #endfor
}
