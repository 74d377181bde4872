// Elements in another order: element n of the output, counted channel after channel, is the input's element
// offset + sum of index * stride over the steps whose indices n counts. An invocation computes one vec4.
#import shape
#import epilogue
#import each

#input x 2
// The offset, how many steps there are, then size and stride of each, innermost first.
@group(0) @binding(4) var<storage, read> steps: array<u32>;
#output y 5

fn compute(row: u32, column: u32) {
    let sample = row / shape.pixels;
    let pixel = row - sample * shape.pixels;
    let pixels = shape.input_height * shape.input_width;
    var out = vec4f(0.0);
    for (var i = 0u; i < 4u; i++) {
        let channel = column * 4u + i;
        if channel >= shape.outputs {
            break;
        }
        var left = channel * shape.pixels + pixel;
        var at = steps[0];
        for (var k = 0u; k < steps[1]; k++) {
            let size = steps[2u + 2u * k];
            at += left % size * steps[3u + 2u * k];
            left /= size;
        }
        let source = at / pixels;
        out[i] = x_at((sample * pixels + at - source * pixels) * shape.input_stride4 + source / 4u)[source % 4u];
    }
    y_put(row * shape.output_stride4 + column, epilogue(out, row, column));
}
