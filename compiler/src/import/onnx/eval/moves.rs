//! Operations that move elements whole: orders of axes, parts, repetitions and borders.

use super::super::array::Array;
use super::super::dims::{Ranges, dims, permutation};
use super::super::sizes::{axis, brief, broadcast};
use super::given::{Given, Outcome, one};
use super::places::{broadcast_offsets, strides, walk};

pub(super) fn evaluate(given: &Given) -> Outcome {
    one(match given.op() {
        "Transpose" => transpose(given),
        "Concat" => concat(given),
        "Slice" => given.input(0).and_then(|x| slice(x, &Ranges::of(given.node, given.inputs, &x.shape)?)),
        "Split" => return Some(split(given)),
        "Expand" => expand(given),
        "Tile" => tile(given),
        "Pad" => pad(given),
        "DepthToSpace" | "SpaceToDepth" => blocks(given),
        "Trilu" => trilu(given),
        "ReverseSequence" => reverse_sequence(given),
        "CenterCropPad" => center_crop_pad(given),
        _ => return None,
    })
}

fn permuted(x: &Array, order: &[usize]) -> Array {
    let from = strides(&x.shape);
    let shape: Vec<usize> = order.iter().map(|&i| x.shape[i]).collect();
    let steps: Vec<i64> = order.iter().map(|&i| from[i] as i64).collect();
    x.picked(shape.clone(), walk(&shape, &steps, 0))
}

fn transpose(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    Ok(permuted(x, &permutation(given.node, x.shape.len())?))
}

fn concat(given: &Given) -> Result<Array, String> {
    let parts = given.all()?;
    let rank = parts[0].shape.len();
    let at = axis(given.node.int("axis", 0), rank)?;
    let alike = |p: &&Array| p.shape.len() == rank && (0..rank).all(|i| i == at || p.shape[i] == parts[0].shape[i]);
    if let Some(other) = parts.iter().find(|p| !alike(p)) {
        return Err(format!("puts {:?} and {:?} together along axis {at}", parts[0].shape, other.shape));
    }
    let mut shape = parts[0].shape.clone();
    shape[at] = parts.iter().map(|p| p.shape[at]).sum();
    given.afford(&shape)?;
    let all = Array::chained(&parts)?;
    let outer: usize = shape[..at].iter().product();
    let mut blocks = Vec::with_capacity(parts.len());
    let mut start = 0;
    for part in &parts {
        let block: usize = part.shape[at..].iter().product();
        blocks.push((start, block));
        start += part.len();
    }
    let places = (0..outer).flat_map(|o| blocks.iter().flat_map(move |&(start, block)| start + o * block..start + (o + 1) * block));
    Ok(all.picked(shape, places))
}

pub(super) fn slice(x: &Array, ranges: &Ranges) -> Result<Array, String> {
    let from = strides(&x.shape);
    let shape: Vec<usize> = ranges.axes.iter().map(|r| r.1).collect();
    let start: usize = ranges.axes.iter().zip(&from).map(|(r, s)| r.0 * s).sum();
    let steps: Vec<i64> = ranges.axes.iter().zip(&from).map(|(r, s)| r.2.saturating_mul(*s as i64)).collect();
    if shape.contains(&0) {
        return Ok(x.picked(shape, std::iter::empty()));
    }
    Ok(x.picked(shape.clone(), walk(&shape, &steps, start as i64)))
}

fn split(given: &Given) -> Result<Vec<Array>, String> {
    let x = given.input(0)?;
    let at = axis(given.node.int("axis", 0), x.shape.len())?;
    let (parts, whole) = (given.node.outputs.len().max(1), x.shape[at]);
    let lens = match given.either("split", 1)? {
        Some(lens) => {
            lens.iter().map(|&l| usize::try_from(l).map_err(|_| format!("has parts of {}", brief(&lens)))).collect::<Result<_, _>>()?
        }
        // Since operator set 18 the last one may be smaller.
        None if given.opset() < 18 && whole % parts != 0 => {
            return Err(format!("takes {whole} elements apart into {parts} equal parts"));
        }
        None => {
            let each = whole.div_ceil(parts);
            (0..parts).map(|i| each.min(whole.saturating_sub(i * each))).collect::<Vec<_>>()
        }
    };
    let sum = lens.iter().try_fold(0usize, |sum, &l| sum.checked_add(l));
    if lens.len() != parts || sum != Some(whole) {
        return Err(format!("takes {whole} elements apart into {} for {parts} outputs", brief(&lens)));
    }
    let mut ranges = Ranges { axes: x.shape.iter().map(|&n| (0, n, 1)).collect() };
    let mut start = 0;
    lens.into_iter()
        .map(|len| {
            ranges.axes[at] = (start, len, 1);
            start += len;
            slice(x, &ranges)
        })
        .collect()
}

fn expand(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let shape = broadcast(&x.shape, &dims(given.input(1)?)?)?;
    given.afford(&shape)?;
    Ok(x.picked(shape.clone(), broadcast_offsets(&x.shape, &shape).into_iter()))
}

/// For each element of a result the element of an array of `of`: axis by axis the one that `from` names, none where one is
/// below zero.
fn mapped<'a>(of: &[usize], from: &'a [Vec<i64>]) -> impl Iterator<Item = Option<usize>> + 'a {
    let own = strides(of);
    let mut index = vec![0; from.len()];
    (0..from.iter().map(Vec::len).product()).map(move |_: usize| {
        let mut at = Some(0);
        for ((axis, &i), &step) in from.iter().zip(&index).zip(&own) {
            at = at.and_then(|at| Some(at + usize::try_from(axis[i]).ok()? * step));
        }
        for (axis, i) in from.iter().zip(&mut index).rev() {
            *i += 1;
            if *i < axis.len() {
                break;
            }
            *i = 0;
        }
        at
    })
}

fn tile(given: &Given) -> Result<Array, String> {
    let (x, repeats) = (given.input(0)?, dims(given.input(1)?)?);
    if repeats.len() != x.shape.len() {
        return Err(format!("repeats a constant of {:?} by {}", x.shape, brief(&repeats)));
    }
    let shape: Vec<usize> = x.shape.iter().zip(&repeats).map(|(d, r)| d.saturating_mul(*r)).collect();
    given.afford(&shape)?;
    let from: Vec<Vec<i64>> = x.shape.iter().zip(&shape).map(|(&d, &n)| (0..n).map(|i| (i % d) as i64).collect()).collect();
    Ok(x.picked(shape, mapped(&x.shape, &from).flatten()))
}

fn pad(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let rank = x.shape.len();
    let pads = given.either("pads", 1)?.ok_or("does not say how much")?;
    let axes = match given.optional(3) {
        None => (0..rank).collect(),
        Some(_) => given.ints(3)?.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("has {} pads for {} axes", pads.len(), axes.len()));
    }
    let mode = given.node.text("mode").unwrap_or("constant");
    let mut around = vec![(0i64, 0i64); rank];
    axes.iter().enumerate().for_each(|(i, &a)| around[a] = (pads[i], pads[i + axes.len()]));
    let shape = around.iter().zip(&x.shape).map(|(&(before, after), &n)| {
        let len = (n as i64).checked_add(before).and_then(|l| l.checked_add(after)).filter(|l| *l >= 0);
        len.map(|l| l as usize).ok_or_else(|| format!("pads {:?} by {}", x.shape, brief(&pads)))
    });
    let shape: Vec<usize> = shape.collect::<Result<_, _>>()?;
    given.afford(&shape)?;
    let mut from = Vec::with_capacity(rank);
    for ((&(before, _), &n), &out) in around.iter().zip(&x.shape).zip(&shape) {
        let n = n as i64;
        if mode != "constant" && n == 0 && out > 0 {
            return Err(format!("pads an axis of 0 elements by {mode}"));
        }
        let place = |i: usize| {
            let at = i as i64 - before;
            match mode {
                "constant" => {
                    if (0..n).contains(&at) {
                        at
                    } else {
                        -1
                    }
                }
                "edge" => at.clamp(0, n - 1),
                "wrap" => at.rem_euclid(n),
                _ if n == 1 => 0,
                // There and back: n − 1 steps each way.
                _ => {
                    let at = at.rem_euclid(2 * (n - 1));
                    at.min(2 * (n - 1) - at)
                }
            }
        };
        from.push((0..out).map(place).collect::<Vec<i64>>());
    }
    let places = mapped(&x.shape, &from);
    match mode {
        "constant" => {}
        "edge" | "wrap" | "reflect" => return Ok(x.picked(shape, places.flatten())),
        other => return Err(format!("pads by '{other}', which is unknown")),
    }
    // One element more, behind all others, is the border.
    let border = match given.optional(2) {
        Some(value) if value.len() == 1 => value.reshaped(vec![1]),
        Some(value) => return Err(format!("pads with {} elements", value.len())),
        None if x.ty().is_float() => Array::floats_of(x.ty(), vec![1], vec![given.node.float("value", 0.0).into()]),
        None => Array::ints_of(x.ty(), vec![1], vec![x.ty().wrap(given.node.float("value", 0.0) as i128)]),
    };
    let all = Array::chained(&[x, &border])?;
    Ok(all.picked(shape, places.map(|p| p.unwrap_or(x.len()))))
}

fn blocks(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let size = usize::try_from(given.node.int("blocksize", 0)).ok().filter(|s| *s > 0).ok_or("has no block size")?;
    let [n, c, h, w] = x.shape[..] else { return Err(format!("has an input of {:?}, where four axes are needed", x.shape)) };
    let misfit = || format!("has blocks of {size} for {:?}", x.shape);
    let mode = given.node.text("mode").unwrap_or("DCR");
    if !matches!(mode, "DCR" | "CRD") {
        return Err(format!("has the mode '{mode}', which is unknown"));
    }
    if given.op() == "SpaceToDepth" {
        if h % size != 0 || w % size != 0 {
            return Err(misfit());
        }
        let apart = x.reshaped(vec![n, c, h / size, size, w / size, size]);
        let order = if mode == "DCR" { [0, 3, 5, 1, 2, 4] } else { [0, 1, 3, 5, 2, 4] };
        return Ok(permuted(&apart, &order).reshaped(vec![n, c.checked_mul(size * size).ok_or_else(misfit)?, h / size, w / size]));
    }
    let each = size.checked_mul(size).filter(|s| c % s == 0).ok_or_else(misfit)?;
    let made = match mode {
        "DCR" => permuted(&x.reshaped(vec![n, size, size, c / each, h, w]), &[0, 3, 4, 1, 5, 2]),
        _ => permuted(&x.reshaped(vec![n, c / each, size, size, h, w]), &[0, 1, 4, 2, 5, 3]),
    };
    Ok(made.reshaped(vec![n, c / each, h * size, w * size]))
}

fn trilu(given: &Given) -> Result<Array, String> {
    let x = given.input(0)?;
    let [.., rows, columns] = x.shape[..] else { return Err(format!("has an input of {:?}, where two axes are needed", x.shape)) };
    let (k, upper) = (given.optional(1).map_or(Ok(0), |_| given.int(1))?, given.node.int("upper", 1) != 0);
    let kept = |i: usize| {
        let (row, column) = (i / columns % rows, i % columns);
        let over = i128::from(column as i64) - i128::from(row as i64) - i128::from(k);
        (if upper { over >= 0 } else { over <= 0 }).then_some(i)
    };
    Ok(x.picked_or_zero(x.shape.clone(), (0..x.len()).map(kept)))
}

fn reverse_sequence(given: &Given) -> Result<Array, String> {
    let (x, lens) = (given.input(0)?, given.ints(1)?);
    let (time, batch) = (given.node.int("time_axis", 0), given.node.int("batch_axis", 1));
    let (time, batch) = (axis(time, x.shape.len())?, axis(batch, x.shape.len())?);
    if time == batch || lens.len() != x.shape[batch] || lens.iter().any(|&l| l < 0 || l > x.shape[time] as i64) {
        return Err(format!("reverses {} elements of {:?}", brief(lens), x.shape));
    }
    let own = strides(&x.shape);
    let from = |i: usize| {
        let (t, len) = (i / own[time] % x.shape[time], lens[i / own[batch] % x.shape[batch]] as usize);
        if t < len { i - t * own[time] + (len - 1 - t) * own[time] } else { i }
    };
    Ok(x.picked(x.shape.clone(), (0..x.len()).map(from)))
}

fn center_crop_pad(given: &Given) -> Result<Array, String> {
    let (x, target) = (given.input(0)?, dims(given.input(1)?)?);
    let axes = match given.node.ints("axes") {
        Some(axes) => axes.iter().map(|&a| axis(a, x.shape.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..x.shape.len()).collect(),
    };
    if axes.len() != target.len() {
        return Err(format!("has {} lengths for {} axes", target.len(), axes.len()));
    }
    let mut shape = x.shape.clone();
    axes.iter().zip(&target).for_each(|(&a, &t)| shape[a] = t);
    given.afford(&shape)?;
    let from = x.shape.iter().zip(&shape).map(|(&n, &out)| {
        let (cut, border) = (n.saturating_sub(out) / 2, out.saturating_sub(n) / 2);
        (0..out).map(|i| i.checked_sub(border).map(|i| i + cut).filter(|i| *i < n).map_or(-1, |i| i as i64)).collect()
    });
    let from: Vec<Vec<i64>> = from.collect();
    Ok(x.picked_or_zero(shape, mapped(&x.shape, &from)))
}

#[cfg(test)]
mod tests {
    use super::super::super::array::Data;
    use super::super::super::elem::Type;
    use super::super::super::node::{Attribute, Node};
    use super::super::Folding;
    use super::super::tests::{floats, of, run};
    use super::*;
    use std::sync::Arc;

    fn counted(shape: &[usize]) -> Array {
        floats(shape, &(0..shape.iter().product()).map(|i: usize| i as f32).collect::<Vec<_>>())
    }

    fn text(s: &str) -> Attribute {
        Attribute::Text(s.into())
    }

    #[test]
    fn elements_move_as_they_should() {
        let x = counted(&[2, 3]);
        assert_eq!(run("Transpose", &[], std::slice::from_ref(&x)).unwrap(), floats(&[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
        let wide = run("Expand", &[], &[floats(&[1, 2], &[1.0, 2.0]), Array::ints(vec![2, 1])]).unwrap();
        assert_eq!(wide, floats(&[2, 2], &[1.0, 2.0, 1.0, 2.0]));
        let rows = run("Concat", &[("axis", Attribute::Int(-1))], &[x.clone(), floats(&[2, 1], &[7.0, 8.0])]).unwrap();
        assert_eq!(rows, floats(&[2, 4], &[0.0, 1.0, 2.0, 7.0, 3.0, 4.0, 5.0, 8.0]));
        let twice = run("Tile", &[], &[floats(&[2, 1], &[1.0, 2.0]), Array::ints(vec![1, 2])]).unwrap();
        assert_eq!(twice, floats(&[2, 2], &[1.0, 1.0, 2.0, 2.0]));
        assert!(run("Concat", &[], &[x, of(Type::I32, &[1])]).unwrap_err().contains("together"));
    }

    #[test]
    fn all_parts_of_a_split_are_given() {
        let mut node = Node::new("Split", "n", &[], "a");
        node.outputs.push("b".into());
        node.attributes.insert("axis".into(), Attribute::Int(-1));
        let split = |opset, extra: Option<Array>| {
            let inputs = [Some(Arc::new(counted(&[2, 3]))), extra.map(Arc::new)];
            Folding::new(opset, 0).evaluate(&node, &inputs).unwrap()
        };
        let parts = [floats(&[2, 2], &[0.0, 1.0, 3.0, 4.0]), floats(&[2, 1], &[2.0, 5.0])];
        assert_eq!(split(18, None).unwrap(), parts);
        assert_eq!(split(13, Some(Array::ints(vec![2, 1]))).unwrap(), parts);
        assert!(split(13, None).unwrap_err().contains("equal parts"));
        assert!(split(13, Some(Array::ints(vec![2, 2]))).unwrap_err().contains("takes 3 elements apart"));
    }

    #[test]
    fn borders_are_made_in_every_mode() {
        let x = floats(&[3], &[1.0, 2.0, 3.0]);
        let padded = |mode: &str| run("Pad", &[("mode", text(mode))], &[x.clone(), Array::ints(vec![2, 1])]).unwrap().to_floats();
        assert_eq!(padded("constant"), [0.0, 0.0, 1.0, 2.0, 3.0, 0.0]);
        assert_eq!(padded("edge"), [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(padded("reflect"), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
        assert_eq!(padded("wrap"), [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
        let cut = run("Pad", &[], &[x.clone(), Array::ints(vec![-1, 1]), floats(&[], &[9.0])]).unwrap();
        assert_eq!(cut, floats(&[3], &[2.0, 3.0, 9.0]));
        let ints = run("Pad", &[], &[of(Type::U8, &[1]), Array::ints(vec![1, 0]), of(Type::U8, &[7]), Array::ints(vec![-1])]).unwrap();
        assert_eq!(ints, of(Type::U8, &[7, 1]));
        assert!(run("Pad", &[], &[x, Array::ints(vec![i64::MAX, 1])]).is_err());
    }

    #[test]
    fn blocks_become_channels_and_back() {
        let x = counted(&[1, 4, 1, 2]);
        let size = ("blocksize", Attribute::Int(2));
        let dcr = run("DepthToSpace", std::slice::from_ref(&size), std::slice::from_ref(&x)).unwrap();
        assert_eq!(dcr, floats(&[1, 1, 2, 4], &[0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]));
        assert_eq!(run("SpaceToDepth", std::slice::from_ref(&size), &[dcr]).unwrap(), x);
        let two = counted(&[1, 8, 1, 1]);
        let crd = run("DepthToSpace", &[size.clone(), ("mode", text("CRD"))], std::slice::from_ref(&two)).unwrap();
        assert_eq!(crd, floats(&[1, 2, 2, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]));
        assert_eq!(run("SpaceToDepth", &[size.clone(), ("mode", text("CRD"))], &[crd]).unwrap(), two);
        assert_eq!(run("DepthToSpace", &[size], &[two]).unwrap().to_floats(), [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
    }

    #[test]
    fn parts_are_kept_reversed_and_centred() {
        let upper = run("Trilu", &[], &[counted(&[2, 3]), Array { shape: vec![], data: Data::Ints(vec![1]) }]).unwrap();
        assert_eq!(upper, floats(&[2, 3], &[0.0, 1.0, 2.0, 0.0, 0.0, 5.0]));
        let lower = run("Trilu", &[("upper", Attribute::Int(0))], &[counted(&[2, 3])]).unwrap();
        assert_eq!(lower.to_floats(), [0.0, 0.0, 0.0, 3.0, 4.0, 0.0]);
        let reversed = run("ReverseSequence", &[], &[counted(&[3, 2]), Array::ints(vec![3, 2])]).unwrap();
        assert_eq!(reversed.to_floats(), [4.0, 3.0, 2.0, 1.0, 0.0, 5.0]);
        let centred = run("CenterCropPad", &[], &[counted(&[4, 1]), Array::ints(vec![2, 3])]).unwrap();
        assert_eq!(centred, floats(&[2, 3], &[0.0, 1.0, 0.0, 0.0, 2.0, 0.0]));
    }
}
