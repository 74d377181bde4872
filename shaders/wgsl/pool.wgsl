// The largest (MAX) or the mean value under a window, channel by channel. An invocation computes one vec4.
#import shape
#import epilogue
#import each
#import window

#input x 2
#output y 4

fn compute(row: u32, column: u32) {
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
