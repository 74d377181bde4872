// y = act(x * r), element by element, or by one row of factors for all pixels of a sample (bit 0 of the flags). An
// invocation computes one vec4.
#import shape
#import epilogue
#import each

#input x 2
#output y 4

fn compute(row: u32, column: u32) {
    let factors = select(row, row / shape.pixels, (shape.flags & 1u) != 0u);
    let out = activate(x_at(row * shape.input_stride4 + column) * second_at(factors * shape.second_stride4 + column));
    let there = vec4u(0u, 1u, 2u, 3u) + vec4u(column * 4u) < vec4u(shape.outputs);
    y_put(row * shape.output_stride4 + column, select(vec4f(0.0), out, there));
}
