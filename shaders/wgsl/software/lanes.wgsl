// y = act(conv(x, W) + b + r) by subgroups of 8 lanes; rows of features are images of one pixel. CL lanes own TN vec4s of
// outputs each, of TM rows, and the other lanes of the subgroup the same outputs of other rows. A lane loads another vec4 of x
// than its neighbours and the lanes hand around what they loaded: an adapter on the CPU loads every lane for itself, and a
// value that all lanes load costs it as much as eight values.
#import shape
#import epilogue
#import window
#import broadcast

#input x 2
// W in panels of CL · TN vec4s, K being [height][width][inputs padded to 4].
#weights w 4
@group(0) @binding(5) var<storage, read> bias: array<vec4f>;
#output y 6

// Lane `i` of a part: a constant where there is one part, so that a shuffle needs no index.
fn lane_of(part: u32, i: u32) -> u32 {
    #ifdef PARTS
    return part + i;
    #else
    return i;
    #endif
}

// In one function: what it keeps is in registers that `#for` names, and no call could share those.
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
    prepare_epilogue();
    let rows = row_count();
    let index = group.y * groups.x + group.x;
    let column_groups = shape.column_groups;
    let block = index / column_groups;
    let across = lane % CL;
    let part = lane - across;
    let row = (block * $(8 / CL) + part / CL) * TM;
    if block * $(8 / CL * TM) >= rows {
        return;
    }
    let first = (index - block * column_groups) * $(CL * TN) + across;
    #for n TN
    let column$n = first + $($n * CL);
    let start$n = bias[min(column$n, shape.outputs4 - 1)];
    #for m TM
    var acc$m_$n = start$n;
    #endfor
    #endfor
    // Rows past the end read the last one again and are not stored.
    #for j $(TM / RX)
    let corner$j = corner(min(row + $($j * RX) + across % RX, rows - 1));
    #endfor
    let slice = across / RX;
    // Uniforms, read once: inside of a loop an adapter on the CPU reads them for each lane.
    let inputs4 = shape.inputs4;
    let taps = vec2u(shape.kernel_width, shape.kernel_height);
    let dilation = vec2u(shape.dilation_width, shape.dilation_height);
    let size = vec2u(shape.input_width, shape.input_height);
    let stride4 = shape.input_stride4;
    var w_row = (index - block * column_groups) * taps.x * taps.y * inputs4 * $(4 * CL * TN) + across;
    for (var tap_y = 0u; tap_y < taps.y; tap_y++) {
        for (var tap_x = 0u; tap_x < taps.x; tap_x++) {
            #for j $(TM / RX)
            // What wrapped round is beyond the image too.
            let at$j = vec2u(corner$j.x, corner$j.y) + vec2u(tap_x, tap_y) * dilation;
            let inside$j = at$j.x < size.x && at$j.y < size.y;
            let x_row$j = (corner$j.image + at$j.y * size.x + at$j.x) * stride4 + slice;
            #endfor
            for (var k = 0u; k < inputs4; k += $(CL / RX)) {
                #for j $(TM / RX)
                // Not a product with 0: what lies elsewhere may be infinite.
                let there$j = inside$j && k + slice < inputs4;
                let x$j = select(vec4f(0.0), x_at(select(0u, x_row$j + k, there$j)), there$j);
                #endfor
                #ifdef SLICES
                // A loop, for a driver to compile it once.
                for (var s = 0u; s < min(inputs4 - k, SLICES); s++) {
                #else
                {
                let s = 0u;
                #endif
                    #for n TN
                    let w0_$n = w_at(w_row + $(0 * TN + $n * CL));
                    let w1_$n = w_at(w_row + $(1 * TN + $n * CL));
                    let w2_$n = w_at(w_row + $(2 * TN + $n * CL));
                    let w3_$n = w_at(w_row + $(3 * TN + $n * CL));
                    #endfor
                    w_row += $(4 * CL * TN);
                    #for m TM
                    {
                        let v = broadcast(x$($m / RX), lane_of(part, s * RX + $($m % RX)));
                        #for n TN
                        acc$m_$n += v.x * w0_$n;
                        acc$m_$n += v.y * w1_$n;
                        acc$m_$n += v.z * w2_$n;
                        acc$m_$n += v.w * w3_$n;
                        #endfor
                    }
                    #endfor
                }
            }
        }
    }
    // SB rows at a time, while the others move up: the epilogues of a whole tile are half of what a driver would compile.
    for (var done = 0u; done < TM; done += SB) {
        #for m SB
        if row + done + $m < rows {
            #for n TN
            if column$n < shape.outputs4 {
                y_put((row + done + $m) * shape.output_stride4 + column$n, epilogue(acc$m_$n, row + done + $m, column$n));
            }
            #endfor
        }
        #endfor
        #for m $(TM - SB)
        #for n TN
        acc$m_$n = acc$($m + SB)_$n;
        #endfor
        #endfor
    }
}
