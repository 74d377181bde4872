// Softmax over the channels of a row, or its logarithm (bit 0 of the flags). A workgroup computes one row, an invocation
// every WG-th vec4 of it.
#import shape
#import epilogue

#input x 2
#output y 4

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
    var most = vec4f(shape.lowest);
    for (var column = local; column < shape.outputs4; column += WG) {
        most = max(most, select(vec4f(shape.lowest), x_at(start + column), there(column)));
    }
    partial[local] = max(max(most.x, most.y), max(most.z, most.w));
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] = max(partial[local], partial[local + half]);
        }
        workgroupBarrier();
    }
    let largest = partial[0];
    workgroupBarrier();
    var sums = vec4f(0.0);
    for (var column = local; column < shape.outputs4; column += WG) {
        sums += select(vec4f(0.0), power(x_at(start + column) - largest), there(column));
    }
    partial[local] = sums.x + sums.y + sums.z + sums.w;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] += partial[local + half];
        }
        workgroupBarrier();
    }
    let sum = partial[0];
    for (var column = local; column < shape.outputs4; column += WG) {
        let below = x_at(start + column) - largest;
        let out = select(power(below) / sum, below - log(sum), (shape.flags & 1u) != 0u);
        y_put(row * shape.output_stride4 + column, epilogue(out, row, column));
    }
}

// Which of the four channels there are.
fn there(column: u32) -> vec4<bool> {
    return vec4u(0u, 1u, 2u, 3u) + vec4u(column * 4u) < vec4u(shape.outputs);
}

// e^x of x at most 0, where padding may be more.
fn power(below: vec4f) -> vec4f {
    return exp(clamp(below, -MOST, vec4f(0.0)));
}
