// How a window moves over an image.

// Where the window of an output starts, outside of the image where there is padding: below 0 y and x wrap round.
struct Corner {
    // The image's first pixel.
    image: u32,
    y: u32,
    x: u32,
}

// The pixel under one tap of a window.
struct Tap {
    // Its first vec4; 0 outside of the image.
    at: u32,
    inside: bool,
}

fn corner(row: u32) -> Corner {
    let line = row / shape.output_width;
    let image = line / shape.output_height;
    return Corner(
        image * shape.input_height * shape.input_width,
        (line - image * shape.output_height) * shape.stride_height - shape.padding_top,
        (row - line * shape.output_width) * shape.stride_width - shape.padding_left,
    );
}

fn tap(start: Corner, tap_y: u32, tap_x: u32) -> Tap {
    let y = start.y + tap_y * shape.dilation_height;
    let x = start.x + tap_x * shape.dilation_width;
    // What wrapped round is beyond the image too.
    let inside = y < shape.input_height && x < shape.input_width;
    return Tap(select(0u, (start.image + y * shape.input_width + x) * shape.input_stride4, inside), inside);
}
