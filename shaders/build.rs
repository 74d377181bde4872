//! Expands, parses, validates and reflects every variant in `permutations` into the table that `src/lib.rs` includes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use naga::valid::Capabilities;

#[path = "build/permutations.rs"]
mod permutations;
#[path = "build/preprocess.rs"]
mod preprocess;
#[path = "build/reflect.rs"]
mod reflect;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for input in ["permutations", "wgsl", "build", "build.rs"] {
        println!("cargo::rerun-if-changed={input}");
    }
    match table() {
        Ok(table) => std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("kernels.rs"), table)?,
        Err(why) => {
            for line in why.lines() {
                println!("cargo::error={line}");
            }
        }
    }
    Ok(())
}

/// The lines of all kernels, each once: variants differ in few of them, and whole they would be a third of a small program.
#[derive(Default)]
struct Lines {
    texts: Vec<String>,
    known: HashMap<String, u16>,
}

impl Lines {
    /// The number of the line `text`.
    fn number(&mut self, text: &str) -> Result<u16, String> {
        if let Some(&number) = self.known.get(text) {
            return Ok(number);
        }
        let number = u16::try_from(self.texts.len()).map_err(|_| "the kernels have more lines than 16 bits can number")?;
        self.texts.push(text.into());
        self.known.insert(text.into(), number);
        Ok(number)
    }
}

/// The generated source: `pub static KERNELS: &[Kernel]` and `static LINES: &[&str]`.
fn table() -> Result<String, String> {
    let mut all_lines = Lines::default();
    let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    let mut out = String::from("/// Every variant of every kernel, in the order of `permutations`.\npub static KERNELS: &[Kernel] = &[\n");
    for p in permutations::parse(&read("permutations")?)? {
        let file = &p.file;
        let shared = |name: &str| std::fs::read_to_string(format!("wgsl/shared/{name}.wgsl")).ok();
        let original = read(&format!("wgsl/{file}"))?;
        let expand = |defines: &preprocess::Defines| {
            preprocess::expand(file, &original, defines, &shared).map_err(|e| format!("wgsl/{e} (variant '{}')", p.name))
        };
        let lines = expand(&p.defines)?;
        let text = |lines: &[preprocess::Line]| lines.iter().fold(String::new(), |text, l| text + &l.text + "\n");
        let source = text(&lines);
        let subgroups = if p.is_defined("LANES") { Capabilities::SUBGROUP } else { Capabilities::empty() };
        let r = reflect::reflect(&p.name, &lines, &source, subgroups)?;
        // The same kernel over weights in f16: valid too, and kept as the lines that differ.
        let halved = expand(&[&p.defines[..], &[("HALF".into(), 1)]].concat())?;
        let capabilities = subgroups | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        reflect::reflect(&format!("{}, f16", p.name), &halved, &text(&halved), capabilities)?;
        let half: Vec<(&str, &str)> =
            lines.iter().zip(&halved).filter(|(a, b)| a.text != b.text).map(|(a, b)| (a.text.as_str(), b.text.as_str())).collect();
        let numbers: Vec<u16> = lines.iter().map(|l| all_lines.number(&l.text)).collect::<Result<_, _>>()?;
        let weights: Vec<&str> = original.lines().filter_map(|l| l.strip_prefix("#weights ")?.split_whitespace().nth(1)).collect();
        let weights = weights.join(", ");
        let defines: Vec<(&str, u32)> = p.defines.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        let bindings = r.bindings.iter().fold(String::new(), |text, b| {
            text + &format!(
                "Binding {{ group: {}, index: {}, kind: BindingKind::{}, min_size: {} }}, ",
                b.group, b.index, b.kind, b.min_size
            )
        });
        writeln!(
            out,
            "Kernel {{ name: {:?}, kernel: {:?}, lines: &{numbers:?}, entry: \"main\", workgroup_size: {:?}, workgroup_bytes: {}, bindings: &[{bindings}], defines: &{defines:?}, weights: &[{weights}], half: &{half:?}, hash: {:#x} }},",
            p.name,
            p.kernel,
            r.workgroup_size,
            r.workgroup_bytes,
            fnv1a(format!("{source}{half:?}").as_bytes()),
        )
        .map_err(|e| e.to_string())?;
    }
    out.push_str("];\n");
    writeln!(out, "/// Every line of their sources.\nstatic LINES: &[&str] = &{:?};", all_lines.texts).map_err(|e| e.to_string())?;
    Ok(out)
}

/// FNV-1a, 64 bits: stable between compilers, which the standard library's hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}
