// y = act(conv(x, W) + b + r) with groups of any size, value by value: what conv.wgsl and depthwise.wgsl cannot do. An
// invocation computes one vec4, whose channels may belong to several groups.
#import shape
#import epilogue
#import each
#import window

#input x 2
// [outputs][height][width][inputs of a group]
#weights w 4
@group(0) @binding(5) var<storage, read> bias: array<vec4f>;
#output y 6

fn compute(row: u32, column: u32) {
    let taps = shape.kernel_height * shape.kernel_width;
    let start = corner(row);
    // Channels past the end do the last one's work again.
    let outputs = min(vec4u(0u, 1u, 2u, 3u) + vec4u(column * 4u), vec4u(shape.outputs - 1u));
    let first = outputs / shape.group_outputs * shape.group_inputs;
    var at = outputs * (taps * shape.group_inputs);
    var acc = vec4f(0.0);
    for (var tap_y = 0u; tap_y < shape.kernel_height; tap_y++) {
        for (var tap_x = 0u; tap_x < shape.kernel_width; tap_x++) {
            let under = tap(start, tap_y, tap_x);
            for (var i = 0u; i < shape.group_inputs; i++) {
                let c = first + i;
                let value = vec4f(
                    x_at(under.at + c.x / 4u)[c.x % 4u],
                    x_at(under.at + c.y / 4u)[c.y % 4u],
                    x_at(under.at + c.z / 4u)[c.z % 4u],
                    x_at(under.at + c.w / 4u)[c.w % 4u],
                );
                acc += select(vec4f(0.0), value, under.inside) * vec4f(weight(at.x), weight(at.y), weight(at.z), weight(at.w));
                at += vec4u(1u);
            }
        }
    }
    y_put(row * shape.output_stride4 + column, epilogue(acc + bias[column], row, column));
}

fn weight(i: u32) -> f32 {
    return w_at(i / 4u)[i % 4u];
}
