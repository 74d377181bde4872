// y[..., m, n] = the sum over k of a[..., m, k] * b[..., k, n], both read by strides. An invocation computes one vec4 of the output, counted as it
// lies: where columns are no multiple of 4 its elements may be of two rows.
#import shape
#import each_element

#elements x 2
#elements second 3
// How many axes stand before the matrices, rows, columns and products of a sum; of each input its first element, the elements from one sample to
// the next, and the strides of rows and columns; of each axis before, innermost first, its size and the stride of each input.
@group(0) @binding(4) var<storage, read> table: array<i32>;
#output y 5

// Bits of the flags: four elements are of one row; beside each other in b; whole vec4s along the sum in both.
const BLOCK = 128u;

fn four_x(at: vec4u) -> vec4f {
    return vec4f(x_element(at.x), x_element(at.y), x_element(at.z), x_element(at.w));
}

fn four_second(at: vec4u) -> vec4f {
    return vec4f(second_element(at.x), second_element(at.y), second_element(at.z), second_element(at.w));
}

fn compute(sample: u32, n: vec4u, place: vec4u) -> vec4f {
    let columns = u32(table[2]);
    let inner = u32(table[3]);
    let line = n / vec4u(columns);
    var left = line / vec4u(u32(table[1]));
    let row = vec4i(line - left * u32(table[1]));
    let column = vec4i(n - line * columns);
    var a = vec4i(table[4]) + row * table[6];
    var b = vec4i(table[8]) + column * table[11];
    for (var axis = 0u; axis < u32(table[0]); axis++) {
        let size = vec4u(u32(table[12u + 3u * axis]));
        let rest = left / size;
        let index = vec4i(left - rest * size);
        left = rest;
        a += index * table[13u + 3u * axis];
        b += index * table[14u + 3u * axis];
    }
    var a_at = vec4u(sample * u32(table[5])) + vec4u(a);
    var b_at = vec4u(sample * u32(table[9])) + vec4u(b);
    let step_a = u32(table[7]);
    let step_b = u32(table[10]);
    var sum = vec4f(0.0);
    var k = 0u;
    // In blocks, so that the rounding of a long sum grows with the root of its length.
    if (shape.flags & 4u) != 0u {
        a_at = a_at >> vec4u(2u);
        b_at = b_at >> vec4u(2u);
        while k < inner / 4u {
            var block = vec4f(0.0);
            for (var i = 0u; i < BLOCK && k < inner / 4u; i++) {
                block += vec4f(
                    dot(x_at(a_at.x + k), second_at(b_at.x + k)),
                    dot(x_at(a_at.y + k), second_at(b_at.y + k)),
                    dot(x_at(a_at.z + k), second_at(b_at.z + k)),
                    dot(x_at(a_at.w + k), second_at(b_at.w + k)),
                );
                k++;
            }
            sum += block;
        }
    } else if (shape.flags & 3u) == 3u {
        while k < inner {
            var block = vec4f(0.0);
            for (var i = 0u; i < BLOCK && k < inner; i++) {
                block += x_element(a_at.x + k * step_a) * second_at((b_at.x + k * step_b) >> 2u);
                k++;
            }
            sum += block;
        }
    } else {
        while k < inner {
            var block = vec4f(0.0);
            for (var i = 0u; i < BLOCK && k < inner; i++) {
                block += four_x(a_at + vec4u(k * step_a)) * four_second(b_at + vec4u(k * step_b));
                k++;
            }
            sum += block;
        }
    }
    return sum;
}
