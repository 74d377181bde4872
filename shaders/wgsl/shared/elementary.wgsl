// Elementary functions of maps. Polynomials are those of Cephes (S. L. Moshier, single precision): within 4e-8 of their functions. What WGSL has
// built in may be off by 1e-4 or more on some devices, or is undefined where these are not.
#import functions

// WGSL cannot spell them; hosts give both in `shape`.
fn infinity() -> vec4f {
    return vec4f(-shape.lowest);
}

fn no_number() -> vec4f {
    return vec4f(shape.number);
}

fn magnitude_bits(x: vec4f) -> vec4u {
    return bitcast<vec4u>(x) & vec4u(0x7fffffffu);
}

// By their bits: some devices compute as if there were neither.
fn is_nan(x: vec4f) -> vec4<bool> {
    return magnitude_bits(x) > vec4u(0x7f800000u);
}

fn is_inf(x: vec4f) -> vec4<bool> {
    return magnitude_bits(x) == vec4u(0x7f800000u);
}

// Every number but 0 is true, NaN too.
fn truth(x: vec4f) -> vec4<bool> {
    return !(x == vec4f(0.0));
}

fn number_of(x: vec4<bool>) -> vec4f {
    return select(vec4f(0.0), vec4f(1.0), x);
}

// NaN where one of them is.
fn larger(a: vec4f, b: vec4f) -> vec4f {
    return select(select(a, b, b > a), b, is_nan(b));
}

fn smaller(a: vec4f, b: vec4f) -> vec4f {
    return select(select(a, b, b < a), b, is_nan(b));
}

fn sign_of(x: vec4f) -> vec4f {
    return select(select(x, vec4f(-1.0), x < vec4f(0.0)), vec4f(1.0), x > vec4f(0.0));
}

fn with_sign(magnitude: vec4f, x: vec4f) -> vec4f {
    return select(magnitude, -magnitude, x < vec4f(0.0));
}

fn square_root(x: vec4f) -> vec4f {
    return select(no_number(), sqrt(x), x >= vec4f(0.0));
}

fn logarithm(x: vec4f) -> vec4f {
    let y = select(log(x), x, is_inf(x));
    return select(select(no_number(), y, x > vec4f(0.0)), -infinity(), x == vec4f(0.0));
}

fn leaky(x: vec4f, slope: vec4f) -> vec4f {
    return select(x, x * slope, x < vec4f(0.0));
}

fn exponential_linear(x: vec4f, factor: vec4f) -> vec4f {
    return select(x, factor * (exp(max(x, -MOST)) - 1.0), x < vec4f(0.0));
}

fn bounded_by(x: vec4f, low: vec4f, high: vec4f) -> vec4f {
    let above = select(x, low, x < low);
    return select(above, high, above > high);
}

fn above_threshold(x: vec4f, threshold: vec4f) -> vec4f {
    return select(x, vec4f(0.0), x <= threshold);
}

fn soft_plus(x: vec4f) -> vec4f {
    return max(x, vec4f(0.0)) + log(1.0 + exp(max(-abs(x), -MOST)));
}

fn soft_sign(x: vec4f) -> vec4f {
    return select(x / (1.0 + abs(x)), sign_of(x), is_inf(x));
}

// `y`, but NaN where x is: a maximum or minimum may have dropped it.
fn passing_nan(x: vec4f, y: vec4f) -> vec4f {
    return select(y, x, is_nan(x));
}

// An angle as quarters of a turn and what is left, at most pi/4 either way.
struct Angle {
    rest: vec4f,
    quarters: vec4u,
}

// pi/2 in three parts (Cody and Waite), so that products with few quarters are exact; beyond 1e5 radians precision fades.
fn angle(x: vec4f) -> Angle {
    let k = round(x * 0.63661977237);
    let rest = ((x - k * 1.5703125) - k * 4.837512969970703125e-4) - k * 7.54978995489188216e-8;
    return Angle(rest, bitcast<vec4u>(vec4i(clamp(k, vec4f(-1e9), vec4f(1e9)))) & vec4u(3u));
}

fn sine_near(x: vec4f) -> vec4f {
    let z = x * x;
    return ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * x + x;
}

fn cosine_near(x: vec4f) -> vec4f {
    let z = x * x;
    return ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
}

fn quarter_wave(rest: vec4f, quarters: vec4u) -> vec4f {
    let odd = (quarters & vec4u(1u)) != vec4u(0u);
    let y = select(sine_near(rest), cosine_near(rest), odd);
    return select(y, -y, (quarters & vec4u(2u)) != vec4u(0u));
}

fn sine(x: vec4f) -> vec4f {
    let a = angle(x);
    return quarter_wave(a.rest, a.quarters);
}

fn cosine(x: vec4f) -> vec4f {
    let a = angle(x);
    return quarter_wave(a.rest, a.quarters + vec4u(1u));
}

fn tangent(x: vec4f) -> vec4f {
    let a = angle(x);
    let s = sine_near(a.rest);
    let c = cosine_near(a.rest);
    return select(s / c, -c / s, (a.quarters & vec4u(1u)) != vec4u(0u));
}

// Of 0 to 1.
fn arc_sine_of(x: vec4f) -> vec4f {
    let far = x > vec4f(0.5);
    let z = select(x * x, 0.5 * (1.0 - x), far);
    let w = select(x, sqrt(max(z, vec4f(0.0))), far);
    let y = ((((4.2163199048e-2 * z + 2.4181311049e-2) * z + 4.5470025998e-2) * z + 7.4953002686e-2) * z + 1.6666752422e-1) * z * w + w;
    return select(y, 1.57079632679 - 2.0 * y, far);
}

fn arc_sine(x: vec4f) -> vec4f {
    return select(no_number(), with_sign(arc_sine_of(abs(x)), x), abs(x) <= vec4f(1.0));
}

fn arc_cosine(x: vec4f) -> vec4f {
    // Near 1 the difference from pi/2 would cancel.
    let far = 2.0 * arc_sine_of(sqrt(max(0.5 * (1.0 - abs(x)), vec4f(0.0))));
    let near = 1.57079632679 - with_sign(arc_sine_of(abs(x)), x);
    let y = select(near, select(far, 3.14159265359 - far, x < vec4f(0.0)), abs(x) > vec4f(0.5));
    return select(no_number(), y, abs(x) <= vec4f(1.0));
}

fn arc_tangent(x: vec4f) -> vec4f {
    let a = abs(x);
    let far = a > vec4f(2.414213562373);
    let middle = a > vec4f(0.414213562373);
    let start = select(select(vec4f(0.0), vec4f(0.785398163397), middle), vec4f(1.57079632679), far);
    let w = select(select(a, (a - 1.0) / (a + 1.0), middle), -1.0 / a, far);
    let z = w * w;
    let y = start + ((((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z - 3.33329491539e-1) * z * w + w);
    return select(with_sign(select(y, vec4f(1.57079632679), is_inf(x)), x), x, is_nan(x));
}

// By halves of the power, which do not overflow before the function does.
fn hyperbolic_sine(x: vec4f) -> vec4f {
    let z = x * x;
    let near = ((2.03721912945e-4 * z + 8.33028376239e-3) * z + 1.66667160211e-1) * z * x + x;
    let e = exp(0.5 * abs(x));
    let far = 0.5 * e * e - 0.5 / e / e;
    return select(near, with_sign(select(far, infinity(), is_inf(x)), x), abs(x) > vec4f(1.0));
}

fn hyperbolic_cosine(x: vec4f) -> vec4f {
    let e = exp(0.5 * abs(x));
    return select(0.5 * e * e + 0.5 / e / e, infinity(), is_inf(x));
}

fn area_sine(x: vec4f) -> vec4f {
    let a = abs(x);
    let z = x * x;
    let near = (((2.0122003309e-2 * z - 4.2699340972e-2) * z + 7.4847586088e-2) * z - 1.6666288134e-1) * z * x + x;
    let far = select(log(a + sqrt(z + 1.0)), log(a) + 0.69314718056, a > vec4f(1500.0));
    return select(near, with_sign(select(far, infinity(), is_inf(x)), x), a >= vec4f(0.5));
}

fn area_cosine(x: vec4f) -> vec4f {
    let z = x - 1.0;
    let root = sqrt(max(z, vec4f(0.0)));
    let near = ((((1.7596881071e-3 * z - 7.5272886713e-3) * z + 2.6454905019e-2) * z - 1.1784741703e-1) * z + 1.4142135263) * root;
    let far = select(log(x + sqrt(max(z * (x + 1.0), vec4f(0.0)))), log(x) + 0.69314718056, x > vec4f(1500.0));
    let y = select(near, select(far, x, is_inf(x)), z >= vec4f(0.5));
    return select(no_number(), y, x >= vec4f(1.0));
}

fn area_tangent(x: vec4f) -> vec4f {
    let a = abs(x);
    let z = x * x;
    let near =
        ((((1.81740078349e-1 * z + 8.24370301058e-2) * z + 1.46691431730e-1) * z + 1.99782164500e-1) * z + 3.33337300303e-1) * z * x + x;
    let far = select(0.5 * log((1.0 + a) / (1.0 - a)), infinity(), a == vec4f(1.0));
    return select(no_number(), select(near, with_sign(far, x), a >= vec4f(0.5)), a <= vec4f(1.0));
}

// 2^n for whole n, in two steps that do not overflow before it does.
fn scaled(x: vec4f, n: vec4f) -> vec4f {
    let half = floor(n * 0.5);
    return x * exp2(half) * exp2(n - half);
}

// a^b for a > 0 and finite: 2^(b * exponent + b * log2(mantissa)), the first product exact.
fn power_of(a: vec4f, b: vec4f) -> vec4f {
    let bits = bitcast<vec4u>(a);
    // The mantissa from sqrt(1/2) to sqrt(2).
    let above = (bits & vec4u(0x7fffffu)) > vec4u(0x3504f3u);
    let mantissa = bitcast<vec4f>((bits & vec4u(0x7fffffu)) | select(vec4u(0x3f800000u), vec4u(0x3f000000u), above));
    let exponent = vec4f(vec4i(bits >> vec4u(23u)) - vec4i(127) + select(vec4i(0), vec4i(1), above));
    let x = mantissa - 1.0;
    let z = x * x;
    var p = (((7.0376836292e-2 * x - 1.1514610310e-1) * x + 1.1676998740e-1) * x - 1.2420140846e-1) * x + 1.4249322787e-1;
    p = (((p * x - 1.6668057665e-1) * x + 2.0000714765e-1) * x - 2.4999993993e-1) * x + 3.3333331174e-1;
    let logarithm = 1.44269504089 * (x + (p * x * z - 0.5 * z));
    let front = bitcast<vec4f>(bitcast<vec4u>(b) & vec4u(0xfffff000u));
    let first = front * exponent;
    let rest = (b - front) * exponent + b * logarithm;
    let n = clamp(round(first + rest), vec4f(-300.0), vec4f(300.0));
    return scaled(exp2(clamp((first - n) + rest, vec4f(-1.0), vec4f(1.0))), n);
}

fn power(a: vec4f, b: vec4f) -> vec4f {
    let size = abs(a);
    // Beyond 1e10 every power of a float other than 1 is 0 or infinite.
    var y = power_of(size, clamp(b, vec4f(-1e10), vec4f(1e10)));
    let whole = floor(b) == b;
    // Powers of whole numbers are whole.
    y = select(y, round(y), whole & (b >= vec4f(0.0)) & (floor(size) == size) & (y < vec4f(8388608.0)));
    let growing = b > vec4f(0.0);
    y = select(y, select(infinity(), vec4f(0.0), growing), size < vec4f(1.17549435e-38));
    y = select(y, select(vec4f(0.0), infinity(), growing), is_inf(a));
    // All floats from 2^24 on are even.
    let odd = whole & (abs(b) < vec4f(16777216.0)) & (floor(0.5 * b) != 0.5 * b);
    let below = a < vec4f(0.0);
    y = select(y, -y, below & odd);
    y = select(y, no_number(), (below & !whole & !is_inf(a)) | is_nan(a) | is_nan(b));
    return select(y, vec4f(1.0), (b == vec4f(0.0)) | (a == vec4f(1.0)));
}

// a - b * trunc(a / b), exact: each round takes a multiple of b whose factor has 11 bits, so that both parts of the product are exact.
fn remainder(a: vec4f, b: vec4f) -> vec4f {
    let m = abs(b);
    let front = bitcast<vec4f>(bitcast<vec4u>(m) & vec4u(0xfffff000u));
    let back = m - front;
    var r = abs(a);
    let exists = (m > vec4f(0.0)) & (magnitude_bits(a) < vec4u(0x7f800000u));
    for (var i = 0u; i < 32u; i++) {
        let over = (r >= m) & exists;
        if !any(over) {
            break;
        }
        // Less than the quotient, whatever the division is off by.
        let quotient = min(r / m, vec4f(1e36)) * 0.999999;
        let q = max(floor(bitcast<vec4f>(bitcast<vec4u>(quotient) & vec4u(0xffffe000u))), vec4f(1.0));
        r = select(r, (r - q * front) - q * back, over);
    }
    return select(no_number(), with_sign(r, a), exists);
}

// a - b * floor(a / b).
fn modulo(a: vec4f, b: vec4f) -> vec4f {
    let r = remainder(a, b);
    return select(r, r + b, (r != vec4f(0.0)) & ((r < vec4f(0.0)) != (b < vec4f(0.0))));
}
