// The mean of each channel of an image. An invocation computes one vec4, row of pixels by row of pixels, so that roundings
// do not add up over the whole image.
#import shape
#import epilogue
#import each

#input x 2
#output y 4

fn compute(row: u32, column: u32) {
    var at = row * shape.input_height * shape.input_width * shape.input_stride4 + column;
    var sum = vec4f(0.0);
    for (var i = 0u; i < shape.input_height; i++) {
        var line = vec4f(0.0);
        for (var j = 0u; j < shape.input_width; j++) {
            line += x_at(at);
            at += shape.input_stride4;
        }
        sum += line;
    }
    y_put(row * shape.output_stride4 + column, epilogue(sum / f32(shape.input_height * shape.input_width), row, column));
}
