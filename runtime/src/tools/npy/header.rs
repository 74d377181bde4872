//! The header of an .npy file, a Python dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.

/// Numpy itself knows no more axes.
const MAX_AXES: usize = 64;

/// What the header says of the elements that follow it.
pub(super) struct Header<'a> {
    /// The element type as numpy spells it, such as `<f4`.
    pub(super) descr: &'a [u8],
    /// Whether the first axis is the fastest.
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
}

impl<'a> Header<'a> {
    /// Reads `text`, which must hold the three keys once each and nothing else.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, String> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        let mut scan = Scan(text);
        scan.need(b"{")?;
        while !scan.eat(b"}") {
            let key = scan.string()?;
            scan.need(b":")?;
            let twice = match key {
                b"descr" => descr.replace(scan.string().map_err(|_| "structured element types are not supported")?).is_some(),
                b"fortran_order" => fortran.replace(scan.truth()?).is_some(),
                b"shape" => shape.replace(scan.tuple()?).is_some(),
                _ => return Err("the header has a key other than descr, fortran_order and shape".into()),
            };
            if twice {
                return Err("the header has a key twice".into());
            }
            if !scan.eat(b",") {
                scan.need(b"}")?;
                break;
            }
        }
        if !scan.0.trim_ascii().is_empty() {
            return Err("the header goes on after its dictionary".into());
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Self { descr, fortran, shape }),
            _ => Err("the header lacks descr, fortran_order or shape".into()),
        }
    }
}

/// What is left of the header.
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    fn eat(&mut self, token: &[u8]) -> bool {
        self.0 = self.0.trim_ascii_start();
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn need(&mut self, token: &[u8]) -> Result<(), String> {
        self.eat(token).then_some(()).ok_or_else(|| format!("the header lacks a '{}'", token.escape_ascii()))
    }

    fn string(&mut self) -> Result<&'a [u8], String> {
        let quote = if self.eat(b"'") { b'\'' } else { self.need(b"\"").map(|()| b'"').map_err(|_| "the header lacks a string")? };
        let end = self.0.iter().position(|&b| b == quote).ok_or("a string of the header does not end")?;
        let found = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(found)
    }

    fn truth(&mut self) -> Result<bool, String> {
        let yes = self.eat(b"True");
        if yes || self.eat(b"False") { Ok(yes) } else { Err("fortran_order is neither True nor False".into()) }
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut axes = Vec::new();
        self.eat(b"(").then_some(()).ok_or("the shape is no tuple")?;
        while !self.eat(b")") {
            if axes.len() == MAX_AXES {
                return Err(format!("the shape has more than {MAX_AXES} axes"));
            }
            self.0 = self.0.trim_ascii_start();
            let digits = &self.0[..self.0.iter().take_while(|b| b.is_ascii_digit()).count()];
            let axis = std::str::from_utf8(digits).ok().and_then(|s| s.parse().ok());
            axes.push(axis.ok_or("an axis of the shape is no length")?);
            self.0 = &self.0[digits.len()..];
            if !self.eat(b",") {
                self.need(b")")?;
                // `(3)` is a number in Python; numpy refuses it too.
                return if axes.len() > 1 { Ok(axes) } else { Err("the shape is no tuple".into()) };
            }
        }
        Ok(axes)
    }
}

#[cfg(test)]
mod tests {
    use super::Header;

    #[test]
    fn any_python_spelling_of_the_three_keys_is_read() {
        for text in [
            "{\"shape\":(2,3,),\"descr\":\"<f4\",\"fortran_order\":True}",
            " { 'fortran_order' : True ,'descr':'<f4', 'shape': ( 2 , 3 ) , } \n",
        ] {
            let header = Header::parse(text.as_bytes()).expect(text);
            assert_eq!((header.descr, header.fortran, header.shape), (&b"<f4"[..], true, vec![2, 3]), "{text}");
        }
    }

    #[test]
    fn a_broken_dictionary_is_refused() {
        for text in ["", "{", "{}", "{'descr'", "{'descr' 1}", "{'shape': (1", "{'shape': (,)}", "{'shape': (1 2)}", "{'descr': 1}", "()"] {
            assert!(Header::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
