// y = scale * (x - mean) / sqrt(variance + eps) + shift, mean and variance of the channels of a row. A workgroup computes one
// row, an invocation every WG-th vec4 of it.
#import shape
#import epilogue

#input x 2
// The scales, then as many shifts.
@group(0) @binding(4) var<storage, read> table: array<vec4f>;
#output y 5

var<workgroup> partial: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    prepare_epilogue();
    let row = group.y * groups.x + group.x;
    if row >= row_count() {
        return;
    }
    let start = row * shape.input_stride4;
    // Padding is zero, and so is its share of this sum.
    var sums = vec4f(0.0);
    for (var column = local; column < shape.outputs4; column += WG) {
        sums += x_at(start + column);
    }
    let mean = total(sums, local) / f32(shape.outputs);
    // Around the mean, not from the squares: those would cancel.
    sums = vec4f(0.0);
    for (var column = local; column < shape.outputs4; column += WG) {
        let there = vec4u(0u, 1u, 2u, 3u) + vec4u(column * 4u) < vec4u(shape.outputs);
        let far = select(vec4f(0.0), x_at(start + column) - mean, there);
        sums += far * far;
    }
    let k = 1.0 / sqrt(total(sums, local) / f32(shape.outputs) + shape.number);
    for (var column = local; column < shape.outputs4; column += WG) {
        let out = (x_at(start + column) - mean) * k * table[column] + table[shape.outputs4 + column];
        y_put(row * shape.output_stride4 + column, epilogue(out, row, column));
    }
}

// The sum of what all invocations have.
fn total(sums: vec4f, local: u32) -> f32 {
    partial[local] = sums.x + sums.y + sums.z + sums.w;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] += partial[local + half];
        }
        workgroupBarrier();
    }
    let all = partial[0];
    // Nobody writes before everybody has read.
    workgroupBarrier();
    return all;
}
