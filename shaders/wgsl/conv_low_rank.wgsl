// y = act(U·conv(x, V) + b + r) over images in one dispatch: low_rank.wgsl whose first sum goes over the taps of a window
// as well. A workgroup owns TM pixels and keeps their intermediate, h, in workgroup memory; a task is BM pixels × BN vec4s.
// KS > 1 cuts the inputs in KS slices: small ranks and few rows leave not enough tasks for all invocations.
#import shape
#import epilogue
#import window

#input x 2
// V in panels, K being [height][width][inputs padded to 4].
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
    let taps = shape.kernel_height * shape.kernel_width;
    let slice = (shape.inputs4 + KS - 1) / KS;
    for (var task = local; task < KS * (TM / BM) * rank_groups; task += WG) {
        let rest = task / rank_groups;
        let r = task - rest * rank_groups;
        let part = rest / (TM / BM);
        let block = rest - part * (TM / BM);
        #for n BN
        let r$n = min(r + $n * rank_groups, rank4 - 1);
        let v_column$n = r$n / PANEL * taps * shape.inputs4 * 4u * PANEL + r$n % PANEL;
        #endfor
        #for m BM
        let corner$m = corner(min(first + block * BM + $m, rows - 1));
        #for n BN
        var acc$m_$n = vec4f(0.0);
        #endfor
        #endfor
        let start = part * slice;
        let end = min(start + slice, shape.inputs4);
        for (var tap_y = 0u; tap_y < shape.kernel_height; tap_y++) {
            for (var tap_x = 0u; tap_x < shape.kernel_width; tap_x++) {
                let v_tap = (tap_y * shape.kernel_width + tap_x) * shape.inputs4;
                #for m BM
                let tap$m = tap(corner$m, tap_y, tap_x);
                #endfor
                for (var k = start; k < end; k++) {
                    let v_row = (v_tap + k) * 4u * PANEL;
                    #for n BN
                    let v0_$n = v_at(v_column$n + v_row);
                    let v1_$n = v_at(v_column$n + v_row + PANEL);
                    let v2_$n = v_at(v_column$n + v_row + 2u * PANEL);
                    let v3_$n = v_at(v_column$n + v_row + 3u * PANEL);
                    #endfor
                    #for m BM
                    let x$m = select(vec4f(0.0), x_at(tap$m.at + k), tap$m.inside);
                    #for n BN
                    acc$m_$n += x$m.x * v0_$n;
                    acc$m_$n += x$m.y * v1_$n;
                    acc$m_$n += x$m.z * v2_$n;
                    acc$m_$n += x$m.w * v3_$n;
                    #endfor
                    #endfor
                }
            }
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
