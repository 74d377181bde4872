// y = act(U·conv(x, V) + b + r) over images in one dispatch: low_rank_registers.wgsl whose first sum goes over the taps of
// a window as well. An invocation owns BM pixels and keeps their R4 vec4s of the intermediate, h, in registers.
#import shape
#import epilogue
#import window

#input x 2
// [height][width][inputs padded to 4][R4]
#weights v 4
// U in panels, K being R4 · 4.
#weights u 5
@group(0) @binding(6) var<storage, read> bias: array<vec4f>;
#output y 7

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    prepare_epilogue();
    let rows = row_count();
    let row = ((group.y * groups.x + group.x) * WG + local) * BM;
    if row >= rows {
        return;
    }
    #for m BM
    let corner$m = corner(min(row + $m, rows - 1));
    #for r R4
    var h$m_$r = vec4f(0.0);
    #endfor
    #endfor
    var v_row = 0u;
    for (var tap_y = 0u; tap_y < shape.kernel_height; tap_y++) {
        for (var tap_x = 0u; tap_x < shape.kernel_width; tap_x++) {
            #for m BM
            let tap$m = tap(corner$m, tap_y, tap_x);
            #endfor
            for (var k = 0u; k < shape.inputs4; k++) {
                #for m BM
                let x$m = select(vec4f(0.0), x_at(tap$m.at + k), tap$m.inside);
                #endfor
                #for r R4
                {
                    let v0 = v_at(v_row + $r);
                    let v1 = v_at(v_row + R4 + $r);
                    let v2 = v_at(v_row + 2u * R4 + $r);
                    let v3 = v_at(v_row + 3u * R4 + $r);
                    #for m BM
                    h$m_$r += x$m.x * v0;
                    h$m_$r += x$m.y * v1;
                    h$m_$r += x$m.z * v2;
                    h$m_$r += x$m.w * v3;
                    #endfor
                }
                #endfor
                v_row += 4u * R4;
            }
        }
    }
    #import second_stage_registers
}
