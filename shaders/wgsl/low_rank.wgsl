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
    #import second_stage
}
