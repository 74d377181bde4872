//! The workspace of a step: index tables, and scratch for each thread.

use super::conv::GATHER_BELOW;
use super::product::PAIR_BLOCK;
use super::{attention, map, matmul, recurrent, threads};
use crate::artifact::Window;
use crate::plan::{Step, StepKind};

/// Bytes of the workspace that `step` keeps between runs of up to `batch` samples; weights are not counted.
pub(crate) fn workspace_bytes(step: &Step, batch: usize) -> u64 {
    let threads = threads::count() as u64;
    let product = |sizes: &[usize]| sizes.iter().fold(1u64, |n, &s| n.saturating_mul(s as u64));
    // Where each output finds each tap, rows and columns apart.
    let taps = |window: &Window| {
        let axis = |outputs: usize, axis: usize| product(&[size_of::<isize>(), outputs, window.kernel[axis] as usize]);
        axis(step.output.height, 0).saturating_add(axis(step.output.width, 1))
    };
    let scratch = |rank: usize, width: usize| threads.saturating_mul(product(&[4, PAIR_BLOCK, rank.saturating_add(width)]));
    match &step.kind {
        StepKind::Linear(l) => scratch(if l.second.is_some() { l.rank } else { 0 }, 0),
        StepKind::Conv(c) => {
            let rank = if c.second.is_some() { c.rank } else { 0 };
            let count = c.window.kernel[0] as usize * c.window.kernel[1] as usize;
            let gathered = !c.is_pointwise() && c.groups == 1 && c.inputs < GATHER_BELOW;
            let width = if gathered { count.saturating_mul(step.input().channel_stride()) } else { 0 };
            scratch(rank, width).saturating_add(if c.is_pointwise() { 0 } else { taps(&c.window) })
        }
        StepKind::Pool(p) => taps(&p.window),
        StepKind::Rearrange(_) | StepKind::Move => product(&[4, step.output.stride()]),
        StepKind::Attention(a) => {
            let keys = step.inputs.get(1).copied().unwrap_or(step.input());
            attention::workspace_bytes(a, keys.pixels(), batch).saturating_add(threads.saturating_mul(attention::scratch_bytes(a)))
        }
        StepKind::Recurrent(r) => {
            let rank = if r.second.is_some() { r.rank } else { 0 };
            scratch(rank, 0).saturating_add(recurrent::workspace_bytes(r, batch))
        }
        StepKind::MatMul(m) => matmul::workspace_bytes(m, batch),
        // A register for each instruction, at most.
        StepKind::Map(m) => threads.saturating_mul(product(&[4, map::BLOCK, m.instructions.len()])),
        StepKind::Pick(p) => p.tables.iter().fold(0, |n: u64, table| n.saturating_add(product(&[8, table.len()]))),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use crate::artifact::{Artifact, Layer, Op, PoolKind, Window};
    use crate::tools::bench::{LayerSpec, layer_artifact};
    use crate::{Device, Error, Forms, Options, Session};

    fn needs(artifact: &Artifact) -> u64 {
        let options = Options { forms: Forms::Ruled, cache: None, memory: Some(1), ..Options::default() };
        match Session::new(&Device::cpu(), artifact, &options) {
            Err(Error::Limit { needs, .. }) => needs,
            other => panic!("no limit: {other:?}"),
        }
    }

    #[test]
    fn tables_of_vast_windows_count() {
        // 2²⁰ rows of outputs, 4096 taps each.
        let window = Window { kernel: [4096, 1], stride: [1, 1], padding: [2048, 0, 2047, 0], dilation: [1, 1] };
        let pool = Layer { name: "pool".into(), inputs: vec![0], op: Op::Pool { kind: PoolKind::Max, window } };
        let model = crate::artifact::Model::new("pool", &[1, 1 << 20, 1], vec![pool]);
        let artifact = Artifact::build(model, Vec::new()).unwrap();
        assert!(needs(&artifact) > 30 << 30, "{}", needs(&artifact));
    }

    #[test]
    fn gathered_windows_count_for_every_thread() {
        let wide = layer_artifact("conv:31x31,1,8,64x64".parse::<LayerSpec>().unwrap(), None).unwrap();
        // Weights of 31 KB and values of 140 KB; a thread's windows are 48 rows of 961 pixels of 4 channels.
        assert!(needs(&wide) > (super::threads::count() * 48 * 961 * 16) as u64);
    }
}
