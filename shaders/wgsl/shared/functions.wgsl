// The functions of activations. None may overflow on the way to a finite value: some devices compute as if there were no infinity.

// e^80 is far below the largest divisor that devices promise to divide by. Factors that vanish are multiplied with no more
// either, so that they vanish for all x.
const MOST = vec4f(80.0);

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
