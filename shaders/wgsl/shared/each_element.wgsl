// The entry of primitives in which an invocation computes one vec4 of the output by itself, `compute(sample, n, place)`: the sample's elements number
// n, counted in the order in which they lie, padding left out, which lie `place` elements behind the sample's first one. Of lanes that are
// padding both are those of the first lane.
@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (group.y * groups.x + group.x) * WG + local;
    let row = index / shape.outputs4;
    if row >= row_count() {
        return;
    }
    let column = index - row * shape.outputs4;
    let sample = row / shape.pixels;
    let pixel = row - sample * shape.pixels;
    let channels = vec4u(0u, 1u, 2u, 3u) + vec4u(column * 4u);
    let there = channels < vec4u(shape.outputs);
    let first = select(vec4u(column * 4u), channels, there);
    let out = compute(sample, vec4u(pixel * shape.outputs) + first, vec4u(pixel * shape.output_stride4 * 4u) + first);
    y_put(row * shape.output_stride4 + column, select(vec4f(0.0), out, there));
}
