// What a layer's kernel must know: lengths in vec4s end in 4. Activations are rows of `*_stride4` vec4s.
// Weights lie in panels of this many vec4s of outputs, [N / 4 / PANEL][K padded to 4][PANEL]: neighbouring invocations walk
// one stretch of memory, where whole rows would put each step on another page and, for round N, in the same cache set.
const PANEL = 8u;

struct Shape {
    inputs4: u32,
    input_stride4: u32,
    outputs: u32,
    outputs4: u32,
    output_stride4: u32,
    // vec4s of the intermediate of a factored layer.
    rank4: u32,
    // How many invocations share a row of outputs.
    column_groups: u32,
    // Bit 0: ReLU.
    flags: u32,
}

struct Run {
    rows: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Of this run, the same for all layers.
@group(0) @binding(1) var<uniform> run: Run;
