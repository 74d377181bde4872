//! The shapes that layers with rules of their own give.

use super::inputs::{channelled, check_activation, exactly, image};
use super::weights::{axes, expect, expect_bias, linear_weight};
use super::windows::{check_occupied, moved, narrow};
use crate::artifact::{Activation, Model, PoolKind, Recurrent, TensorId, Weight, Window};

/// What must hold for the groups of a convolution.
pub(super) fn check_groups(groups: u32, channels: u32, outputs: u32, weight: &Weight) -> Result<(), String> {
    if groups == 0 || !channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
        return Err(format!("{groups} groups do not divide {channels} input and {outputs} output channels"));
    }
    if groups > 1 && !matches!(weight, Weight::Dense(_)) {
        return Err(format!("has {groups} groups, and only dense weights may have more than one"));
    }
    Ok(())
}

/// What must hold for what a normalisation adds to a variance.
pub(super) fn check_eps(eps: f32) -> Result<(), String> {
    if eps.is_finite() && eps >= 0.0 { Ok(()) } else { Err(format!("adds {eps} to its variance")) }
}

pub(super) fn pool(kind: PoolKind, window: &Window, inputs: &[&Vec<usize>]) -> Result<Vec<u32>, String> {
    let [input] = exactly("a pool", inputs)?;
    let [channels, height, width] = image(input)?;
    let shape = moved(window, height, width)?;
    if kind != PoolKind::Max && window.dilation != [1, 1] {
        return Err(format!("an average pool has no dilation, this one has {:?}", window.dilation));
    }
    for (axis, len) in [height, width].into_iter().enumerate() {
        check_occupied(window, axis, len, shape[axis])?;
    }
    Ok(vec![channels, shape[0], shape[1]])
}

pub(super) fn concatenation(activation: Activation, inputs: &[&Vec<usize>]) -> Result<Vec<u32>, String> {
    let [first, second] = exactly("a concatenation", inputs)?;
    let (mut shape, second) = (channelled(first)?, channelled(second)?);
    check_activation(activation)?;
    if shape.len() != second.len() || shape[1..] != second[1..] {
        return Err(format!("channels of {shape:?} and {second:?} cannot stand side by side"));
    }
    shape[0] = shape[0].checked_add(second[0]).ok_or("has too many channels")?;
    Ok(shape)
}

pub(super) fn product(activation: Activation, inputs: &[&Vec<usize>]) -> Result<Vec<u32>, String> {
    let [first, second] = exactly("a product", inputs)?;
    let (shape, second) = (channelled(first)?, channelled(second)?);
    check_activation(activation)?;
    if shape != second && second != shape[..1] {
        return Err(format!("cannot multiply values of {shape:?} and {second:?}"));
    }
    Ok(shape)
}

/// The shape of what attention gives: that of its queries.
pub(super) fn attention(inputs: &[&Vec<usize>], heads: u32, scale: f32) -> Result<Vec<u32>, String> {
    let (queries, inner) = match inputs {
        [all] => {
            let [channels, height, width] = image(all)?;
            if channels % 3 != 0 {
                return Err(format!("{channels} channels are no queries, keys and values"));
            }
            ([channels / 3, height, width], channels / 3)
        }
        [queries, keys, values] => {
            let (queries, keys, values) = (image(queries)?, image(keys)?, image(values)?);
            if keys != values || queries[0] != keys[0] {
                return Err(format!("queries of {queries:?}, keys of {keys:?} and values of {values:?} do not fit"));
            }
            (queries, queries[0])
        }
        _ => return Err(format!("attention reads 1 or 3 values, not {}", inputs.len())),
    };
    if heads == 0 || inner % heads != 0 {
        return Err(format!("{heads} heads do not divide {inner} channels"));
    }
    if !scale.is_finite() {
        return Err(format!("multiplies its products by {scale}"));
    }
    Ok(queries.to_vec())
}

pub(super) fn embedding(model: &Model, table: TensorId, inputs: &[&Vec<usize>]) -> Result<Vec<u32>, String> {
    let [input] = exactly("an embedding", inputs)?;
    let [channels, height, width] = image(input)?;
    let [rows, tokens] = axes(model, table, "table")?;
    let pixels = u64::from(height) * u64::from(width);
    if rows != channels || u64::from(tokens) < pixels {
        return Err(format!("its table of {rows} channels for {tokens} tokens does not fit {input:?}"));
    }
    Ok(if u64::from(tokens) == pixels { vec![channels, height, width] } else { vec![channels, tokens, 1] })
}

pub(super) fn recurrent(model: &Model, layer: &Recurrent, inputs: &[&Vec<usize>]) -> Result<Vec<u32>, String> {
    let (outputs, hidden) = linear_weight(model, &layer.weight)?;
    let shapes: Vec<&[usize]> = inputs.iter().map(|i| i.as_slice()).collect();
    let shape = layer.output_shape(&shapes, [outputs as usize, hidden as usize])?;
    expect_bias(model, layer.bias, outputs)?;
    layer.peepholes.map_or(Ok(()), |id| expect(model, id, &[hidden.saturating_mul(3)], "peepholes"))?;
    layer.activations.iter().try_for_each(|a| check_activation(*a))?;
    narrow(&shape)
}
