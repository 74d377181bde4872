//! PNG files of 8 bits a channel and less, without anything that shines through.

use png::{BitDepth, ColorType, Decoder, Transformations};

use super::exif::upright;
use super::pixels::{Accept, MOST_BYTES, Pixels};

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

/// The file of an image.
///
/// # Errors
/// One phrase: pixels that are not as many as its size says.
pub(super) fn encode(pixels: &Pixels) -> Result<Vec<u8>, String> {
    let side = |pixels: usize| u32::try_from(pixels).map_err(|e| e.to_string());
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side(pixels.width)?, side(pixels.height)?);
    encoder.set_color(if pixels.channels == 1 { ColorType::Grayscale } else { ColorType::Rgb });
    let mut writer = encoder.write_header().map_err(|e| e.to_string())?;
    writer.write_image_data(&pixels.data).map_err(|e| e.to_string())?;
    writer.finish().map_err(|e| e.to_string())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of pixels of any kind; `more` sets what else there is.
    fn file(color: ColorType, depth: BitDepth, data: &[u8], more: impl FnOnce(&mut png::Encoder<'_, &mut Vec<u8>>)) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 2, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        more(&mut encoder);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        file
    }

    fn read(file: &[u8]) -> Result<Pixels, String> {
        decode(file, &|_, _| Ok(()))
    }

    #[test]
    fn every_kind_of_8_bits_and_less_becomes_grey_or_colours() {
        let eight = BitDepth::Eight;
        let pixels = |channels, data: &[u8]| Ok(Pixels { width: 2, height: 1, channels, data: data.to_vec() });
        assert_eq!(read(&file(ColorType::Grayscale, eight, &[7, 9], |_| ())), pixels(1, &[7, 9]));
        assert_eq!(read(&file(ColorType::Grayscale, BitDepth::One, &[0b0100_0000], |_| ())), pixels(1, &[0, 255]));
        assert_eq!(read(&file(ColorType::Rgb, eight, &[1, 2, 3, 4, 5, 6], |_| ())), pixels(3, &[1, 2, 3, 4, 5, 6]));
        let palette = |e: &mut png::Encoder<'_, &mut Vec<u8>>| e.set_palette(vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(read(&file(ColorType::Indexed, eight, &[1, 0], palette)), pixels(3, &[4, 5, 6, 1, 2, 3]));
        // Nothing shines through.
        assert_eq!(read(&file(ColorType::Rgba, eight, &[1, 2, 3, 255, 4, 5, 6, 255], |_| ())), pixels(3, &[1, 2, 3, 4, 5, 6]));
        assert_eq!(read(&file(ColorType::GrayscaleAlpha, eight, &[7, 255, 9, 255], |_| ())), pixels(1, &[7, 9]));
        let image = Pixels { width: 2, height: 2, channels: 3, data: (0..12).collect() };
        assert_eq!(read(&encode(&image).unwrap()), Ok(image));
    }

    #[test]
    fn what_would_be_guessed_is_refused() {
        let transparent = |e: &mut png::Encoder<'_, &mut Vec<u8>>| (e.set_palette(vec![1, 2, 3, 4, 5, 6]), e.set_trns(vec![255, 0])).0;
        for (file, why) in [
            (file(ColorType::Grayscale, BitDepth::Sixteen, &[0; 4], |_| ()), "16 bits"),
            (file(ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 255, 4, 5, 6, 254], |_| ()), "transparent pixels"),
            (file(ColorType::Indexed, BitDepth::Eight, &[0, 1], transparent), "transparent pixels"),
        ] {
            assert!(read(&file).is_err_and(|e| e.contains(why)), "{why}");
        }
        let whole = file(ColorType::Grayscale, BitDepth::Eight, &[7, 9], |_| ());
        for end in 8..whole.len() {
            let error = read(&whole[..end]).unwrap_err();
            assert!(error.contains("cannot be read") && !error.contains('\n'), "{end}: {error}");
        }
    }
}
