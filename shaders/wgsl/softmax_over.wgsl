// Softmax along an axis, or its logarithm (bit 2 of the flags), of an input that is read by strides. A row is what the axis runs over. An invocation,
// or a whole workgroup (GROUP), computes four rows, or (`EACH`) one vec4 of the output, whose elements may be of four rows.
#import shape
#import elementary

#elements x 2
#elements second 3
// How many other axes there are, the first element, the elements from one sample to the next and along the axis, the axis' length, the output's
// elements along it, rows of a sample; of each other axis, innermost first, its size and stride.
@group(0) @binding(4) var<storage, read> table: array<i32>;
#output y 5

// The lower bits of the flags: rows one after the other in the output; rows beside each other, whole vec4s of them; any other.
const BEHIND = 0u;
const BESIDE = 1u;
const EACH = 2u;
const BLOCK = 128u;

#ifdef GROUP
var<workgroup> partial: array<vec4f, WG>;
#endif

var<private> first: vec4u;
var<private> count: u32;
var<private> stride: u32;
var<private> log_wanted: bool;

fn value(j: u32) -> vec4f {
    let source = first + vec4u(j * stride);
    return vec4f(x_element(source.x), x_element(source.y), x_element(source.z), x_element(source.w));
}

// e^below, of which none is NaN that should be 0.
fn share(below: vec4f) -> vec4f {
    return passing_nan(below, select(exp(max(below, -MOST)), vec4f(0.0), below < -MOST));
}

fn result(x: vec4f, most: vec4f, sum: vec4f) -> vec4f {
    return select(share(x - most) / sum, x - most - log(sum), vec4<bool>(log_wanted));
}

#ifdef GROUP
fn of_all(local: u32, mine: vec4f, sums: bool) -> vec4f {
    partial[local] = mine;
    workgroupBarrier();
    for (var half = $(WG / 2)u; half > 0u; half /= 2u) {
        if local < half {
            let other = partial[local + half];
            if sums {
                partial[local] += other;
            } else {
                partial[local] = larger(partial[local], other);
            }
        }
        workgroupBarrier();
    }
    let all = partial[0];
    // All have read before any of them writes again.
    workgroupBarrier();
    return all;
}
#endif

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
    let way = shape.flags & 3u;
    let rows = u32(table[6]);
    let inner = u32(table[5]);
    count = u32(table[4]);
    stride = u32(table[3]);
    log_wanted = (shape.flags & 4u) != 0u;
    let units = select((rows + 3u) / 4u, shape.outputs4, way == EACH);
    let sample = index / units;
    if sample >= run.rows {
        return;
    }
    let unit = index - sample * units;
    let n = vec4u(unit * 4u) + vec4u(0u, 1u, 2u, 3u);
    let there = n < vec4u(shape.outputs);
    // Rows, or elements, beyond the end are done as the last one.
    let element = min(n, vec4u(shape.outputs - 1u));
    let line = element / vec4u(inner);
    let row = select(min(n, vec4u(rows - 1u)), line / vec4u(count) * inner + (element - line * inner), way == EACH);

    var left = row;
    var at = vec4i(table[1]);
    for (var axis = 0u; axis < u32(table[0]); axis++) {
        let size = vec4u(u32(table[7u + 2u * axis]));
        let rest = left / size;
        at += vec4i(left - rest * size) * table[8u + 2u * axis];
        left = rest;
    }
    first = vec4u(sample * u32(table[2])) + vec4u(at);

    var most = value(min(start, count - 1u));
    for (var j = start + STEP; j < count; j += STEP) {
        most = larger(most, value(j));
    }
#ifdef GROUP
    most = of_all(local, most, false);
#endif
    var sum = vec4f(0.0);
    var j = start;
    while j < count {
        // A block by itself, so that the rounding of a long sum grows with the root of its count.
        var block = vec4f(0.0);
        for (var i = 0u; i < BLOCK && j < count; i++) {
            block += share(value(j) - most);
            j += STEP;
        }
        sum += block;
    }
#ifdef GROUP
    sum = of_all(local, sum, true);
#endif

    let y_start = sample * shape.output_stride4;
    if way == BEHIND {
        let end = min((unit + 1u) * count, shape.outputs4);
        for (var v = unit * count + start; v < end; v += STEP) {
            let e = vec4u(v * 4u) + vec4u(0u, 1u, 2u, 3u);
            let inside = e < vec4u(shape.outputs);
            let line = min(e, vec4u(shape.outputs - 1u)) / vec4u(count);
            let along = (min(e, vec4u(shape.outputs - 1u)) - line * count) * stride;
            let r = line - vec4u(unit * 4u);
            let x = vec4f(
                x_element(first[r.x] + along.x),
                x_element(first[r.y] + along.y),
                x_element(first[r.z] + along.z),
                x_element(first[r.w] + along.w),
            );
            let tops = vec4f(most[r.x], most[r.y], most[r.z], most[r.w]);
            let out = result(x, tops, vec4f(sum[r.x], sum[r.y], sum[r.z], sum[r.w]));
            y_put(y_start + v, select(vec4f(0.0), out, inside));
        }
    } else if way == BESIDE {
        let outer = unit * 4u / inner;
        let begin = outer * count * inner + (unit * 4u - outer * inner);
        for (var k = start; k < count; k += STEP) {
            y_put(y_start + (begin + k * inner) / 4u, result(value(k), most, sum));
        }
    } else if start == 0u {
        let along = (line - line / vec4u(count) * count) * stride;
        let source = first + along;
        let x = vec4f(x_element(source.x), x_element(source.y), x_element(source.z), x_element(source.w));
        y_put(y_start + unit, select(vec4f(0.0), result(x, most, sum), there));
    }
}
