// y = act(conv(x, W) + b + r) where each channel has a window of its own. An invocation computes TM pixels × one vec4.
#import shape
#import epilogue
#import window

#input x 2
// [height][width][channels / 4]
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
    let row_group = index / shape.outputs4;
    let row = row_group * TM;
    if row >= rows {
        return;
    }
    let column = index - row_group * shape.outputs4;
    #for m TM
    let corner$m = corner(min(row + $m, rows - 1));
    var acc$m = bias[column];
    #endfor
    var w_row = column;
    for (var tap_y = 0u; tap_y < shape.kernel_height; tap_y++) {
        for (var tap_x = 0u; tap_x < shape.kernel_width; tap_x++) {
            let weight = w_at(w_row);
            w_row += shape.outputs4;
            #for m TM
            let tap$m = tap(corner$m, tap_y, tap_x);
            acc$m += weight * select(vec4f(0.0), x_at(tap$m.at + column), tap$m.inside);
            #endfor
        }
    }
    #for m TM
    if row + $m < rows {
        y_put((row + $m) * shape.output_stride4 + column, epilogue(acc$m, row + $m, column));
    }
    #endfor
}
