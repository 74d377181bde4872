// What an adapter allows: multiply–adds on registers, or (READ) vec4s read in a row. Each invocation goes `shape.inputs4`
// rounds and writes what keeps its work from being left out.
#import shape

#input x 2
#output y 3

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let index = group.x * WG + local;
    let rounds = shape.inputs4;
    #ifdef READ
    let stride = groups.x * WG * SUMS;
    var at = index;
    #for s SUMS
    var sum$s = vec4f(0.0);
    #endfor
    for (var round = 0u; round < rounds; round++) {
        #for s SUMS
        sum$s += x_at(at + $s * groups.x * WG);
        #endfor
        at += stride;
    }
    #else
    // Read, so that nothing is known when this is compiled; sums stay finite.
    let first = x_at(index);
    let by = first * 0.001 + 0.5;
    #for s SUMS
    var sum$s = first + f32($s);
    #endfor
    for (var round = 0u; round < rounds; round++) {
        #for step STEPS
        #for s SUMS
        sum$s = sum$s * by + first;
        #endfor
        #endfor
    }
    #endif
    var all = vec4f(0.0);
    #for s SUMS
    all += sum$s;
    #endfor
    y_put(index, all);
}
