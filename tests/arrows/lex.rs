//! Rust source as tokens, without comments and without what only tests compile.

/// A token, as far as imports and definitions need it told apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A name or a keyword.
    Name(String),
    /// `::`
    Colons,
    /// The text of a string literal; the test of arrows needs that of `#[path = "…"]`.
    Text(String),
    /// Any other character; a number, a character or a lifetime is `'0'`.
    Mark(char),
}

impl Token {
    pub(crate) fn is(&self, mark: char) -> bool {
        *self == Token::Mark(mark)
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Token::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// What a file's code is made of outside tests.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    without_tests(&all_tokens(source))
}

fn all_tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let (mut i, mut out) = (0, Vec::new());
    while i < text.len() {
        let c = text[i];
        if c == '/' && at(i + 1) == '/' {
            i = end_of_line(&text, i);
        } else if c == '/' && at(i + 1) == '*' {
            i = end_of_comment(&text, i);
        } else if c == '"' {
            let end = end_of_string(&text, i);
            out.push(Token::Text(text[i + 1..end - 1].iter().collect()));
            i = end;
        } else if c == '\'' {
            i = end_of_quote(&text, i);
            out.push(Token::Mark('0'));
        } else if c.is_alphabetic() || c == '_' {
            let end = end_of_word(&text, i);
            let word: String = text[i..end].iter().collect();
            if ["r", "br", "cr"].contains(&word.as_str()) && matches!(at(end), '"' | '#') && raw_opens(&text, end) {
                i = end_of_raw(&text, end);
                out.push(Token::Mark('0'));
            } else if word == "r" && at(end) == '#' {
                // A raw name is the name.
                i = end + 1;
            } else {
                // The prefix of a literal: the literal itself follows.
                let is_prefix = ["b", "c"].contains(&word.as_str()) && matches!(at(end), '"' | '\'');
                if !is_prefix {
                    out.push(Token::Name(word));
                }
                i = end;
            }
        } else if c.is_ascii_digit() {
            i = end_of_word(&text, i);
            out.push(Token::Mark('0'));
        } else if c == ':' && at(i + 1) == ':' {
            out.push(Token::Colons);
            i += 2;
        } else {
            if !c.is_whitespace() {
                out.push(Token::Mark(c));
            }
            i += 1;
        }
    }
    out
}

fn end_of_line(text: &[char], from: usize) -> usize {
    (from..text.len()).find(|&i| text[i] == '\n').unwrap_or(text.len())
}

fn end_of_word(text: &[char], from: usize) -> usize {
    (from..text.len()).find(|&i| !text[i].is_alphanumeric() && text[i] != '_').unwrap_or(text.len())
}

/// Block comments nest.
fn end_of_comment(text: &[char], from: usize) -> usize {
    let (mut depth, mut i) = (0, from);
    while i + 1 < text.len() {
        match (text[i], text[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    text.len()
}

fn end_of_string(text: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < text.len() && text[i] != '"' {
        i += if text[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(text.len())
}

/// Whether the `#`s from here end in a quotation mark, as those of a raw string do.
fn raw_opens(text: &[char], from: usize) -> bool {
    text[from..].iter().find(|&&c| c != '#') == Some(&'"')
}

fn end_of_raw(text: &[char], from: usize) -> usize {
    let hashes = text[from..].iter().take_while(|&&c| c == '#').count();
    let closes = |i: usize| text[i] == '"' && text[i + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    let start = from + hashes + 1;
    (start..text.len()).find(|&i| closes(i)).map_or(text.len(), |i| i + 1 + hashes)
}

/// The end of a character literal or of a lifetime.
fn end_of_quote(text: &[char], from: usize) -> usize {
    if text.get(from + 1) == Some(&'\\') {
        let close = (from + 3..text.len()).find(|&i| text[i] == '\'');
        return close.map_or(text.len(), |i| i + 1);
    }
    if text.get(from + 2) == Some(&'\'') {
        return from + 3;
    }
    end_of_word(text, from + 1).max(from + 1)
}

/// Leaves out every item, field or statement that stands under `#[cfg(test)]`.
fn without_tests(all: &[Token]) -> Vec<Token> {
    let (mut i, mut out) = (0, Vec::new());
    while i < all.len() {
        match attribute(all, i) {
            Some(end) if is_of_tests(&all[i..end]) => i = end_of_item(all, end),
            Some(end) => {
                out.extend_from_slice(&all[i..end]);
                i = end;
            }
            None => {
                out.push(all[i].clone());
                i += 1;
            }
        }
    }
    out
}

/// The end of the attribute that begins here, if one does.
pub(crate) fn attribute(all: &[Token], from: usize) -> Option<usize> {
    let is = |i: usize, mark: char| all.get(i).is_some_and(|t| t.is(mark));
    match is(from, '#') {
        true if is(from + 1, '[') => Some(matching(all, from + 1)),
        true if is(from + 1, '!') && is(from + 2, '[') => Some(matching(all, from + 2)),
        _ => None,
    }
}

fn is_of_tests(attribute: &[Token]) -> bool {
    let has = |name: &str| attribute.iter().any(|t| t.name() == Some(name));
    has("cfg") && has("test") && !has("not") && !has("any")
}

/// The place behind the bracket that closes the one here.
pub(crate) fn matching(all: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (i, token) in all.iter().enumerate().skip(from) {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    all.len()
}

/// The place behind the item that begins here, attributes and visibility included. A field ends with its comma.
pub(crate) fn end_of_item(all: &[Token], from: usize) -> usize {
    let mut i = from;
    while let Some(end) = attribute(all, i) {
        i = end;
    }
    let keyword =
        all[i..].iter().filter_map(Token::name).find(|&name| !["pub", "crate", "super", "in"].contains(&name)).unwrap_or_default();
    let is_value = ["use", "const", "static", "type", "let"].contains(&keyword) && !is_const_fn(&all[i..]);
    let has_body =
        ["fn", "mod", "impl", "struct", "enum", "trait", "union", "unsafe", "async", "extern", "const", "macro_rules"].contains(&keyword);
    while i < all.len() {
        match &all[i] {
            Token::Mark(';') => return i + 1,
            Token::Mark(',') if !is_value && !has_body => return i + 1,
            Token::Mark('}' | ')' | ']') => return i,
            Token::Mark('{') if !is_value => return matching(all, i),
            Token::Mark('(' | '[' | '{') => i = matching(all, i),
            _ => i += 1,
        }
    }
    all.len()
}

fn is_const_fn(item: &[Token]) -> bool {
    let mut names = item.iter().filter_map(Token::name).skip_while(|&name| name != "const").skip(1);
    matches!(names.next(), Some("fn" | "unsafe" | "extern" | "async"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Vec<String> {
        tokens(source).iter().filter_map(|t| t.name().map(String::from)).collect()
    }

    #[test]
    fn comments_strings_and_lifetimes_name_nothing() {
        let source = "a /* b /* c */ d */ \"e\\\" f\" r#\"g \" h\"# 'i' '\\'' b\"j\" &'static k // l\n 1.5f32 r#m";
        assert_eq!(names(source), ["a", "k", "m"]);
    }

    #[test]
    fn what_tests_compile_is_left_out_whole() {
        let source = "#[cfg(test)] mod t; a #[cfg(test)] #[allow(x)] pub(crate) fn f(x: [u8; 3]) -> Y { z; w } b \
                      #[cfg(test)] use p::{q, r}; c #[cfg(test)] const N: P = P { v: 1 }; d \
                      struct S { #[cfg(test)] e: E, f: F } #[cfg(not(test))] g";
        let found = names(source);
        assert_eq!(found, ["a", "b", "c", "d", "struct", "S", "f", "F", "cfg", "not", "test", "g"]);
    }
}
