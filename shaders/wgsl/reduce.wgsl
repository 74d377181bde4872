// Many elements made one: of each vec4 of the output the four are read by strides along the axes that vanish, by one invocation, or by a whole
// workgroup (GROUP) that joins what its invocations have.
#import shape
#import elementary

#elements x 2
#elements second 3
// How many axes stay and how many vanish, the first element, the elements from one sample to the next, how many elements become one; of each axis,
// innermost first, those that stay before those that vanish, its size and stride.
@group(0) @binding(4) var<storage, read> table: array<i32>;
#output y 5

// 0 sum, 1 mean, 2 max, 3 min, 4 product, 5 sum of magnitudes, 6 root of the sum of squares, 7 sum of squares, 8 logarithm of the sum, 9 of the sum
// of powers; the index of the largest, 10 the first, 11 the last one, and of the least, 12 and 13.
override KIND: u32 = 0u;
// Terms that are summed before they are added to the others: so the rounding of a long sum grows with the root of its length.
const BLOCK = 128u;

#ifdef GROUP
var<workgroup> partial: array<vec4f, WG>;
var<workgroup> partial_index: array<vec4u, WG>;
#endif

// The four first elements, and whether all four are one vec4 at each index (bit 0 of the flags).
var<private> first: vec4u;

fn value(j: u32) -> vec4f {
    let kept = u32(table[0]);
    var left = j;
    var at = 0;
    let last = 5u + 2u * (kept + u32(table[1]) - 1u);
    for (var axis = 5u + 2u * kept; axis < last; axis += 2u) {
        let size = u32(table[axis]);
        let rest = left / size;
        at += i32(left - rest * size) * table[axis + 1u];
        left = rest;
    }
    let source = first + vec4u(u32(at + i32(left) * table[last + 1u]));
    if (shape.flags & 1u) != 0u {
        return x_at(source.x >> 2u);
    }
    return vec4f(x_element(source.x), x_element(source.y), x_element(source.z), x_element(source.w));
}

fn nothing(kind: u32) -> vec4f {
    if kind == 2u {
        return -infinity();
    }
    if kind == 3u {
        return infinity();
    }
    return select(vec4f(0.0), vec4f(1.0), kind == 4u);
}

fn joined(kind: u32, a: vec4f, b: vec4f) -> vec4f {
    if kind == 2u {
        return larger(a, b);
    }
    if kind == 3u {
        return smaller(a, b);
    }
    if kind == 4u {
        return a * b;
    }
    return a + b;
}

fn term(x: vec4f, most: vec4f) -> vec4f {
    switch KIND {
        case 5u: { return abs(x); }
        case 6u, 7u: { return x * x; }
        // A factor that vanishes does so for all x.
        case 9u: { return passing_nan(x, select(exp(max(x - most, -MOST)), vec4f(0.0), x - most < -MOST)); }
        default: { return x; }
    }
}

// What all elements make, joined as by `kind`.
fn total(kind: u32, most: vec4f, local: u32) -> vec4f {
    let count = u32(table[4]);
    var sum = nothing(kind);
    var j = local;
    while j < count {
        var block = nothing(kind);
        for (var i = 0u; i < BLOCK && j < count; i++) {
            let x = value(j);
            block = joined(kind, block, select(term(x, most), x, vec4<bool>(kind == 2u || kind == 3u)));
            j += STEP;
        }
        sum = joined(kind, sum, block);
    }
#ifdef GROUP
    partial[local] = sum;
    workgroupBarrier();
    for (var half = $(WG / 2)u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] = joined(kind, partial[local], partial[local + half]);
        }
        workgroupBarrier();
    }
    sum = partial[0];
    // All have read before any of them writes again.
    workgroupBarrier();
#endif
    return sum;
}

// Whether a at i comes before b at j.
fn wins(a: vec4f, i: vec4u, b: vec4f, j: vec4u) -> vec4<bool> {
    var better = a > b;
    if KIND >= 12u {
        better = a < b;
    }
    var sooner = i < j;
    if (KIND & 1u) != 0u {
        sooner = i > j;
    }
    return better | ((a == b) & sooner);
}

fn index_of_best(local: u32) -> vec4f {
    let count = u32(table[4]);
    // An invocation without elements of its own repeats the last one.
    var at = vec4u(min(local, count - 1u));
    var best = value(at.x);
    for (var j = local + STEP; j < count; j += STEP) {
        let x = value(j);
        let better = wins(x, vec4u(j), best, at);
        best = select(best, x, better);
        at = select(at, vec4u(j), better);
    }
#ifdef GROUP
    partial[local] = best;
    partial_index[local] = at;
    workgroupBarrier();
    for (var half = $(WG / 2)u; half > 0u; half /= 2u) {
        if local < half {
            let better = wins(partial[local + half], partial_index[local + half], partial[local], partial_index[local]);
            partial[local] = select(partial[local], partial[local + half], better);
            partial_index[local] = select(partial_index[local], partial_index[local + half], better);
        }
        workgroupBarrier();
    }
    at = partial_index[0];
#endif
    return vec4f(at);
}

fn result(local: u32) -> vec4f {
    let count = f32(table[4]);
    switch KIND {
        case 0u, 2u, 3u, 4u, 5u, 7u: { return total(KIND, vec4f(0.0), local); }
        case 1u: { return total(0u, vec4f(0.0), local) / count; }
        case 6u: { return square_root(total(0u, vec4f(0.0), local)); }
        case 8u: { return logarithm(total(0u, vec4f(0.0), local)); }
        case 9u: {
            let most = total(2u, vec4f(0.0), local);
            // The difference of two infinities would be NaN.
            let finite = select(most, vec4f(0.0), is_inf(most));
            let sum = total(0u, finite, local);
            return select(finite + logarithm(sum), most, is_inf(most));
        }
        default: { return index_of_best(local); }
    }
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
#ifdef GROUP
    let index = group.y * groups.x + group.x;
    let start = local;
#else
    let index = (group.y * groups.x + group.x) * WG + local;
    let start = 0u;
#endif
    let sample = index / shape.outputs4;
    if sample >= row_count() {
        return;
    }
    let column = index - sample * shape.outputs4;
    let n = vec4u(0u, 1u, 2u, 3u) + vec4u(column * 4u);
    let there = n < vec4u(shape.outputs);
    var left = select(vec4u(column * 4u), n, there);
    var at = vec4i(table[2]);
    let last = 5u + 2u * (u32(table[0]) - 1u);
    for (var axis = 5u; axis < last; axis += 2u) {
        let size = vec4u(u32(table[axis]));
        let rest = left / size;
        at += vec4i(left - rest * size) * table[axis + 1u];
        left = rest;
    }
    first = vec4u(sample * u32(table[3])) + vec4u(at + vec4i(left) * table[last + 1u]);
    let out = select(vec4f(0.0), result(start), there);
#ifdef GROUP
    if local > 0u {
        return;
    }
#endif
    y_put(sample * shape.output_stride4 + column, out);
}
