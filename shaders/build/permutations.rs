//! The list of variants: one line each, `KERNEL VARIANT NAME=NUMBER …`, where a kernel in a folder of its own is `FOLDER/KERNEL`; `//` starts a comment. `+textures` at the end of a
//! line adds a variant `VARIANT_t` with TEXTURES=1.

/// One variant of a kernel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Permutation {
    /// The file in `wgsl`.
    pub(crate) file: String,
    /// Its name without folder and ending.
    pub(crate) kernel: String,
    /// The variant's own name.
    pub(crate) name: String,
    pub(crate) defines: Vec<(String, u32)>,
}

impl Permutation {
    /// Whether the constant `name` is there and not 0.
    pub(crate) fn is_defined(&self, name: &str) -> bool {
        self.defines.iter().any(|(n, value)| n == name && *value != 0)
    }
}

/// Reads the list; the error names the line.
pub(crate) fn parse(text: &str) -> Result<Vec<Permutation>, String> {
    let mut all: Vec<Permutation> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(path) = words.next() else { continue };
        let (file, kernel) = (format!("{path}.wgsl"), path.rsplit('/').next().unwrap_or(path));
        let Some(name) = words.next() else { return Err(format!("permutations:{}: '{kernel}' has no variant name", i + 1)) };
        if all.iter().any(|p| p.name == name) {
            return Err(format!("permutations:{}: a second '{name}'", i + 1));
        }
        let (extra, words): (Vec<&str>, Vec<&str>) = words.partition(|w| *w == "+textures");
        let defines: Vec<(String, u32)> = words
            .into_iter()
            .map(|w| {
                let (name, value) = w.split_once('=')?;
                Some((name.to_string(), value.parse().ok()?))
            })
            .collect::<Option<_>>()
            .ok_or_else(|| format!("permutations:{}: constants look like NAME=NUMBER", i + 1))?;
        let textures = [&defines[..], &[("TEXTURES".into(), 1)]].concat();
        all.push(Permutation { file: file.clone(), kernel: kernel.into(), name: name.into(), defines });
        if !extra.is_empty() {
            all.push(Permutation { file, kernel: kernel.into(), name: format!("{name}_t"), defines: textures });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_variant() {
        let all = parse("// tiles\n\nfolder/k k_2 TM=2 WG=64 // small\n").unwrap();
        let defines = vec![("TM".into(), 2), ("WG".into(), 64)];
        assert_eq!(all, [Permutation { file: "folder/k.wgsl".into(), kernel: "k".into(), name: "k_2".into(), defines }]);
    }

    #[test]
    fn a_line_may_stand_for_two() {
        let all = parse("k k_2 +textures TM=2").unwrap();
        assert_eq!(all.iter().map(|p| (p.name.as_str(), p.is_defined("TEXTURES"))).collect::<Vec<_>>(), [("k_2", false), ("k_2_t", true)]);
        assert_eq!(all[1].defines[0], ("TM".to_string(), 2));
    }

    #[test]
    fn mistakes_name_their_line() {
        for text in ["\nk", "\nk v TM", "\nk v TM=x", "k v\nk v"] {
            assert!(parse(text).unwrap_err().starts_with("permutations:2:"), "{text}");
        }
    }
}
