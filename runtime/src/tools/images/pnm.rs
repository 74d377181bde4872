//! Binary PGM and PPM files of 8 bits a channel.

use super::pixels::{Accept, Pixels};

/// Decodes a file; what stands behind its pixels is left alone.
///
/// # Errors
/// One phrase: a broken header, more than 8 bits, too few pixels, or not accepted.
pub(super) fn decode(bytes: &[u8], accept: Accept<'_>) -> Result<Pixels, String> {
    let broken = || "is a PNM file with a broken header".to_string();
    let channels = if bytes.starts_with(b"P6") { 3 } else { 1 };
    let mut rest = bytes.get(2..).ok_or_else(broken)?;
    let mut number = || -> Result<usize, String> {
        loop {
            rest = rest.trim_ascii_start();
            match rest {
                [b'#', ..] => rest = rest.iter().position(|&b| b == b'\n').map_or(&[], |end| &rest[end..]),
                _ => break,
            }
        }
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (found, behind) = rest.split_at(digits);
        rest = behind;
        std::str::from_utf8(found).ok().and_then(|s| s.parse().ok()).ok_or_else(broken)
    };
    let (width, height, most) = (number()?, number()?, number()?);
    // One byte of white space ends the header.
    let data = rest.split_first().filter(|(first, _)| first.is_ascii_whitespace()).ok_or_else(broken)?.1;
    if most != 255 {
        return Err(format!("is a PNM file of pixels up to {most}; up to 255 are read"));
    }
    accept(width, height)?;
    let len = width * height * channels;
    let data = data.get(..len).ok_or_else(|| format!("is a PNM file that ends after {} of {len} bytes of pixels", data.len()))?;
    Ok(Pixels { width, height, channels, data: data.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written() {
        let decode = |bytes: &[u8]| decode(bytes, &|_, _| Ok(()));
        let grey = Pixels { width: 2, height: 1, channels: 1, data: vec![b'1', 10] };
        assert_eq!(decode(b"P5 2 1 255\n1\n"), Ok(grey.clone()));
        assert_eq!(decode(b"P5\n# by hand\n2 # wide\n1\n255 1\n and more"), Ok(grey));
        assert_eq!(decode(b"P6 1 1 255 abc").unwrap().data, b"abc");
        for (bytes, why) in [
            (&b"P5"[..], "broken header"),
            (b"P5 2", "broken header"),
            (b"P5 2 1 255", "broken header"),
            (b"P5 2 -1 255 ab", "broken header"),
            (b"P5 2 99999999999999999999999 255 ab", "broken header"),
            (b"P5 # no end", "broken header"),
            (b"P5 2 1 65535 abcd", "up to 65535"),
            (b"P6 2 1 255 abcde", "ends after 5 of 6"),
        ] {
            assert!(decode(bytes).is_err_and(|e| e.contains(why)), "{bytes:?}");
        }
    }
}
