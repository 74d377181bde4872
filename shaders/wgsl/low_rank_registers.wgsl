// y[M, N] = act((x[M, K] · Vᵀ) · U'ᵀ + b + r) in one dispatch: an invocation owns BM rows and keeps their intermediate, h, of
// exactly R4 vec4s a row, in registers. No barrier and nothing computed twice, but only M / BM invocations.
#import shape
#import epilogue

#input x 2
// [K padded to 4][R4]
#weights v 4
// U in panels, K being R4 · 4.
#weights u 5
@group(0) @binding(6) var<storage, read> bias: array<vec4f>;
#output y 7

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    prepare_epilogue();
    let rows = row_count();
    let row = ((group.y * groups.x + group.x) * WG + local) * BM;
    if row >= rows {
        return;
    }
    #for m BM
    let x_row$m = min(row + $m, rows - 1) * shape.input_stride4;
    #for r R4
    var h$m_$r = vec4f(0.0);
    #endfor
    #endfor
    for (var k = 0u; k < shape.inputs4; k++) {
        let v_row = k * 4u * R4;
        #for m BM
        let x$m = x_at(x_row$m + k);
        #endfor
        #for r R4
        {
            let v0 = v_at(v_row + $r);
            let v1 = v_at(v_row + R4 + $r);
            let v2 = v_at(v_row + 2u * R4 + $r);
            let v3 = v_at(v_row + 3u * R4 + $r);
            #for m BM
            h$m_$r += x$m.x * v0;
            h$m_$r += x$m.y * v1;
            h$m_$r += x$m.z * v2;
            h$m_$r += x$m.w * v3;
            #endfor
        }
        #endfor
    }
    #import second_stage_registers
}
