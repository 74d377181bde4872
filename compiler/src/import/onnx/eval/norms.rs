//! Normalisations.

use super::super::array::Array;
use super::super::elem::Type;
use super::super::sizes::{axis, broadcast};
use super::given::{Given, Outcome, one};
use super::places::{around, broadcast_offsets};
use super::reduce::groups;

pub(super) fn evaluate(given: &Given) -> Outcome {
    one(match given.op() {
        "Softmax" | "LogSoftmax" | "Hardmax" => softmax(given),
        "LayerNormalization" | "RMSNormalization" => return Some(layer_norm(given)),
        "BatchNormalization" => batch_norm(given),
        "InstanceNormalization" => instance_norm(given),
        "GroupNormalization" => group_norm(given),
        "LpNormalization" => lp_norm(given),
        "MeanVarianceNormalization" => mean_variance(given),
        "LRN" => local_response(given),
        _ => return None,
    })
}

/// `x` with every group of elements that differ only in the axes `over` changed by `f`.
fn changed(given: &Given, x: &Array, over: &[usize], f: impl Fn(&mut [f64])) -> Result<Array, String> {
    given.float_type(0)?;
    given.spend(x.len().saturating_mul(4))?;
    let (starts, offsets) = groups(&x.shape, over);
    let mut values = x.to_doubles();
    let mut group = vec![0.0; offsets.len()];
    for start in starts {
        offsets.iter().zip(&mut group).for_each(|(o, g)| *g = values[start + o]);
        f(&mut group);
        offsets.iter().zip(&group).for_each(|(o, g)| values[start + o] = *g);
    }
    Ok(Array::floats_of(x.ty(), x.shape.clone(), values))
}

fn softmax(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let rank = x.shape.len();
    // Before operator set 13 over all axes from the one named.
    let old = given.opset() < 13;
    let named = given.node.int("axis", if old { 1 } else { -1 });
    let at = if old && named == rank as i64 { rank } else { axis(named, rank)? };
    let over: Vec<usize> = if old { (at..rank).collect() } else { vec![at] };
    let op = given.op();
    changed(given, x, &over, |group| {
        let most = group.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if op == "Hardmax" {
            let best = group.iter().position(|v| *v == most);
            group.iter_mut().enumerate().for_each(|(i, v)| *v = f64::from(u8::from(Some(i) == best)));
            return;
        }
        let sum: f64 = group.iter().map(|v| (v - most).exp()).sum();
        for v in group {
            *v = if op == "Softmax" { (*v - most).exp() / sum } else { *v - most - sum.ln() };
        }
    })
}

fn mean_of(group: &[f64]) -> f64 {
    group.iter().sum::<f64>() / group.len() as f64
}

/// Less its mean, by the root of its variance and `epsilon`.
fn standardised(group: &mut [f64], epsilon: f64) {
    let mean = mean_of(group);
    let variance = group.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / group.len() as f64;
    group.iter_mut().for_each(|v| *v = (*v - mean) / (variance + epsilon).sqrt());
}

/// `x` times `scale` plus `shift`, which broadcast to it after they were given the shape `channel_shape`.
fn affine(x: &Array, scale: &Array, shift: Option<&Array>, channel_shape: Option<&[usize]>) -> Result<Array, String> {
    let mut values = x.to_doubles();
    for (by, is_scale) in [(Some(scale), true), (shift, false)] {
        let Some(by) = by else { continue };
        let shape = channel_shape.unwrap_or(&by.shape);
        if shape.iter().product::<usize>() != by.len() || broadcast(&x.shape, shape)? != x.shape {
            return Err(format!("has a scale or shift of {:?} for {:?}", by.shape, x.shape));
        }
        let elements = by.to_doubles();
        for (v, p) in values.iter_mut().zip(broadcast_offsets(shape, &x.shape)) {
            *v = if is_scale { *v * elements[p] } else { *v + elements[p] };
        }
    }
    Ok(Array::floats_of(x.ty(), x.shape.clone(), values))
}

fn wide(x: &Array) -> Array {
    Array::floats_of(Type::F64, x.shape.clone(), x.to_doubles())
}

fn narrow(x: &Array, ty: Type) -> Array {
    Array::floats_of(ty, x.shape.clone(), x.to_doubles())
}

fn layer_norm(given: &Given) -> Result<Vec<Array>, String> {
    let (x, scale) = (given.input(0)?, given.input(1)?);
    let at = axis(given.node.int("axis", -1), x.shape.len())?;
    let over: Vec<usize> = (at..x.shape.len()).collect();
    let epsilon = f64::from(given.node.float("epsilon", 1e-5));
    let root = given.op() == "RMSNormalization";
    let stash = given.type_of("stash_type")?.unwrap_or(Type::F32);
    let normal = changed(given, &wide(x), &over, |group| {
        if root {
            let square = group.iter().map(|v| v * v).sum::<f64>() / group.len() as f64;
            group.iter_mut().for_each(|v| *v /= (square + epsilon).sqrt());
        } else {
            standardised(group, epsilon);
        }
    })?;
    let ty = given.float_type(0)?;
    let made = narrow(&affine(&normal, scale, given.optional(2), None)?, ty);
    if root || given.node.outputs.len() < 2 {
        return Ok(vec![made]);
    }
    let (starts, offsets) = groups(&x.shape, &over);
    let values = x.to_doubles();
    let shape: Vec<usize> = x.shape.iter().enumerate().map(|(a, &d)| if a < at { d } else { 1 }).collect();
    let group = |start: &usize| -> Vec<f64> { offsets.iter().map(|o| values[start + o]).collect() };
    let means: Vec<f64> = starts.iter().map(|s| mean_of(&group(s))).collect();
    let spread_of = |s: &usize, m: &f64| group(s).iter().map(|v| (v - m) * (v - m)).sum::<f64>() / offsets.len() as f64;
    let inverse = starts.iter().zip(&means).map(|(s, m)| 1.0 / (spread_of(s, m) + epsilon).sqrt()).collect();
    Ok(vec![made, Array::floats_of(stash, shape.clone(), means.clone()), Array::floats_of(stash, shape, inverse)])
}

/// [1, C, 1, …] for an input of [N, C, …].
fn channels(x: &Array) -> Result<Vec<usize>, String> {
    if x.shape.len() < 2 {
        return Err(format!("has an input of {:?}, where a batch and channels are needed", x.shape));
    }
    Ok(x.shape.iter().enumerate().map(|(a, &d)| if a == 1 { d } else { 1 }).collect())
}

fn batch_norm(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    if given.node.int("training_mode", 0) != 0 || given.node.outputs.iter().skip(1).any(|o| !o.is_empty()) {
        return Err("normalises by its own batch, as in training".into());
    }
    if given.node.int("spatial", 1) == 0 {
        return Err("has statistics for each element, which is not supported".into());
    }
    let ty = given.float_type(0)?;
    let channel_shape = if x.shape.len() == 1 { vec![1] } else { channels(x)? };
    let epsilon = f64::from(given.node.float("epsilon", 1e-5));
    let (scale, shift, mean, variance) = (given.input(1)?, given.input(2)?, given.input(3)?, given.input(4)?);
    if [scale, shift, mean, variance].iter().any(|a| a.len() != channel_shape.iter().product::<usize>()) {
        return Err(format!("has statistics of {:?} for {:?}", mean.shape, x.shape));
    }
    let factors = scale.to_doubles().iter().zip(variance.to_doubles()).map(|(s, v)| s / (v + epsilon).sqrt()).collect::<Vec<_>>();
    let shifts = shift.to_doubles().iter().zip(mean.to_doubles()).zip(&factors).map(|((b, m), f)| b - m * f).collect();
    let of = |v: Vec<f64>| Array::floats_of(Type::F64, vec![v.len()], v);
    Ok(narrow(&affine(&wide(x), &of(factors), Some(&of(shifts)), Some(&channel_shape))?, ty))
}

fn instance_norm(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let (ty, channel_shape) = (given.float_type(0)?, channels(x)?);
    let over: Vec<usize> = (2..x.shape.len()).collect();
    let epsilon = f64::from(given.node.float("epsilon", 1e-5));
    let normal = changed(given, &wide(x), &over, |group| standardised(group, epsilon))?;
    Ok(narrow(&affine(&normal, given.input(1)?, Some(given.input(2)?), Some(&channel_shape))?, ty))
}

fn group_norm(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let (ty, channel_shape) = (given.float_type(0)?, channels(x)?);
    let (batch, channels, pixels) = around(&x.shape, 1);
    let groups = usize::try_from(given.node.int("num_groups", 0)).ok().filter(|g| *g > 0 && channels % g == 0);
    let groups = groups.ok_or_else(|| format!("has {} groups of {channels} channels", given.node.int("num_groups", 0)))?;
    let epsilon = f64::from(given.node.float("epsilon", 1e-5));
    let apart = wide(x).reshaped(vec![batch, groups, channels / groups, pixels]);
    let normal = changed(given, &apart, &[2, 3], |group| standardised(group, epsilon))?;
    // Before operator set 21 there is one scale for a group.
    let each = if given.opset() < 21 { channels / groups } else { 1 };
    let of_channels = |a: &Array| {
        let places = (0..a.len()).flat_map(|g| std::iter::repeat_n(g, each));
        a.picked(vec![a.len() * each], places)
    };
    let (scale, shift) = (of_channels(given.input(1)?), of_channels(given.input(2)?));
    Ok(narrow(&affine(&normal.reshaped(x.shape.clone()), &scale, Some(&shift), Some(&channel_shape))?, ty))
}

fn lp_norm(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let at = axis(given.node.int("axis", -1), x.shape.len())?;
    let p = given.node.int("p", 2);
    if !(1..=2).contains(&p) {
        return Err(format!("has the norm of order {p}; 1 and 2 are known"));
    }
    changed(given, x, &[at], |group| {
        let norm = if p == 1 { group.iter().map(|v| v.abs()).sum::<f64>() } else { group.iter().map(|v| v * v).sum::<f64>().sqrt() };
        group.iter_mut().for_each(|v| *v = if norm == 0.0 { 0.0 } else { *v / norm });
    })
}

fn mean_variance(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let axes = given.node.ints("axes").unwrap_or(&[0, 2, 3]);
    let over = axes.iter().map(|&a| axis(a, x.shape.len())).collect::<Result<Vec<_>, _>>()?;
    changed(given, x, &over, |group| {
        let mean = mean_of(group);
        let deviation = (group.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / group.len() as f64).sqrt();
        // As ONNX's definition has it, behind the root.
        group.iter_mut().for_each(|v| *v = (*v - mean) / (deviation + 1e-9));
    })
}

fn local_response(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    channels(x)?;
    let size = usize::try_from(given.node.int("size", 0)).ok().filter(|s| *s > 0).ok_or("has no size")?;
    let number = |name: &str, default: f32| f64::from(given.node.float(name, default));
    let (alpha, beta, bias) = (number("alpha", 1e-4), number("beta", 0.75), number("bias", 1.0));
    let before = (size - 1) / 2;
    given.spend(x.len().saturating_mul(size.min(x.shape[1])))?;
    changed(given, x, &[1], |group| {
        let squares: Vec<f64> = group.iter().map(|v| v * v).collect();
        for (i, v) in group.iter_mut().enumerate() {
            let window = &squares[i.saturating_sub(before)..(i + size - before).min(squares.len())];
            *v /= (bias + alpha / size as f64 * window.iter().sum::<f64>()).powf(beta);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::node::{Attribute, Node};
    use super::super::Folding;
    use super::super::tests::{floats, outputs_at, run};
    use super::*;
    use std::sync::Arc;

    fn near(made: &Array, wanted: &[f32]) {
        let made = made.to_floats();
        assert!(made.len() == wanted.len() && made.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= 1e-6), "{made:?}, not {wanted:?}");
    }

    #[test]
    fn a_softmax_goes_over_one_axis_or_as_of_old_over_the_rest() {
        let x = floats(&[1, 2, 2], &[0.0, 1.0, 2.0, 3.0]);
        near(&run("Softmax", &[], std::slice::from_ref(&x)).unwrap(), &[0.268_941_4, 0.731_058_6, 0.268_941_4, 0.731_058_6]);
        near(
            &outputs_at(11, "Softmax", &[], std::slice::from_ref(&x)).unwrap()[0],
            &[0.032_058_604, 0.087_144_32, 0.236_882_82, 0.643_914_3],
        );
        near(
            &run("LogSoftmax", &[("axis", Attribute::Int(1))], std::slice::from_ref(&x)).unwrap(),
            &[-2.126_928, -2.126_928, -0.126_928, -0.126_928],
        );
        near(&run("Hardmax", &[], &[floats(&[1, 3], &[2.0, 2.0, 1.0])]).unwrap(), &[1.0, 0.0, 0.0]);
        near(&run("Softmax", &[], &[floats(&[2], &[1000.0, -1000.0])]).unwrap(), &[1.0, 0.0]);
    }

    #[test]
    fn scales_and_shifts_come_behind() {
        let x = floats(&[1, 2, 2], &[0.0, 2.0, 1.0, 5.0]);
        let (scale, shift) = (floats(&[2], &[1.0, 2.0]), floats(&[2], &[0.5, -1.0]));
        let no_epsilon = ("epsilon", Attribute::Float(0.0));
        near(
            &run("LayerNormalization", std::slice::from_ref(&no_epsilon), &[x.clone(), scale.clone(), shift.clone()]).unwrap(),
            &[-0.5, 1.0, -0.5, 1.0],
        );
        let instance = run("InstanceNormalization", std::slice::from_ref(&no_epsilon), &[x.clone(), scale.clone(), shift.clone()]).unwrap();
        near(&instance, &[-0.5, 1.5, -3.0, 1.0]);
        let root = run("RMSNormalization", std::slice::from_ref(&no_epsilon), &[x.clone(), scale.clone()]).unwrap();
        near(&root, &[0.0, 2.0 * 2f32.sqrt(), 1.0 / 13f32.sqrt(), 10.0 / 13f32.sqrt()]);
        let statistics = [floats(&[2], &[1.0, 3.0]), floats(&[2], &[4.0, 1.0])];
        let batch = [&[x.clone(), scale.clone(), shift.clone()], &statistics[..]].concat();
        near(&run("BatchNormalization", std::slice::from_ref(&no_epsilon), &batch).unwrap(), &[0.0, 1.0, -5.0, 3.0]);
        let groups = [no_epsilon.clone(), ("num_groups", Attribute::Int(2))];
        near(&run("GroupNormalization", &groups, &[x.clone(), scale.clone(), shift.clone()]).unwrap(), &[-0.5, 1.5, -3.0, 1.0]);
        let one = [no_epsilon, ("num_groups", Attribute::Int(1))];
        let old = outputs_at(18, "GroupNormalization", &one, &[x.clone(), floats(&[1], &[1.0]), floats(&[1], &[0.0])]).unwrap();
        near(&old[0], &[-1.069_045, 0.0, -0.534_522_5, 1.603_567_5]);
        assert!(run("LayerNormalization", &[], &[x, floats(&[3], &[0.0; 3])]).is_err());
    }

    #[test]
    fn training_is_refused() {
        let mut node = Node::new("BatchNormalization", "n", &[], "y");
        node.outputs.push("mean".into());
        let inputs: Vec<_> = (0..5).map(|_| Some(Arc::new(floats(&[1], &[1.0])))).collect();
        assert!(Folding::new(7, 0).evaluate(&node, &inputs).unwrap().unwrap_err().contains("training"));
    }

    #[test]
    fn norms_of_vectors() {
        let x = floats(&[1, 2], &[3.0, -4.0]);
        near(&run("LpNormalization", &[], std::slice::from_ref(&x)).unwrap(), &[0.6, -0.8]);
        near(&run("LpNormalization", &[("p", Attribute::Int(1))], &[x]).unwrap(), &[3.0 / 7.0, -4.0 / 7.0]);
        let image = floats(&[1, 1, 1, 2], &[1.0, 3.0]);
        near(&run("MeanVarianceNormalization", &[], std::slice::from_ref(&image)).unwrap(), &[-1.0, 1.0]);
        let lrn = [("size", Attribute::Int(1)), ("alpha", Attribute::Float(1.0)), ("beta", Attribute::Float(1.0))];
        near(&run("LRN", &lrn, &[image]).unwrap(), &[0.5, 0.3]);
    }
}
