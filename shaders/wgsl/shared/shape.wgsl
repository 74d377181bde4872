// The uniform that describes a step's operands to its kernel: lengths in vec4s end in 4. A value is rows of `*_stride4` vec4s: a row is a pixel, its
// channels padded to 4, or in a fully connected layer a whole sample.
// Weights lie in panels of this many vec4s of outputs, [N / 4 / PANEL][K padded to 4][PANEL]: neighbouring invocations walk
// one stretch of memory, where whole rows would put each step on another page and, for round N, in the same cache set.
const PANEL = 8u;

struct Shape {
    // vec4s that one row, or one tap of a window, is summed over.
    inputs4: u32,
    input_stride4: u32,
    outputs: u32,
    outputs4: u32,
    output_stride4: u32,
    // vec4s of the intermediate of a factored layer.
    rank4: u32,
    // How many invocations share a row of outputs.
    column_groups: u32,
    // Rows of outputs of a sample.
    pixels: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    // How a window moves over the image.
    kernel_height: u32,
    kernel_width: u32,
    stride_height: u32,
    stride_width: u32,
    padding_top: u32,
    padding_left: u32,
    dilation_height: u32,
    dilation_width: u32,
    // Channels of one group, or vec4s of them.
    group_inputs: u32,
    group_outputs: u32,
    // The second input: a residual, the factors of a product, or the keys of attention.
    second_channels: u32,
    second_stride4: u32,
    second_height: u32,
    second_width: u32,
    // A residual r: y[c, i, j] += r[c - offset, i * step, j * step].
    residual_step: u32,
    residual_offset: u32,
    // The activation's parameter: the slope of a leaky ReLU below 0, the factor of an ELU, a threshold.
    slope: f32,
    // -infinity, which WGSL cannot spell.
    lowest: f32,
    // Bit 0: an average counts the padding. Recurrent layers: bits 0 and 1 the cell, then whether it goes backwards, gives its states, is given
    // initial states, is given lengths, and the cell's variant.
    flags: u32,
    // Bounds of the outputs; none where the least is above the most.
    least: f32,
    most: f32,
    // Of attention: heads, channels of each, keys of a sample, the channel of the first key and of the first value, vec4s
    // of a row of values.
    heads: u32,
    head_size: u32,
    keys: u32,
    first_key: u32,
    first_value: u32,
    value_stride4: u32,
    // What scores are multiplied by, or what is added to a variance.
    number: f32,
}

struct Run {
    // Samples.
    rows: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Of this run, the same for all layers.
@group(0) @binding(1) var<uniform> run: Run;

// Rows of outputs of this run.
fn row_count() -> u32 {
    return run.rows * shape.pixels;
}
