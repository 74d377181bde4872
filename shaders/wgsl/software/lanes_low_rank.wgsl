// y = act(U·conv(x, V) + b + r) in one dispatch by subgroups of 8 lanes. A lane owns BM rows and keeps their R4 vec4s of the
// intermediate, h, in registers; it loads an eighth of the weights and takes the others from its neighbours (lanes.wgsl
// says why).
#import shape
#import epilogue
#import window
#import broadcast

#input x 2
// [height][width][inputs padded to 4][R4]
#weights v 4
// [outputs / 4][R4 · 4]
#weights u 5
@group(0) @binding(6) var<storage, read> bias: array<vec4f>;
#output y 7

// In one function: what it keeps is in registers that `#for` names, and no call could share those.
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
    prepare_epilogue();
    let rows = row_count();
    let row = (group.y * groups.x + group.x) * $(8 * BM) + lane;
    if row - lane >= rows {
        return;
    }
    #for m BM
    let corner$m = corner(min(row + $($m * 8), rows - 1));
    #for r R4
    var h$m_$r = vec4f(0.0);
    #endfor
    #endfor
    // Uniforms, read once: inside of a loop an adapter on the CPU reads them for each lane.
    let inputs4 = shape.inputs4;
    let taps = vec2u(shape.kernel_width, shape.kernel_height);
    let dilation = vec2u(shape.dilation_width, shape.dilation_height);
    let size = vec2u(shape.input_width, shape.input_height);
    let stride4 = shape.input_stride4;
    let outputs4 = shape.outputs4;
    let output_stride4 = shape.output_stride4;
    // Not a constant, or a driver would unroll the stores.
    let end = min(rows - row + lane, $(8 * BM));
    var v_row = lane;
    for (var tap_y = 0u; tap_y < taps.y; tap_y++) {
        for (var tap_x = 0u; tap_x < taps.x; tap_x++) {
            #for m BM
            // What wrapped round is beyond the image too.
            let at$m = vec2u(corner$m.x, corner$m.y) + vec2u(tap_x, tap_y) * dilation;
            let inside$m = at$m.x < size.x && at$m.y < size.y;
            let x_row$m = select(0u, (corner$m.image + at$m.y * size.x + at$m.x) * stride4, inside$m);
            #endfor
            for (var k = 0u; k < inputs4; k++) {
                #for m BM
                let x$m = select(vec4f(0.0), x_at(x_row$m + k), inside$m);
                #endfor
                #for q $(R4 + 1 / 2)
                let v$q = v_at(v_row + $($q * 8));
                #endfor
                #for j 4
                #for r R4
                {
                    let w = broadcast(v$($j * R4 + $r / 8), $($j * R4 + $r % 8)u);
                    #for m BM
                    h$m_$r += x$m[$j] * w;
                    #endfor
                }
                #endfor
                #endfor
                v_row += $(R4 * 4);
            }
        }
    }
    for (var column = 0u; column < outputs4; column++) {
        let start = bias[column];
        #for m BM
        var acc$m = start;
        #endfor
        #for q $(R4 + 1 / 2)
        let u$q = u_at(column * $(R4 * 4) + lane + $($q * 8));
        #endfor
        #for r R4
        #for j 4
        {
            let w = broadcast(u$($r * 4 + $j / 8), $($r * 4 + $j % 8)u);
            #for m BM
            acc$m += h$m_$r[$j] * w;
            #endfor
        }
        #endfor
        #endfor
        // Two at a time while the others move up, as in lanes.wgsl.
        for (var done = 0u; done < end; done += 16u) {
            #for m 2
            if row + done + $($m * 8) < rows {
                y_put((row + done + $($m * 8)) * output_stride4 + column, epilogue(acc$m, row + done + $($m * 8), column));
            }
            #endfor
            #for m $(BM - 2)
            acc$m = acc$($m + 2);
            #endfor
        }
    }
}
