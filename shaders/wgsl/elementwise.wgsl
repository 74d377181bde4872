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
    // Channels that x lacks are those of the second input alone.
    let value = x_at(row * shape.input_stride4 + min(column, shape.inputs4 - 1u));
    y_put(row * shape.output_stride4 + column, epilogue(select(vec4f(0.0), value, column < shape.inputs4), row, column));
}
