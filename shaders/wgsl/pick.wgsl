// Elements of the input by a table of indices for each axis of the output: their sum is the element, or there is none where one is -1. An
// invocation computes one vec4.
#import shape
#import each_element

#elements x 2
#elements second 3
// How many axes there are, what stands where nothing is picked, the elements from one sample to the next; of each axis, innermost first, its
// size and where its entries begin here; the entries.
@group(0) @binding(4) var<storage, read> table: array<i32>;
#output y 5

fn compute(sample: u32, n: vec4u, place: vec4u) -> vec4f {
    let axes = u32(table[0]);
    var left = n;
    var at = vec4i(0);
    var nothing = vec4<bool>(false);
    for (var axis = 0u; axis < axes; axis++) {
        let size = vec4u(u32(table[3u + 2u * axis]));
        let rest = left / size;
        let index = left - rest * size + vec4u(u32(table[4u + 2u * axis]));
        left = rest;
        let entry = vec4i(table[index.x], table[index.y], table[index.z], table[index.w]);
        nothing = nothing | (entry < vec4i(0));
        at += entry;
    }
    let source = vec4u(sample * u32(table[2])) + vec4u(select(at, vec4i(0), nothing));
    let picked = vec4f(x_element(source.x), x_element(source.y), x_element(source.z), x_element(source.w));
    return select(picked, vec4f(bitcast<f32>(table[1])), nothing);
}
