// Bias and activation of the four outputs at `column4`. Columns past the end are written as 0, whatever was summed, so
// that the next layer can load whole vec4s: its padding weights are 0, and NaN · 0 would be NaN.
fn epilogue(sum: vec4f, column4: u32) -> vec4f {
    var out = sum + bias[column4];
    if (shape.flags & 1u) != 0u {
        out = max(out, vec4f(0.0));
    }
    return select(vec4f(0.0), out, vec4u(0u, 1u, 2u, 3u) + vec4u(column4 * 4u) < vec4u(shape.outputs));
}
