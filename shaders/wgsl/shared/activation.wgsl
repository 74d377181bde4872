// Activations in the order of the format's, but that none, ReLU, ReLU6 and Clip are one, of bounds that are uniforms: they are
// what nearly all layers have, and a pipeline less to compile.
#import functions

override ACTIVATION: u32 = 0u;

// What outputs are kept between; `bounded` says whether they are. Read once a kernel: inside of a loop an adapter on the CPU
// reads uniforms for each lane.
var<private> least: f32;
var<private> most: f32;
var<private> bounded: bool;

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
