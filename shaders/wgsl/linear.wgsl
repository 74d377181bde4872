// y[M, N] = act(x[M, K] · Wᵀ + b + r). An invocation keeps TM rows × TN vec4s of outputs in registers; no barrier, no
// workgroup memory: the caches do what a shared tile would do.
// Invocations are numbered through, column groups fastest, so that few columns leave no lane idle.
#import shape
#import epilogue

#input x 2
// W in panels.
#weights w 4
@group(0) @binding(5) var<storage, read> bias: array<vec4f>;
#output y 6

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    prepare_epilogue();
    let rows = row_count();
    let index = (group.y * groups.x + group.x) * WG + local;
    let row_group = index / shape.column_groups;
    let row = row_group * TM;
    if row >= rows {
        return;
    }
    // Neighbours read neighbouring vec4s; the second one of each lies a whole row of groups further.
    let column = index - row_group * shape.column_groups;
    #for n TN
    let column$n = min(column + $n * shape.column_groups, shape.outputs4 - 1);
    let w_column$n = column$n / PANEL * shape.inputs4 * 4u * PANEL + column$n % PANEL;
    #endfor
    // Rows past the end read the last one again and are not stored.
    #for m TM
    let x_row$m = min(row + $m, rows - 1) * shape.input_stride4;
    #endfor
    #for m TM
    #for n TN
    var acc$m_$n = vec4f(0.0);
    #endfor
    #endfor
    for (var k = 0u; k < shape.inputs4; k++) {
        let w_row = k * 4u * PANEL;
        #for n TN
        let w0_$n = w_at(w_column$n + w_row);
        let w1_$n = w_at(w_column$n + w_row + PANEL);
        let w2_$n = w_at(w_column$n + w_row + 2u * PANEL);
        let w3_$n = w_at(w_column$n + w_row + 3u * PANEL);
        #endfor
        #for m TM
        let x$m = x_at(x_row$m + k);
        #for n TN
        acc$m_$n += x$m.x * w0_$n;
        acc$m_$n += x$m.y * w1_$n;
        acc$m_$n += x$m.z * w2_$n;
        acc$m_$n += x$m.w * w3_$n;
        #endfor
        #endfor
    }
    #import store_tile
}
