// The largest (MAX) or the mean value under a window, channel by channel. An invocation computes one vec4.
#import shape
#import epilogue
#import window

#input x 2
#output y 4

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    prepare_epilogue();
    let rows = row_count();
    let index = (group.y * groups.x + group.x) * WG + local;
    let row = index / shape.outputs4;
    if row >= rows {
        return;
    }
    let column = index - row * shape.outputs4;
    let start = corner(row);
    #ifdef MAX
    var out = vec4f(shape.lowest);
    #else
    var out = vec4f(0.0);
    var count = 0.0;
    #endif
    for (var tap_y = 0u; tap_y < shape.kernel_height; tap_y++) {
        for (var tap_x = 0u; tap_x < shape.kernel_width; tap_x++) {
            let under = tap(start, tap_y, tap_x);
            let value = x_at(under.at + column);
            #ifdef MAX
            out = max(out, select(vec4f(shape.lowest), value, under.inside));
            #else
            out += select(vec4f(0.0), value, under.inside);
            count += select(0.0, 1.0, under.inside || (shape.flags & 1u) != 0u);
            #endif
        }
    }
    #ifdef MAX
    #else
    out /= max(count, 1.0);
    #endif
    y_put(row * shape.output_stride4 + column, epilogue(out, row, column));
}
