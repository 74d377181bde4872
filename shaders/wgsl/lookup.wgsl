// Elements of the first input at the indices that the second one holds. A negative index counts from the end; where there is no such element
// the output is NaN. An invocation computes one vec4.
#import shape
#import each_element

#elements x 2
#elements second 3
// How many axes there are, how many indices, the elements from one index to the next; of each input its first element and the elements from one
// sample to the next; of each axis, innermost first, its size and the stride of each input.
@group(0) @binding(4) var<storage, read> table: array<i32>;
#output y 5

fn compute(sample: u32, n: vec4u, place: vec4u) -> vec4f {
    let axes = u32(table[0]);
    var left = n;
    var data = vec4i(table[3]);
    var index = vec4i(table[5]);
    for (var axis = 0u; axis < axes; axis++) {
        let size = vec4u(u32(table[7u + 3u * axis]));
        let rest = left / size;
        let index_of_axis = vec4i(left - rest * size);
        left = rest;
        data += index_of_axis * table[8u + 3u * axis];
        index += index_of_axis * table[9u + 3u * axis];
    }
    let source = vec4u(sample * u32(table[6])) + vec4u(index);
    let held = trunc(vec4f(second_element(source.x), second_element(source.y), second_element(source.z), second_element(source.w)));
    // NaN is neither.
    let count = f32(table[1]);
    let exists = (held >= vec4f(-count)) & (held < vec4f(count));
    let counted = vec4i(select(vec4f(0.0), held, exists));
    let at = data + select(counted, counted + table[1], counted < vec4i(0)) * table[2];
    let place4 = vec4u(sample * u32(table[4])) + vec4u(at);
    let found = vec4f(x_element(place4.x), x_element(place4.y), x_element(place4.z), x_element(place4.w));
    return select(vec4f(shape.number), found, exists);
}
