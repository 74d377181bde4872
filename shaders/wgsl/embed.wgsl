// y = table + x behind rows of the table alone: class tokens and positions. An invocation computes one vec4.
#import shape
#import epilogue

#input x 2
// A row a token, as the output lies.
@group(0) @binding(4) var<storage, read> table: array<vec4f>;
#output y 5

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
