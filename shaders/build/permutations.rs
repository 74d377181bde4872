//! The list of variants: one line each, `KERNEL VARIANT NAME=NUMBER …`; `//` starts a comment.

/// One variant of a kernel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Permutation {
    /// The file, `wgsl/KERNEL.wgsl`.
    pub(crate) kernel: String,
    /// The variant's own name.
    pub(crate) name: String,
    pub(crate) defines: Vec<(String, u32)>,
}

/// Reads the list; the error names the line.
pub(crate) fn parse(text: &str) -> Result<Vec<Permutation>, String> {
    let mut all: Vec<Permutation> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(kernel) = words.next() else { continue };
        let Some(name) = words.next() else { return Err(format!("permutations:{}: '{kernel}' has no variant name", i + 1)) };
        if all.iter().any(|p| p.name == name) {
            return Err(format!("permutations:{}: a second '{name}'", i + 1));
        }
        let defines = words
            .map(|w| {
                let (name, value) = w.split_once('=')?;
                Some((name.to_string(), value.parse().ok()?))
            })
            .collect::<Option<_>>()
            .ok_or_else(|| format!("permutations:{}: constants look like NAME=NUMBER", i + 1))?;
        all.push(Permutation { kernel: kernel.into(), name: name.into(), defines });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_variant() {
        let all = parse("// tiles\n\nk k_2 TM=2 WG=64 // small\n").unwrap();
        assert_eq!(all, [Permutation { kernel: "k".into(), name: "k_2".into(), defines: vec![("TM".into(), 2), ("WG".into(), 64)] }]);
    }

    #[test]
    fn mistakes_name_their_line() {
        for text in ["\nk", "\nk v TM", "\nk v TM=x", "k v\nk v"] {
            assert!(parse(text).unwrap_err().starts_with("permutations:2:"), "{text}");
        }
    }
}
