//! JPEG files: baseline and progressive, grey or YCbCr.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::exif::upright;
use super::pixels::{Accept, Pixels};

/// Pixels of a side, as many as the format has.
const MOST: usize = 65_535;

/// Decodes a whole file.
///
/// # Errors
/// One phrase: damaged or cut off, in colours that are no red, green and blue, turned, or not accepted.
pub(super) fn decode(bytes: &[u8], accept: Accept<'_>) -> Result<Pixels, String> {
    let damaged = |why: &dyn std::fmt::Debug| {
        let why = format!("{why:?}").split_whitespace().collect::<Vec<_>>().join(" ");
        format!("is a JPEG file that cannot be read: {}", why.trim_matches('"'))
    };
    // A decoder that is not strict makes up what a damaged file lacks.
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(MOST).set_max_height(MOST);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| damaged(&e))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| damaged(&"it has no size"))?;
    let channels = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => 1,
        Some(ColorSpace::YCbCr | ColorSpace::RGB) => 3,
        Some(ColorSpace::CMYK | ColorSpace::YCCK) => {
            return Err("is a JPEG file of printing colours (CMYK): save it as RGB".into());
        }
        other => return Err(format!("is a JPEG file of colours that are not read ({other:?}): save it as RGB")),
    };
    upright(decoder.exif().map(Vec::as_slice))?;
    accept(width, height)?;
    if !ends(bytes) {
        return Err("is a JPEG file that is cut off: it has no end".into());
    }
    let colours = if channels == 1 { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let data = decoder.decode().map_err(|e| damaged(&e))?;
    if data.len() != width * height * channels {
        return Err(damaged(&"its pixels are not as many as its size says"));
    }
    Ok(Pixels { width, height, channels, data })
}

/// Whether an end of image stands behind the first scan, whose own data cannot hold one.
fn ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            // A scan.
            0xda => return bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9]),
            // Filled.
            0xff => at += 1,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    false
}
