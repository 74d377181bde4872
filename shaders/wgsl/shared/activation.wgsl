// Activations in the order of the format's, but that none, ReLU, ReLU6 and Clip are one, of bounds that are uniforms: they are
// what nearly all layers have, and a pipeline less to compile. None may overflow on the way to a finite value: some devices compute as if
// there were no infinity.
override ACTIVATION: u32 = 0u;

// What outputs are kept between; `bounded` says whether they are. Read once a kernel: inside of a loop an adapter on the CPU
// reads uniforms for each lane.
var<private> least: f32;
var<private> most: f32;
var<private> bounded: bool;

// e^80 is far below the largest divisor that devices promise to divide by. Factors that vanish are multiplied with no more
// either, so that they vanish for all x.
const MOST = vec4f(80.0);

fn activate(x: vec4f) -> vec4f {
    switch ACTIVATION {
        case 3u: { return select(x * shape.slope, x, x > vec4f(0.0)); }
        case 4u: { return logistic(x, vec4f(1.0)); }
        case 5u: { return hyperbolic(x); }
        case 6u: { return hard(x); }
        case 7u: { return x * hard(x); }
        case 8u: { return logistic(x, max(x, -MOST)); }
        case 9u: { return gelu(x); }
        // x/2 · (1 + tanh u) = x / (1 + e^-2u)
        case 10u: { return logistic(1.5957691216 * x * (1.0 + 0.044715 * x * x), max(x, -MOST)); }
        case 11u: { return select(shape.slope * (exp(max(x, -MOST)) - 1.0), x, x > vec4f(0.0)); }
        case 12u: { return select(x, vec4f(0.0), x <= vec4f(shape.slope)); }
        case 13u: { return max(x, vec4f(0.0)) + log(1.0 + exp(max(-abs(x), -MOST))); }
        case 14u: { return x / (1.0 + abs(x)); }
        case 15u: { return exp(x); }
        case 16u: { return log(x); }
        case 17u: { return sqrt(x); }
        case 18u: { return 1.0 / x; }
        case 19u: { return abs(x); }
        case 20u: { return error_function(x); }
        default: { return select(x, clamp(x, vec4f(least), vec4f(most)), bounded); }
    }
}

// scale / (1 + e^-x)
fn logistic(x: vec4f, scale: vec4f) -> vec4f {
    return scale / (1.0 + exp(min(-x, MOST)));
}

fn hard(x: vec4f) -> vec4f {
    return clamp(x / 6.0 + 0.5, vec4f(0.0), vec4f(1.0));
}

// tanh without its overflow; near 0, where 1 - e would cancel, its series.
fn hyperbolic(x: vec4f) -> vec4f {
    let e = exp(max(-2.0 * abs(x), -MOST));
    let far = (1.0 - e) / (1.0 + e);
    let near = x * (1.0 - x * x * (1.0 / 3.0 - x * x * (2.0 / 15.0)));
    return select(select(-far, far, x > vec4f(0.0)), near, abs(x) < vec4f(0.1));
}

// erf x = 1 - erfc x; near 0, where that would cancel, its series.
fn error_function(x: vec4f) -> vec4f {
    let far = 1.0 - complement(abs(x));
    let near = 1.1283791671 * x * (1.0 - x * x * (1.0 / 3.0 - x * x * 0.1));
    return select(select(-far, far, x > vec4f(0.0)), near, abs(x) < vec4f(0.1));
}

// x · Φ(x) by erfc.
fn gelu(x: vec4f) -> vec4f {
    let tail = 0.5 * complement(abs(x) * 0.70710678118);
    return select(max(x, -MOST) * tail, x * (1.0 - tail), x > vec4f(0.0));
}

// erfc z = 1 / (1 + a1·z + … + a6·z⁶)¹⁶ for z ≥ 0 (Abramowitz and Stegun 7.1.28), off by at most 3e-7.
fn complement(positive: vec4f) -> vec4f {
    // Beyond 10 it is 0 in f32.
    let z = min(positive, vec4f(10.0));
    var p = 1.0 + z * (0.0705230784 + z * (0.0422820123 + z * (0.0092705272 + z * (0.0001520143 + z * (0.0002765672 + z * 0.0000430638)))));
    p *= p;
    p *= p;
    p *= p;
    return 1.0 / (p * p);
}
