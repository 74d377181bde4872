// Weighted sums of a few elements along an axis: y[o, i, n] = the sum of weight[i, t] * x[o, index[i, t], n]. An invocation computes one vec4.
#import shape
#import each_element

#elements x 2
#elements second 3
// Elements behind one index of the axis, its lengths in input and output, elements that an output is made of, elements from one sample to the next;
// the indices, output after output, then the weights.
@group(0) @binding(4) var<storage, read> table: array<i32>;
#output y 5

fn compute(sample: u32, n: vec4u, place: vec4u) -> vec4f {
    let inner = u32(table[0]);
    let inputs = u32(table[1]);
    let outputs = u32(table[2]);
    let taps = u32(table[3]);
    let line = place / vec4u(inner);
    let behind = place - line * inner;
    let outer = line / vec4u(outputs);
    let tap = (line - outer * outputs) * taps;
    let first = vec4u(sample * u32(table[4])) + outer * inputs * inner + behind;
    let weights = outputs * taps;
    var sum = vec4f(0.0);
    // All four behind one index of the axis.
    if (shape.flags & 1u) != 0u {
        for (var t = tap.x; t < tap.x + taps; t++) {
            sum += bitcast<f32>(table[5u + weights + t]) * x_at((first.x + u32(table[5u + t]) * inner) >> 2u);
        }
        return sum;
    }
    for (var t = 0u; t < taps; t++) {
        let entry = tap + vec4u(5u + t);
        let index = vec4u(vec4i(table[entry.x], table[entry.y], table[entry.z], table[entry.w]));
        let weight = entry + vec4u(weights);
        let factor = bitcast<vec4f>(vec4i(table[weight.x], table[weight.y], table[weight.z], table[weight.w]));
        let source = first + index * inner;
        sum += factor * vec4f(x_element(source.x), x_element(source.y), x_element(source.z), x_element(source.w));
    }
    return sum;
}
