// The entry of kernels in which an invocation computes one vec4 of the output by itself: `compute(row, column)`.

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    prepare_epilogue();
    let index = (group.y * groups.x + group.x) * WG + local;
    let row = index / shape.outputs4;
    if row < row_count() {
        compute(row, index - row * shape.outputs4);
    }
}
