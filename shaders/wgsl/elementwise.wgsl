// y = act(x + r): an addition or an activation that no other kernel could take along. An invocation computes one vec4.
#import shape
#import epilogue

#input x 2
#output y 4

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
    y_put(row * shape.output_stride4 + column, epilogue(x_at(row * shape.input_stride4 + column), row, column));
}
