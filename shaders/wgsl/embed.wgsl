// y = table + x behind rows of the table alone: class tokens and positions. An invocation computes one vec4.
#import shape
#import epilogue
#import each

#input x 2
// A row a token, as the output lies.
@group(0) @binding(4) var<storage, read> table: array<vec4f>;
#output y 5

fn compute(row: u32, column: u32) {
    let sample = row / shape.pixels;
    let token = row - sample * shape.pixels;
    let pixels = shape.input_height * shape.input_width;
    // Below the first pixel it wraps round, beyond them all.
    let pixel = token - (shape.pixels - pixels);
    let there = pixel < pixels;
    let value = x_at((sample * pixels + select(0u, pixel, there)) * shape.input_stride4 + column);
    let out = table[token * shape.outputs4 + column] + select(vec4f(0.0), value, there);
    y_put(row * shape.output_stride4 + column, epilogue(out, row, column));
}
