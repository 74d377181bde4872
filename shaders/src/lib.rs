//! The WGSL kernels of thinfer. Every variant that `permutations` lists is expanded, validated and reflected when this
//! crate is built, so that a host binds and launches kernels by what they declare, and a kernel that does not validate
//! does not build.

#[cfg(test)]
#[path = "../build/permutations.rs"]
mod permutations;
#[cfg(test)]
#[path = "../build/preprocess.rs"]
mod preprocess;

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// One variant of a kernel.
#[derive(Debug)]
pub struct Kernel {
    /// The variant's name (`linear_8x2`).
    pub name: &'static str,
    /// The kernel that it is a variant of (`linear`).
    pub kernel: &'static str,
    /// The lines of the source, by their numbers in `LINES`.
    lines: &'static [u16],
    /// The entry point.
    pub entry: &'static str,
    /// Invocations of a workgroup.
    pub workgroup_size: [u32; 3],
    /// Bytes of workgroup memory. wgpu does not report a kernel that uses more than the device has: hosts must.
    pub workgroup_bytes: u32,
    /// Resources, by group and index.
    pub bindings: &'static [Binding],
    /// The constants it was expanded with.
    pub defines: &'static [(&'static str, u32)],
    /// The bindings that hold weights, which may be f16.
    pub weights: &'static [u32],
    /// Lines of the source, and what stands in their place where weights are f16.
    pub half: &'static [(&'static str, &'static str)],
    /// Hash of the source: another hash, another kernel, so that stored timings can be dropped.
    pub hash: u64,
}

/// A resource that a kernel declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The bind group.
    pub group: u32,
    /// The index in the group.
    pub index: u32,
    /// What is bound.
    pub kind: BindingKind,
    /// The fewest bytes that may be bound; 0 for a texture.
    pub min_size: u32,
}

/// What a binding takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingKind {
    /// A uniform buffer.
    Uniform,
    /// A storage buffer that is only read.
    ReadOnly,
    /// A storage buffer that is written.
    ReadWrite,
    /// A storage texture of RGBA32F that is only read.
    ReadTexture,
    /// A storage texture of RGBA32F that is written.
    WriteTexture,
}

/// The line of the kernels of `map` in whose place a host puts the lines of an expression of `o0`, `o1`, …, which returns a vec4f.
pub const EXPRESSION: &str = "    return o0;";

impl Kernel {
    /// The constant `name` of this variant.
    pub fn define(&self, name: &str) -> Option<u32> {
        self.defines.iter().find(|(n, _)| *n == name).map(|&(_, value)| value)
    }

    /// Whether it takes values and weights as textures, not as buffers.
    pub fn textures(&self) -> bool {
        self.define("TEXTURES").is_some()
    }

    /// The lanes that a subgroup must have; `None` for a kernel that uses no subgroups.
    pub fn lanes(&self) -> Option<u32> {
        self.define("LANES")
    }

    /// WGSL, expanded.
    pub fn source(&self) -> String {
        self.lines.iter().flat_map(|&line| [LINES[line as usize], "\n"]).collect()
    }

    /// The source for weights in f16, four to 8 bytes or a texel of RGBA16F.
    pub fn half_source(&self) -> String {
        self.half.iter().fold(self.source(), |source, (full, half)| source.replacen(full, half, 1))
    }

    /// Invocations of a workgroup, all three axes together.
    pub fn invocations(&self) -> u32 {
        self.workgroup_size.iter().product()
    }
}

/// The variant called `name`.
pub fn kernel(name: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|k| k.name == name)
}

/// All variants of a kernel.
pub fn variants(kernel: &str) -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(move |k| k.kernel == kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sane() {
        assert!(!KERNELS.is_empty());
        for k in KERNELS {
            assert_eq!(kernel(k.name).map(|k| k.hash), Some(k.hash));
            assert!(KERNELS.iter().filter(|o| o.hash == k.hash).count() == 1, "{} is listed twice", k.name);
            assert!(k.bindings.iter().enumerate().all(|(i, b)| (b.group, b.index as usize) == (0, i)), "{}", k.name);
            let written = if k.textures() { BindingKind::WriteTexture } else { BindingKind::ReadWrite };
            assert_eq!(k.bindings.iter().filter(|b| b.kind == written).count(), 1, "{}", k.name);
            assert_eq!((k.define("WG"), k.define("NONE")), (Some(k.invocations()), None), "{}", k.name);
            // What every adapter grants; more is a choice that hosts check.
            assert!(k.invocations() <= 256 && k.workgroup_bytes <= 16 << 10, "{}", k.name);
        }
    }

    #[test]
    fn lines_make_the_source_that_was_validated() {
        let fnv1a = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        for k in KERNELS {
            let hashed = format!("{}{:?}", k.source(), k.half);
            assert_eq!(hashed.bytes().fold(0xcbf2_9ce4_8422_2325, fnv1a), k.hash, "{}", k.name);
        }
    }

    #[test]
    fn weights_may_be_halves() {
        for k in KERNELS {
            // The declaration, and of buffers how they are read.
            let lines = if k.textures() { 1 } else { 2 };
            assert_eq!(k.half.len(), lines * k.weights.len(), "{}", k.name);
            let (half, format) = (k.half_source(), if k.textures() { "rgba16float" } else { "array<vec2u>" });
            assert_eq!(half.matches(format).count(), k.weights.len(), "{}", k.name);
            assert!(k.half.iter().all(|(full, _)| k.source().matches(full).count() == 1), "{}", k.name);
        }
        assert_eq!(kernel("lanes_low_rank_2").map(|k| k.weights), Some(&[4, 5][..]));
    }

    #[test]
    fn maps_have_one_place_for_an_expression() {
        assert!(KERNELS.iter().all(|k| k.source().matches(EXPRESSION).count() == usize::from(k.kernel == "map")));
    }

    #[test]
    fn workgroup_memory_is_counted() {
        assert!(variants("linear").chain(variants("conv")).all(|k| k.workgroup_bytes == 0));
        for k in variants("low_rank").chain(variants("conv_low_rank")) {
            let d = |name| k.define(name).unwrap();
            assert_eq!(k.workgroup_bytes, d("KS") * d("TM") * d("R4") * 16, "{}", k.name);
        }
    }
}
