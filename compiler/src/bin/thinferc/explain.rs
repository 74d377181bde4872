//! Tables of what was decided for each layer, and why.

use thinfer::tools::print;
use thinfer::tools::table::{Table, count};
use thinfer_compiler::Result;
use thinfer_compiler::import::Rewrite;
use thinfer_compiler::job::{Compiled, LayerReport, Times};

/// Nodes that a rewrite is shown with.
const SHOWN: usize = 4;

/// Prints what made the layers of the nodes of an imported file, and what became of each layer.
pub(crate) fn layers(compiled: &Compiled) -> Result<()> {
    if let Some(rewrites) = &compiled.rewrites {
        print::line(rewritten(rewrites))?;
    }
    Ok(print::line(decided(&compiled.layers))?)
}

fn rewritten(rewrites: &[Rewrite]) -> Table {
    let mut table = Table::new(["rewritten", "times", "nodes"]);
    for Rewrite { rule, nodes } in rewrites {
        let more = if nodes.len() > SHOWN { format!(" and {} more", nodes.len() - SHOWN) } else { String::new() };
        let shown = nodes[..nodes.len().min(SHOWN)].join(", ");
        table.row([rule.to_string(), nodes.len().to_string(), format!("{shown}{more}")]);
    }
    table
}

fn decided(layers: &[LayerReport]) -> Table {
    let mut table = Table::new(["layer", "out × in", "scheme", "full rank", "chosen", "energy lost", "MACs", "of dense", "written as"]);
    let or_dash = |s: Option<String>| s.unwrap_or_else(|| "-".into());
    for l in layers {
        table.row([
            l.name.clone(),
            format!("{} × {}", l.outputs, l.inputs),
            or_dash(l.cut.map(|(scheme, _)| scheme.to_string())),
            or_dash(l.full_rank.map(|rank| rank.to_string())),
            or_dash(l.cut.map(|(_, rank)| rank.to_string())),
            or_dash(l.lost.map(|lost| format!("{:.3} %", 100.0 * lost))),
            count(l.macs),
            count(l.dense_macs),
            l.written.to_string(),
        ]);
    }
    table
}

/// For each layer with a weight the candidates that nothing beats in both time and error, and why the chosen one won.
pub(crate) fn times(times: &Times) -> Table {
    let mut table = Table::new(["layer", "candidate", "run as", "energy lost", "predicted µs", "measured µs", "why"]);
    for layer in &times.layers {
        let measured = times.measured.as_ref().and_then(|m| m.layers.as_ref()?.get(layer.at));
        for (i, c) in layer.candidates.iter().enumerate() {
            let is_won = i == layer.chosen;
            table.row([
                if i == 0 { format!("{}, {} timed", layer.name, layer.timed) } else { String::new() },
                layer.label(c.cut),
                c.form.clone(),
                format!("{:.3} %", 100.0 * c.error),
                format!("{:.1}", c.us),
                measured.filter(|_| is_won).map_or("-".into(), |ms| format!("{:.1}", 1e3 * ms)),
                if is_won { layer.why() } else { String::new() },
            ]);
        }
    }
    table
}
