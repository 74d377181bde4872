//! PNG files of 8 bits a channel and less, without anything that shines through.

use png::{BitDepth, ColorType, Decoder, Transformations};

use super::{Accept, MOST_BYTES, Pixels, upright};

/// Decodes a whole file; palettes become colours.
///
/// # Errors
/// One phrase: damaged or cut off, of 16 bits a channel, with transparent pixels, turned, or not accepted.
pub(super) fn decode(bytes: &[u8], accept: Accept<'_>) -> Result<Pixels, String> {
    let damaged = |e: png::DecodingError| {
        format!("is a PNG file that cannot be read: {}", e.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let limits = png::Limits { bytes: MOST_BYTES };
    let mut decoder = Decoder::new_with_limits(std::io::Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    if reader.info().bit_depth == BitDepth::Sixteen {
        return Err("is a PNG file of 16 bits a channel; networks take pixels of 8: save it with 8".into());
    }
    accept(width, height)?;
    let size = reader.output_buffer_size().filter(|&size| size <= MOST_BYTES).ok_or("is too large")?;
    let mut data = vec![0; size];
    let frame = reader.next_frame(&mut data).map_err(damaged)?;
    data.truncate(frame.buffer_size());
    reader.finish().map_err(damaged)?;
    upright(reader.info().exif_metadata.as_deref())?;
    let channels = match frame.color_type {
        ColorType::Grayscale | ColorType::GrayscaleAlpha => 1,
        ColorType::Rgb | ColorType::Rgba | ColorType::Indexed => 3,
    };
    let samples = frame.color_type.samples();
    if samples == channels + 1 {
        if data.chunks_exact(samples).any(|pixel| pixel[channels] != u8::MAX) {
            return Err("is a PNG file with transparent pixels, and nothing says what is behind them: save it without transparency".into());
        }
        data = data.chunks_exact(samples).flat_map(|pixel| &pixel[..channels]).copied().collect();
    }
    if data.len() != width * height * channels {
        return Err("is a PNG file whose pixels are not as many as its size says".into());
    }
    Ok(Pixels { width, height, channels, data })
}
