// y = act(conv(x, W) + b + r) over images: linear.wgsl whose sum goes over the taps of a window as well. An invocation
// keeps TM pixels × TN vec4s of outputs in registers. Groups are of whole vec4s; where there are several, TN is 1.
#import shape
#import epilogue
#import window

#input x 2
// W in panels, K being [height][width][inputs padded to 4].
#weights w 4
@group(0) @binding(5) var<storage, read> bias: array<vec4f>;
#output y 6

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    prepare_epilogue();
    let rows = row_count();
    let index = (group.y * groups.x + group.x) * WG + local;
    let row_group = index / shape.column_groups;
    let row = row_group * TM;
    if row >= rows {
        return;
    }
    let column = index - row_group * shape.column_groups;
    let taps = shape.kernel_height * shape.kernel_width;
    #for n TN
    let column$n = min(column + $n * shape.column_groups, shape.outputs4 - 1);
    let w_column$n = column$n / PANEL * taps * shape.inputs4 * 4u * PANEL + column$n % PANEL;
    #endfor
    let x_group = column0 / shape.group_outputs * shape.inputs4;
    // Rows past the end read the last one again and are not stored.
    #for m TM
    let corner$m = corner(min(row + $m, rows - 1));
    #endfor
    #for m TM
    #for n TN
    var acc$m_$n = vec4f(0.0);
    #endfor
    #endfor
    var w_row = 0u;
    for (var tap_y = 0u; tap_y < shape.kernel_height; tap_y++) {
        for (var tap_x = 0u; tap_x < shape.kernel_width; tap_x++) {
            #for m TM
            let tap$m = tap(corner$m, tap_y, tap_x);
            let x_row$m = tap$m.at + x_group;
            #endfor
            for (var k = 0u; k < shape.inputs4; k++) {
                #for n TN
                let w0_$n = w_at(w_column$n + w_row);
                let w1_$n = w_at(w_column$n + w_row + PANEL);
                let w2_$n = w_at(w_column$n + w_row + 2u * PANEL);
                let w3_$n = w_at(w_column$n + w_row + 3u * PANEL);
                #endfor
                w_row += 4u * PANEL;
                #for m TM
                // Not a product with 0: what lies elsewhere may be infinite.
                let x$m = select(vec4f(0.0), x_at(x_row$m + k), tap$m.inside);
                #for n TN
                acc$m_$n += x$m.x * w0_$n;
                acc$m_$n += x$m.y * w1_$n;
                acc$m_$n += x$m.z * w2_$n;
                acc$m_$n += x$m.w * w3_$n;
                #endfor
                #endfor
            }
        }
    }
    #import store_tile
}
