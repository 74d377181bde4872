//! Validation of a layer's tensors: their shapes against each other and against the layer's sizes.

use crate::artifact::{Model, TensorId, TensorInfo, Weight};

/// Outputs and inputs of a fully connected weight, its tensors checked against each other.
pub(super) fn linear_weight(model: &Model, weight: &Weight) -> Result<(u32, u32), String> {
    match *weight {
        Weight::Dense(id) => {
            let [outputs, inputs] = axes(model, id, "weight")?;
            Ok((outputs, inputs))
        }
        Weight::LowRank { v, u, sigma, tail_energy } => {
            let ([rank, inputs], [u_rank, outputs]) = (axes(model, v, "factor V")?, axes(model, u, "factor U")?);
            if u_rank != rank || rank > inputs.min(outputs) {
                return Err(format!(
                    "factors V [{rank}, {inputs}] and Uᵀ [{u_rank}, {outputs}] make no weight of a rank up to {}",
                    inputs.min(outputs)
                ));
            }
            expect(model, sigma, &[rank], "singular values")?;
            check_tail(tail_energy)?;
            Ok((outputs, inputs))
        }
        Weight::Spatial { .. } | Weight::Tucker2 { .. } => Err("a fully connected weight is dense or low-rank".into()),
    }
}

/// The kernel's tensors are those of [outputs, inputs, kernel]; `inputs` are those of a group.
pub(super) fn conv_weight(model: &Model, weight: &Weight, outputs: u32, inputs: u32, [height, width]: [u32; 2]) -> Result<(), String> {
    let at_most = |what: &str, rank: u32, sizes: [u64; 2]| {
        let most = sizes[0].min(sizes[1]);
        if u64::from(rank) > most { Err(format!("{what} {rank} is above {most}, the most that its kernel can have")) } else { Ok(()) }
    };
    let product = |sizes: &[u32]| sizes.iter().fold(1u64, |n, &s| n.saturating_mul(s.into()));
    match *weight {
        Weight::Dense(id) => expect(model, id, &[outputs, inputs, height, width], "weight"),
        Weight::LowRank { v, u, sigma, tail_energy } => {
            let [rank, ..] = axes::<4>(model, v, "factor V")?;
            expect(model, v, &[rank, inputs, height, width], "factor V")?;
            expect(model, u, &[rank, outputs], "factor U")?;
            expect(model, sigma, &[rank], "singular values")?;
            at_most("rank", rank, [product(&[inputs, height, width]), outputs.into()])?;
            check_tail(tail_energy)
        }
        Weight::Spatial { v, u, sigma, tail_energy } => {
            let [rank, ..] = axes::<3>(model, v, "factor V")?;
            expect(model, v, &[rank, inputs, height], "factor V")?;
            expect(model, u, &[rank, outputs, width], "factor U")?;
            expect(model, sigma, &[rank], "singular values")?;
            at_most("rank", rank, [product(&[inputs, height]), product(&[outputs, width])])?;
            check_tail(tail_energy)
        }
        Weight::Tucker2 { a, core, b, tail_energy } => {
            let [rank_out, rank_in, ..] = axes::<4>(model, core, "Tucker core")?;
            expect(model, core, &[rank_out, rank_in, height, width], "Tucker core")?;
            expect(model, a, &[rank_in, inputs], "Tucker factor A")?;
            expect(model, b, &[rank_out, outputs], "Tucker factor B")?;
            at_most("input rank", rank_in, [inputs.into(), product(&[outputs, height, width])])?;
            at_most("output rank", rank_out, [outputs.into(), product(&[inputs, height, width])])?;
            check_tail(tail_energy)
        }
    }
}

fn check_tail(energy: f32) -> Result<(), String> {
    if energy.is_finite() && energy >= 0.0 { Ok(()) } else { Err(format!("tail energy {energy} is no energy")) }
}

fn tensor<'a>(model: &'a Model, id: TensorId, what: &str) -> Result<&'a TensorInfo, String> {
    model.tensors.get(id as usize).ok_or_else(|| format!("{what} is tensor {id}, the table has {}", model.tensors.len()))
}

pub(super) fn axes<const N: usize>(model: &Model, id: TensorId, what: &str) -> Result<[u32; N], String> {
    let shape = &tensor(model, id, what)?.shape;
    let count = ["no", "one", "two", "three", "four"][N.min(4)];
    shape[..].try_into().map_err(|_| format!("{what} has shape {shape:?}, not {count} axes"))
}

pub(super) fn expect_bias(model: &Model, bias: Option<TensorId>, outputs: u32) -> Result<(), String> {
    bias.map_or(Ok(()), |id| expect(model, id, &[outputs], "bias"))
}

pub(super) fn expect(model: &Model, id: TensorId, shape: &[u32], what: &str) -> Result<(), String> {
    let found = &tensor(model, id, what)?.shape;
    if found == shape { Ok(()) } else { Err(format!("{what} has shape {found:?} instead of {shape:?}")) }
}
