// What happens to outputs before they are stored: a second input, an activation, zeros in the padding.
#import activation

// 0: none, 1: of the output's own shape, 2: with steps and an offset. A constant of the pipeline, as is ACTIVATION:
// software adapters walk through both sides of a branch.
override RESIDUAL: u32 = 0u;

// The second input; the first one again where a step has none.
#input second 3

var<private> outputs: u32;

// Before the first `epilogue`.
fn prepare_epilogue() {
    outputs = shape.outputs;
    least = shape.least;
    most = shape.most;
    bounded = least <= most;
}

// The four outputs at `column4` of `row`. Columns past the end are written as 0, whatever was summed, so that the next
// layer can load whole vec4s: its padding weights are 0, and NaN · 0 would be NaN.
fn epilogue(sum: vec4f, row: u32, column4: u32) -> vec4f {
    var out = sum;
    switch RESIDUAL {
        case 1u: {
            out += second_at(row * shape.second_stride4 + column4);
        }
        case 2u: {
            out += shifted(row, column4);
        }
        default: {}
    }
    return select(vec4f(0.0), activate(out), vec4u(0u, 1u, 2u, 3u) + vec4u(column4 * 4u) < vec4u(outputs));
}

// Four channels that need not lie in one vec4 of the residual, 0 where it has none.
fn shifted(row: u32, column4: u32) -> vec4f {
    let line = row / shape.output_width;
    let image = line / shape.output_height;
    let y = (line - image * shape.output_height) * shape.residual_step;
    let x = (row - line * shape.output_width) * shape.residual_step;
    let at = ((image * shape.second_height + y) * shape.second_width + x) * shape.second_stride4;
    // Below 0 they wrap round, beyond all channels.
    let channels = vec4u(0u, 1u, 2u, 3u) + vec4u(column4 * 4u - shape.residual_offset);
    let there = channels < vec4u(shape.second_channels);
    let source = select(vec4u(0u), channels, there);
    let values = vec4f(
        second_at(at + source.x / 4u)[source.x % 4u],
        second_at(at + source.y / 4u)[source.y % 4u],
        second_at(at + source.z / 4u)[source.z % 4u],
        second_at(at + source.w / 4u)[source.w % 4u],
    );
    return select(vec4f(0.0), values, there);
}
