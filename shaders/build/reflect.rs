//! What naga says of a variant: whether it is valid, and what a host must know to bind and launch it.

use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, ImageClass, StorageAccess, TypeInner};

use crate::preprocess::Line;

/// A binding, as the generated table spells it.
pub(crate) struct Binding {
    pub(crate) group: u32,
    pub(crate) index: u32,
    pub(crate) kind: &'static str,
    pub(crate) min_size: u32,
}

/// What the table holds of a variant beyond its text.
pub(crate) struct Reflection {
    pub(crate) workgroup_size: [u32; 3],
    pub(crate) workgroup_bytes: u32,
    pub(crate) bindings: Vec<Binding>,
}

/// Parses, validates and reflects an expanded variant; the error names the source line.
pub(crate) fn reflect(variant: &str, lines: &[Line], source: &str, beyond: Capabilities) -> Result<Reflection, String> {
    let place = |line: Option<u32>| match line.and_then(|l| lines.get((l as usize).saturating_sub(1))) {
        Some(l) => format!("wgsl/{}:{}: variant '{variant}'", l.file, l.number),
        None => format!("variant '{variant}'"),
    };
    let module = naga::front::wgsl::parse_str(source)
        .map_err(|e| format!("{}: {e}\n{}", place(e.location(source).map(|l| l.line_number)), e.emit_to_string(source)))?;
    // No capability beyond core WebGPU but those that hosts know they must ask for, so that what passes here runs on every
    // adapter.
    let mut validator = Validator::new(ValidationFlags::all(), beyond);
    if beyond.contains(Capabilities::SUBGROUP) {
        validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    }
    validator
        .validate(&module)
        .map_err(|e| format!("{}: {}", place(e.location(source).map(|l| l.line_number)), e.emit_to_string(source)))?;

    let [entry] = &module.entry_points[..] else { return Err(format!("{}: must have exactly one entry point", place(None))) };
    if entry.name != "main" {
        return Err(format!("{}: the entry point must be called main", place(None)));
    }
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|e| format!("{}: {e}", place(None)))?;
    let (mut workgroup_bytes, mut bindings) = (0, Vec::new());
    for (_, global) in module.global_variables.iter() {
        // A runtime-sized array counts as one element here: the least that can be bound.
        let mut size = layouter[global.ty].size;
        let kind = match global.space {
            AddressSpace::WorkGroup => {
                workgroup_bytes += size.next_multiple_of(16);
                continue;
            }
            AddressSpace::Uniform => "Uniform",
            AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => "ReadWrite",
            AddressSpace::Storage { .. } => "ReadOnly",
            AddressSpace::Handle => {
                let TypeInner::Image { class: ImageClass::Storage { access, .. }, .. } = module.types[global.ty].inner else { continue };
                size = 0;
                if access.contains(StorageAccess::STORE) { "WriteTexture" } else { "ReadTexture" }
            }
            _ => continue,
        };
        let Some(at) = &global.binding else { return Err(format!("{}: a resource without a binding", place(None))) };
        bindings.push(Binding { group: at.group, index: at.binding, kind, min_size: size });
    }
    bindings.sort_by_key(|b| (b.group, b.index));
    Ok(Reflection { workgroup_size: entry.workgroup_size, workgroup_bytes, bindings })
}
