// y = scale * (x - mean) / sqrt(variance + eps) + shift, mean and variance of the channels of a row. A workgroup computes one
// row, an invocation every WG-th vec4 of it.
#import shape
#import epilogue

#input x 2
// The scales, then as many shifts.
@group(0) @binding(4) var<storage, read> table: array<vec4f>;
#output y 5

#ifdef LANES
#else
var<workgroup> partial: array<f32, WG>;
#endif

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
    // Uniforms, read once: inside of a loop an adapter on the CPU reads them for each lane.
    let outputs4 = shape.outputs4;
    let outputs = shape.outputs;
    let y_start = row * shape.output_stride4;
    // Padding is zero, and so is its share of this sum.
    var sums = vec4f(0.0);
    for (var column = local; column < outputs4; column += WG) {
        sums += x_at(start + column);
    }
    let mean = total(sums, local) / f32(outputs);
    // Around the mean, not from the squares: those would cancel.
    sums = vec4f(0.0);
    for (var column = local; column < outputs4; column += WG) {
        let there = vec4u(0u, 1u, 2u, 3u) + vec4u(column * 4u) < vec4u(outputs);
        let far = select(vec4f(0.0), x_at(start + column) - mean, there);
        sums += far * far;
    }
    let k = 1.0 / sqrt(total(sums, local) / f32(outputs) + shape.number);
    for (var column = local; column < outputs4; column += WG) {
        let out = (x_at(start + column) - mean) * k * table[column] + table[outputs4 + column];
        y_put(y_start + column, epilogue(out, row, column));
    }
}

// The sum of what all invocations have.
#ifdef LANES
fn total(sums: vec4f, local: u32) -> f32 {
    return subgroupAdd(sums.x + sums.y + sums.z + sums.w);
}
#else
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
    // All have read before any of them writes again.
    workgroupBarrier();
    return all;
}
#endif
