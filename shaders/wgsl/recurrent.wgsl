// A recurrent cell along the steps of a sequence (`Cell` of the runtime says what a step does). A workgroup owns one sequence and keeps its
// states in workgroup memory; an invocation computes every WG-th vec4 of each gate. States have at most 4 * H4 elements, and so has the
// intermediate of a factored R (LOW_RANK).
#import shape
#import functions

// What the gates are given by the input: a row a step of a sequence, gate after gate without padding between them.
#input x 2
// Initial states, plain: of all sequences the hidden states, then the cell states.
#input second 3
// How many steps each sequence has.
#input third 4
// R in panels, each gate padded to vec4s. As factors: V, then U so.
#input r 5
#ifdef LOW_RANK
#input u 6
// The bias, gate after gate, then the peepholes of the gates i, o and f, all padded to vec4s; then the three activations: number, slope, bounds.
@group(0) @binding(7) var<storage, read> table: array<vec4f>;
#output y 8
#else
@group(0) @binding(6) var<storage, read> table: array<vec4f>;
#output y 7
#endif

// Cells in the flags' two lowest bits.
const LSTM = 0u;
const GRU = 1u;

var<workgroup> h: array<vec4f, H4>;
// An LSTM's cell state; of a GRU the gate z, then the next hidden state.
var<workgroup> cell: array<vec4f, H4>;
// The next hidden state; of a GRU r * h.
var<workgroup> kept: array<vec4f, H4>;
#ifdef LOW_RANK
var<workgroup> between: array<vec4f, H4>;
#endif

var<private> row: u32;
var<private> hidden4: u32;
var<private> functions: u32;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let sequences = shape.input_width;
    let steps = shape.input_height;
    let index = group.y * groups.x + group.x;
    let sample = index / sequences;
    let sequence = index - sample * sequences;
    if sample >= run.rows {
        return;
    }
    hidden4 = shape.outputs4;
    let kind = shape.flags & 3u;
    let reverse = (shape.flags & 4u) != 0u;
    let states = (shape.flags & 8u) != 0u;
    let variant = (shape.flags & 64u) != 0u;
    let gates = select(select(1u, 3u, kind == GRU), 4u, kind == LSTM);
    functions = (gates + select(0u, 3u, kind == LSTM)) * hidden4;
    let y_first = sample * shape.output_height * sequences + sequence;
    var length = f32(steps);
    if (shape.flags & 32u) != 0u {
        let at = third_at(sample * shape.value_stride4 + sequence / 4u);
        length = at[sequence % 4u];
    }
    for (var column = local; column < hidden4; column += WG) {
        h[column] = initial(sample, sequence, column);
        cell[column] = vec4f(0.0);
        if kind == LSTM {
            cell[column] = initial(sample, sequences + sequence, column);
        }
    }
    workgroupBarrier();
    for (var at = 0u; at < steps; at++) {
        let t = select(at, steps - 1u - at, reverse);
        let there = f32(t) < length;
        row = ((sample * steps + t) * sequences + sequence) * shape.input_stride4;
#ifdef LOW_RANK
        for (var column = local; column < shape.rank4; column += WG) {
            between[column] = by_v(false, column);
        }
        workgroupBarrier();
#endif
        if kind == GRU && !variant {
            for (var column = local; column < hidden4; column += WG) {
                cell[column] = applied(0u, input(0u, column) + part(false, 0u, column));
                kept[column] = h[column] * applied(0u, input(1u, column) + part(false, 1u, column));
            }
            workgroupBarrier();
#ifdef LOW_RANK
            for (var column = local; column < shape.rank4; column += WG) {
                between[column] = by_v(true, column);
            }
            workgroupBarrier();
#endif
            for (var column = local; column < hidden4; column += WG) {
                let n = applied(1u, input(2u, column) + part(true, 2u, column));
                let z = cell[column];
                cell[column] = (1.0 - z) * n + z * h[column];
            }
        } else if kind == GRU {
            for (var column = local; column < hidden4; column += WG) {
                let z = applied(0u, input(0u, column) + part(false, 0u, column));
                let reset = applied(0u, input(1u, column) + part(false, 1u, column));
                let n = applied(1u, input(2u, column) + reset * part(false, 2u, column));
                cell[column] = (1.0 - z) * n + z * h[column];
            }
        } else if kind == LSTM {
            for (var column = local; column < hidden4; column += WG) {
                let c = cell[column];
                let i = applied(0u, input(0u, column) + part(false, 0u, column) + table[4u * hidden4 + column] * c);
                var f = 1.0 - i;
                if !variant {
                    f = applied(0u, input(2u, column) + part(false, 2u, column) + table[6u * hidden4 + column] * c);
                }
                let next = f * c + i * applied(1u, input(3u, column) + part(false, 3u, column));
                let o = applied(0u, input(1u, column) + part(false, 1u, column) + table[5u * hidden4 + column] * next);
                kept[column] = o * applied(2u, next);
                cell[column] = select(c, within(next, column), there);
            }
        } else {
            for (var column = local; column < hidden4; column += WG) {
                kept[column] = applied(0u, input(0u, column) + part(false, 0u, column));
            }
        }
        // All have read the hidden state before any of them writes the next one.
        workgroupBarrier();
        for (var column = local; column < hidden4; column += WG) {
            var next = kept[column];
            if kind == GRU {
                next = cell[column];
            }
            next = within(next, column);
            h[column] = select(h[column], next, there);
            y_put((y_first + t * sequences) * shape.output_stride4 + column, select(vec4f(0.0), next, there));
        }
        workgroupBarrier();
    }
    if states {
        for (var column = local; column < hidden4; column += WG) {
            y_put((y_first + steps * sequences) * shape.output_stride4 + column, h[column]);
            if kind == LSTM {
                y_put((y_first + (steps + 1u) * sequences) * shape.output_stride4 + column, cell[column]);
            }
        }
    }
}

// Zero beyond the last element of a state.
fn within(value: vec4f, column: u32) -> vec4f {
    return select(vec4f(0.0), value, vec4u(0u, 1u, 2u, 3u) + vec4u(column * 4u) < vec4u(shape.outputs));
}

// Four elements of the initial state `state` of a sample.
fn initial(sample: u32, state: u32, column: u32) -> vec4f {
    var out = vec4f(0.0);
    if (shape.flags & 16u) != 0u {
        let first = state * shape.outputs + column * 4u;
        let left = shape.outputs - column * 4u;
        for (var i = 0u; i < min(left, 4u); i++) {
            let four = second_at(sample * shape.second_stride4 + (first + i) / 4u);
            out[i] = four[(first + i) % 4u];
        }
    }
    return out;
}

// Four elements of what the input gives a gate; the gate may begin within a vec4.
fn input(gate: u32, column: u32) -> vec4f {
    let channel = gate * shape.outputs + column * 4u;
    let at = channel / 4u;
    let before = x_at(row + at);
    let after = x_at(row + min(at + 1u, shape.input_stride4 - 1u));
    let by = channel % 4u;
    var out = before;
    if by == 1u {
        out = vec4f(before.yzw, after.x);
    } else if by == 2u {
        out = vec4f(before.zw, after.xy);
    } else if by == 3u {
        out = vec4f(before.w, after.xyz);
    }
    return within(out, column);
}

// What R is multiplied by: the hidden state, or what the reset gate left of it.
fn operand(reset: bool, k: u32) -> vec4f {
    if reset {
        return kept[k];
    }
    return h[k];
}

#ifdef LOW_RANK
fn by_v(reset: bool, column: u32) -> vec4f {
    var sum = vec4f(0.0);
    let first = column / PANEL * hidden4 * 4u * PANEL + column % PANEL;
    for (var k = 0u; k < hidden4; k++) {
        let v = operand(reset, k);
        let at = first + k * 4u * PANEL;
        sum += v.x * r_at(at) + v.y * r_at(at + PANEL) + v.z * r_at(at + 2u * PANEL) + v.w * r_at(at + 3u * PANEL);
    }
    return sum;
}

// Four elements of R * h + b of a gate.
fn part(reset: bool, gate: u32, column: u32) -> vec4f {
    let out = gate * hidden4 + column;
    var sum = table[out];
    let first = out / PANEL * shape.rank4 * 4u * PANEL + out % PANEL;
    for (var k = 0u; k < shape.rank4; k++) {
        let v = between[k];
        let at = first + k * 4u * PANEL;
        sum += v.x * u_at(at) + v.y * u_at(at + PANEL) + v.z * u_at(at + 2u * PANEL) + v.w * u_at(at + 3u * PANEL);
    }
    return sum;
}
#else
// Four elements of R * h + b of a gate.
fn part(reset: bool, gate: u32, column: u32) -> vec4f {
    let out = gate * hidden4 + column;
    var sum = table[out];
    let first = out / PANEL * hidden4 * 4u * PANEL + out % PANEL;
    for (var k = 0u; k < hidden4; k++) {
        let v = operand(reset, k);
        let at = first + k * 4u * PANEL;
        sum += v.x * r_at(at) + v.y * r_at(at + PANEL) + v.z * r_at(at + 2u * PANEL) + v.w * r_at(at + 3u * PANEL);
    }
    return sum;
}
#endif

// The cell's activation `which`, by the numbers of shared/activation.wgsl; those that have bounds only are 0.
fn applied(which: u32, v: vec4f) -> vec4f {
    let settings = table[functions + which];
    let slope = settings.y;
    switch u32(settings.x) {
        case 3u: { return select(v * slope, v, v > vec4f(0.0)); }
        case 4u: { return logistic(v, vec4f(1.0)); }
        case 5u: { return hyperbolic(v); }
        case 6u: { return hard(v); }
        case 7u: { return v * hard(v); }
        case 8u: { return logistic(v, max(v, -MOST)); }
        case 9u: { return gelu(v); }
        case 10u: { return logistic(1.5957691216 * v * (1.0 + 0.044715 * v * v), max(v, -MOST)); }
        case 11u: { return select(slope * (exp(max(v, -MOST)) - 1.0), v, v > vec4f(0.0)); }
        case 12u: { return select(v, vec4f(0.0), v <= vec4f(slope)); }
        case 13u: { return max(v, vec4f(0.0)) + log(1.0 + exp(max(-abs(v), -MOST))); }
        case 14u: { return v / (1.0 + abs(v)); }
        case 15u: { return exp(v); }
        case 16u: { return log(v); }
        case 17u: { return sqrt(v); }
        case 18u: { return 1.0 / v; }
        case 19u: { return abs(v); }
        case 20u: { return error_function(v); }
        default: { return select(v, clamp(v, vec4f(settings.z), vec4f(settings.w)), settings.z <= settings.w); }
    }
}
