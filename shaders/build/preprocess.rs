//! The preprocessor of the WGSL sources: imports, conditions, repeated lines and constants, nothing more.
//!
//! * `#import NAME` puts `wgsl/shared/NAME.wgsl` here, once a kernel however often it is asked for;
//! * `#ifdef NAME`, `#else`, `#endif` keep the lines between them if the variant defines NAME to anything but 0;
//! * `#for v COUNT` … `#endfor` repeats the lines between them with `$v` as 0, 1, … COUNT - 1, so that register blocks
//!   have named accumulators, which compilers keep in registers where they would spill an indexed array;
//! * `$(EXPRESSION)` is replaced by its value: whole numbers, + - * / %, from left to right, no precedence;
//! * `#input NAME BINDING` declares an array of vec4s to read and `NAME_at(i)`, its element i; `#output NAME BINDING` one to
//!   write and `NAME_put(i, value)`. They are storage buffers, or textures where the variant defines TEXTURES;
//! * `#elements NAME BINDING` is an `#input` that also has `NAME_element(i)`, number i of its numbers;
//! * `#weights NAME BINDING` is an `#input` that holds f16 where the variant defines HALF;
//! * every other identifier that the variant defines is replaced by its number.

use std::collections::HashSet;
use std::fmt;

/// One line of a kernel after expansion, with where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) number: usize,
}

/// What is wrong in a source file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PreprocessError {
    pub(crate) file: String,
    pub(crate) number: usize,
    pub(crate) why: String,
}

impl fmt::Display for PreprocessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.number, self.why)
    }
}

/// The constants of a variant.
pub(crate) type Defines = [(String, u32)];

/// Expands `source`, the text of `file`; `shared` gives the text of what is imported.
pub(crate) fn expand(
    file: &str,
    source: &str,
    defines: &Defines,
    shared: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Line>, PreprocessError> {
    let mut expander = Expander { defines, shared, imported: HashSet::new(), out: Vec::new() };
    let lines: Vec<Line> =
        source.lines().enumerate().map(|(i, text)| Line { text: text.into(), file: file.into(), number: i + 1 }).collect();
    expander.block(&lines)?;
    Ok(expander.out)
}

struct Expander<'a> {
    defines: &'a Defines,
    shared: &'a dyn Fn(&str) -> Option<String>,
    imported: HashSet<String>,
    out: Vec<Line>,
}

impl Expander<'_> {
    fn block(&mut self, lines: &[Line]) -> Result<(), PreprocessError> {
        let mut at = 0;
        while at < lines.len() {
            let line = &lines[at];
            let fail = |why: String| Err(PreprocessError { file: line.file.clone(), number: line.number, why });
            let mut words = line.text.split_whitespace();
            match words.next() {
                Some("#import") => {
                    let Some(name) = words.next() else { return fail("#import what?".into()) };
                    if self.imported.insert(name.into()) {
                        let Some(text) = (self.shared)(name) else { return fail(format!("there is no shared '{name}'")) };
                        let file = format!("shared/{name}.wgsl");
                        let inner: Vec<Line> =
                            text.lines().enumerate().map(|(i, t)| Line { text: t.into(), file: file.clone(), number: i + 1 }).collect();
                        self.block(&inner)?;
                    }
                }
                Some("#ifdef") => {
                    let Some(name) = words.next() else { return fail("#ifdef what?".into()) };
                    let (otherwise, end) = close(lines, at, "#ifdef", "#endif", Some("#else"))?;
                    let taken = self.defines.iter().any(|(n, value)| n == name && *value != 0);
                    let (first, second) = (&lines[at + 1..otherwise.unwrap_or(end)], otherwise.map_or(&[][..], |o| &lines[o + 1..end]));
                    self.block(if taken { first } else { second })?;
                    at = end;
                }
                Some("#for") => {
                    let (Some(variable), count) = (words.next(), words.collect::<Vec<_>>().join(" ")) else {
                        return fail("#for needs a variable and a count".into());
                    };
                    let Some(count) = evaluate(&substitute(&count, self.defines)).ok().and_then(|n| n.parse::<u32>().ok()) else {
                        return fail(format!("'{count}' is neither a number nor defined"));
                    };
                    let (_, end) = close(lines, at, "#for", "#endfor", None)?;
                    let pattern = format!("${variable}");
                    for i in 0..count {
                        let body: Vec<Line> = lines[at + 1..end]
                            .iter()
                            .map(|l| Line { text: l.text.replace(&pattern, &i.to_string()), ..l.clone() })
                            .collect();
                        self.block(&body)?;
                    }
                    at = end;
                }
                Some(word @ ("#input" | "#elements" | "#weights" | "#output")) => {
                    let Ok(text) = evaluate(&substitute(&line.text, self.defines)) else {
                        return fail(format!("'{}' is no arithmetic", line.text));
                    };
                    let mut words = text.split_whitespace().skip(1);
                    let (Some(name), Some(Ok(binding))) = (words.next(), words.next().map(str::parse)) else {
                        return fail(format!("{word} needs a name and a binding"));
                    };
                    let defined = |name: &str| self.defines.iter().any(|(n, value)| n == name && *value != 0);
                    let access = match word {
                        "#output" => Access::Write,
                        "#weights" if defined("HALF") => Access::ReadHalf,
                        _ => Access::Read,
                    };
                    let element = (word == "#elements").then(|| element(name, defined("TEXTURES")));
                    for text in declare(access, name, binding, defined("TEXTURES")).into_iter().chain(element) {
                        self.out.push(Line { text, ..line.clone() });
                    }
                }
                Some(word) if word.starts_with('#') => return fail(format!("'{word}' is unknown here")),
                _ => match evaluate(&substitute(&line.text, self.defines)) {
                    Ok(text) => self.out.push(Line { text, ..line.clone() }),
                    Err(what) => return fail(format!("'$({what})' is no arithmetic")),
                },
            }
            at += 1;
        }
        Ok(())
    }
}

/// What a kernel does with an array.
#[derive(Clone, Copy)]
enum Access {
    Read,
    /// Reads f16.
    ReadHalf,
    Write,
}

/// An array of vec4s of a kernel as WGSL. A texture is one in rows of 2048, so that its size depends on its length alone.
fn declare(access: Access, name: &str, binding: u32, textures: bool) -> [String; 2] {
    let at = format!("@group(0) @binding({binding}) var");
    let texel = "vec2u(i & 2047u, i >> 11u)";
    let reader = |body: &str| format!("fn {name}_at(i: u32) -> vec4f {{ return {body}; }}");
    match (textures, access) {
        (false, Access::Read) => [format!("{at}<storage, read> {name}: array<vec4f>;"), reader(&format!("{name}[i]"))],
        (false, Access::ReadHalf) => [
            format!("{at}<storage, read> {name}: array<vec2u>;"),
            reader(&format!("vec4f(unpack2x16float({name}[i].x), unpack2x16float({name}[i].y))")),
        ],
        (false, Access::Write) => [
            format!("{at}<storage, read_write> {name}: array<vec4f>;"),
            format!("fn {name}_put(i: u32, value: vec4f) {{ {name}[i] = value; }}"),
        ],
        (true, Access::Read | Access::ReadHalf) => {
            let format = if matches!(access, Access::Read) { "rgba32float" } else { "rgba16float" };
            [format!("{at} {name}: texture_storage_2d<{format}, read>;"), reader(&format!("textureLoad({name}, {texel})"))]
        }
        (true, Access::Write) => [
            format!("{at} {name}: texture_storage_2d<rgba32float, write>;"),
            format!("fn {name}_put(i: u32, value: vec4f) {{ textureStore({name}, {texel}, value); }}"),
        ],
    }
}

/// How a kernel reads one number of the input `name`: of a buffer without the vec4 around it.
fn element(name: &str, textures: bool) -> String {
    let body = if textures { format!("{name}_at(i >> 2u)[i & 3u]") } else { format!("{name}[i >> 2u][i & 3u]") };
    format!("fn {name}_element(i: u32) -> f32 {{ return {body}; }}")
}

/// Replaces every `$(…)` by its value; the error is what stands in the brackets.
fn evaluate(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("$(") {
        let Some(len) = rest[start..].find(')') else { return Err(rest[start + 2..].into()) };
        let inner = &rest[start + 2..start + len];
        let value = arithmetic(inner).ok_or_else(|| inner.to_string())?;
        out.push_str(&rest[..start]);
        out.push_str(&value.to_string());
        rest = &rest[start + len + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn arithmetic(text: &str) -> Option<u32> {
    let mut words = text.split_whitespace();
    let mut value: u32 = words.next()?.parse().ok()?;
    while let Some(operator) = words.next() {
        let right: u32 = words.next()?.parse().ok()?;
        value = match operator {
            "+" => value.checked_add(right)?,
            "-" => value.checked_sub(right)?,
            "*" => value.checked_mul(right)?,
            "/" => value.checked_div(right)?,
            "%" => value.checked_rem(right)?,
            _ => return None,
        };
    }
    Some(value)
}

/// Where the block opened at line `open` ends, and where its `middle` word stands.
fn close(
    lines: &[Line],
    open: usize,
    opening: &str,
    closing: &str,
    middle: Option<&str>,
) -> Result<(Option<usize>, usize), PreprocessError> {
    let mut depth = 0;
    let mut otherwise = None;
    for (i, line) in lines.iter().enumerate().skip(open) {
        match line.text.split_whitespace().next() {
            Some(word) if word == opening => depth += 1,
            Some(word) if word == closing => {
                depth -= 1;
                if depth == 0 {
                    return Ok((otherwise, i));
                }
            }
            Some(word) if depth == 1 && Some(word) == middle => otherwise = Some(i),
            _ => {}
        }
    }
    Err(PreprocessError { file: lines[open].file.clone(), number: lines[open].number, why: format!("{opening} without {closing}") })
}

/// Replaces whole identifiers that are defined.
fn substitute(text: &str, defines: &Defines) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        let end = rest[start..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(rest.len(), |n| start + n);
        let word = &rest[start..end];
        out.push_str(&rest[..start]);
        match defines.iter().find(|(name, _)| name == word) {
            Some((_, value)) => out.push_str(&value.to_string()),
            None => out.push_str(word),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(name: &str) -> Option<String> {
        match name {
            "outer" => Some("#import inner\nouter TM".into()),
            "inner" => Some("inner".into()),
            _ => None,
        }
    }

    fn lines(source: &str) -> Result<Vec<String>, PreprocessError> {
        let defines = [("TM".to_string(), 2), ("OFF".to_string(), 0)];
        Ok(expand("k.wgsl", source, &defines, &shared)?.into_iter().map(|l| l.text).collect())
    }

    #[test]
    fn imports_nest_and_come_once() {
        assert_eq!(lines("#import outer\n#import inner\nend").unwrap(), ["inner", "outer 2", "end"]);
    }

    #[test]
    fn lines_remember_where_they_came_from() {
        let out = expand("k.wgsl", "\n#import outer\n", &[], &shared).unwrap();
        assert_eq!((out[2].file.as_str(), out[2].number), ("shared/outer.wgsl", 2));
    }

    #[test]
    fn conditions_take_one_side() {
        assert_eq!(lines("#ifdef TM\na\n#ifdef NO\nb\n#else\nc\n#endif\n#else\nd\n#endif\n#ifdef OFF\ne\n#endif").unwrap(), ["a", "c"]);
    }

    #[test]
    fn loops_nest_and_whole_words_are_replaced() {
        assert_eq!(
            lines("#for m TM\n#for n 2\nacc$m_$n TM TMP aTM 4TM\n#endfor\n#endfor").unwrap()[1..3],
            ["acc0_1 2 TMP aTM 4TM", "acc1_0 2 TMP aTM 4TM"]
        );
        assert!(lines("#for m 0\nx\n#endfor").unwrap().is_empty());
    }

    #[test]
    fn arithmetic_goes_from_left_to_right() {
        assert_eq!(lines("#for m 2\na$($m + TM * 3) b\n#endfor").unwrap(), ["a6 b", "a9 b"]);
        assert_eq!(lines("#for m $(5 - TM)\n$(7 / TM % 2)$m\n#endfor").unwrap(), ["10", "11", "12"]);
    }

    #[test]
    fn arrays_are_buffers_or_textures() {
        let expand = |defines: &Defines| expand("k.wgsl", "#input x 2\n#output y 3", defines, &shared).unwrap();
        let text = |defines: &Defines| expand(defines).into_iter().map(|l| l.text).collect::<String>();
        let (buffers, textures) = (text(&[]), text(&[("TEXTURES".into(), 1)]));
        assert!(buffers.contains("var<storage, read> x: array<vec4f>") && !buffers.contains("texture"), "{buffers}");
        assert!(
            textures.contains("fn y_put") && textures.contains("@binding(3) var y: texture_storage_2d<rgba32float, write>"),
            "{textures}"
        );
        let halves = |textures: u32| {
            let defines = [("HALF".to_string(), 1), ("TEXTURES".to_string(), textures)];
            super::expand("k.wgsl", "#weights w 4\n#input x 2", &defines, &shared).unwrap().into_iter().map(|l| l.text).collect::<String>()
        };
        assert!(halves(0).contains("w: array<vec2u>") && halves(0).contains("x: array<vec4f>") && halves(0).contains("unpack2x16float"));
        assert!(
            halves(1).contains("w: texture_storage_2d<rgba16float, read>")
                && halves(1).contains("x: texture_storage_2d<rgba32float, read>")
        );
        let elements = |textures: u32| {
            let source = "#for o 2\n#elements x$o $($o + TM)\n#endfor";
            let lines = super::expand("k.wgsl", source, &[("TEXTURES".into(), textures), ("TM".into(), 2)], &shared).unwrap();
            lines.into_iter().map(|l| l.text).collect::<String>()
        };
        assert!(elements(0).contains("@binding(3) var<storage, read> x1") && elements(0).contains("return x1[i >> 2u][i & 3u]"));
        assert!(elements(1).contains("fn x0_element(i: u32) -> f32 { return x0_at(i >> 2u)[i & 3u]; }"));
        // Errors are reported by the line that declared them.
        assert_eq!(expand(&[]).iter().map(|l| l.number).collect::<Vec<_>>(), [1, 1, 2, 2]);
    }

    #[test]
    fn mistakes_name_file_and_line() {
        for (source, line, why) in [
            ("a\n#import nowhere", 2, "there is no shared 'nowhere'"),
            ("#ifdef TM\na", 1, "#ifdef without #endif"),
            ("a\n#endif", 2, "'#endif' is unknown here"),
            ("#for m MANY\n#endfor", 1, "'MANY' is neither a number nor defined"),
            ("#for m 2\na", 1, "#for without #endfor"),
            ("#else", 1, "'#else' is unknown here"),
            ("#input x", 1, "#input needs a name and a binding"),
            ("a\n$(1 - 2)", 2, "'$(1 - 2)' is no arithmetic"),
        ] {
            let e = lines(source).unwrap_err();
            assert_eq!((e.file.as_str(), e.number, e.why.as_str()), ("k.wgsl", line, why));
        }
    }
}
