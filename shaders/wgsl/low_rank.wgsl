// y[M, N] = act((x[M, K] · Vᵀ) · U'ᵀ + b + r) in one dispatch: a workgroup owns TM rows and keeps their intermediate, h, in
// workgroup memory. A task is BM rows × BN vec4s in registers, in both stages, as in linear.wgsl.
// KS > 1 cuts the sum over K in KS slices: small ranks and few rows leave not enough tasks for all invocations.
#import shape
#import epilogue

#input x 2
// V in panels.
#weights v 4
// U in panels, K being the rank.
#weights u 5
@group(0) @binding(6) var<storage, read> bias: array<vec4f>;
#output y 7

// [KS][TM][rank / 4], packed to the layer's own rank; R4 is the most that fits.
var<workgroup> h: array<vec4f, KS * TM * R4>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    prepare_epilogue();
    let rows = row_count();
    let first = (group.y * groups.x + group.x) * TM;
    let rank4 = shape.rank4;
    let rank_groups = (rank4 + BN - 1) / BN;
    let slice = (shape.inputs4 + KS - 1) / KS;
    for (var task = local; task < KS * (TM / BM) * rank_groups; task += WG) {
        let rest = task / rank_groups;
        let r = task - rest * rank_groups;
        let part = rest / (TM / BM);
        let block = rest - part * (TM / BM);
        #for n BN
        let r$n = min(r + $n * rank_groups, rank4 - 1);
        let v_column$n = r$n / PANEL * shape.inputs4 * 4u * PANEL + r$n % PANEL;
        #endfor
        #for m BM
        let x_row$m = min(first + block * BM + $m, rows - 1) * shape.input_stride4;
        #for n BN
        var acc$m_$n = vec4f(0.0);
        #endfor
        #endfor
        let end = min((part + 1) * slice, shape.inputs4);
        for (var k = part * slice; k < end; k++) {
            let v_row = k * 4u * PANEL;
            #for n BN
            let v0_$n = v_at(v_column$n + v_row);
            let v1_$n = v_at(v_column$n + v_row + PANEL);
            let v2_$n = v_at(v_column$n + v_row + 2u * PANEL);
            let v3_$n = v_at(v_column$n + v_row + 3u * PANEL);
            #endfor
            #for m BM
            let x$m = x_at(x_row$m + k);
            #for n BN
            acc$m_$n += x$m.x * v0_$n;
            acc$m_$n += x$m.y * v1_$n;
            acc$m_$n += x$m.z * v2_$n;
            acc$m_$n += x$m.w * v3_$n;
            #endfor
            #endfor
        }
        // Where the groups do not come out even, two invocations write the same sum to the same place.
        #for m BM
        #for n BN
        h[(part * TM + block * BM + $m) * rank4 + r$n] = acc$m_$n;
        #endfor
        #endfor
    }
    workgroupBarrier();
    #ifdef SPLIT
    for (var i = local; i < TM * rank4; i += WG) {
        var sum = h[i];
        for (var part = 1u; part < KS; part++) {
            sum += h[part * TM * rank4 + i];
        }
        h[i] = sum;
    }
    workgroupBarrier();
    #endif
    let column_groups = shape.column_groups;
    for (var task = local; task < (TM / BM) * column_groups; task += WG) {
        let block = task / column_groups;
        let column = task - block * column_groups;
        let row = first + block * BM;
        if row >= rows {
            continue;
        }
        #for n BN
        let column$n = min(column + $n * column_groups, shape.outputs4 - 1);
        let u_column$n = column$n / PANEL * rank4 * 4u * PANEL + column$n % PANEL;
        #endfor
        #for m BM
        #for n BN
        var acc$m_$n = vec4f(0.0);
        #endfor
        #endfor
        for (var r = 0u; r < rank4; r++) {
            let u_row = r * 4u * PANEL;
            #for n BN
            let u0_$n = u_at(u_column$n + u_row);
            let u1_$n = u_at(u_column$n + u_row + PANEL);
            let u2_$n = u_at(u_column$n + u_row + 2u * PANEL);
            let u3_$n = u_at(u_column$n + u_row + 3u * PANEL);
            #endfor
            #for m BM
            let h$m = h[(block * BM + $m) * rank4 + r];
            #for n BN
            acc$m_$n += h$m.x * u0_$n;
            acc$m_$n += h$m.y * u1_$n;
            acc$m_$n += h$m.z * u2_$n;
            acc$m_$n += h$m.w * u3_$n;
            #endfor
            #endfor
        }
        #for n BN
        if column + $n * column_groups < shape.outputs4 {
            #for m BM
            if row + $m < rows {
                y_put((row + $m) * shape.output_stride4 + column$n, epilogue(acc$m_$n + bias[column$n], row + $m, column$n));
            }
            #endfor
        }
        #endfor
    }
}
