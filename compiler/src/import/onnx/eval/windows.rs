//! Windows over constants of any number of axes: convolutions and pools.

use super::super::array::Array;
use super::super::elem::Type;
use super::super::sizes::brief;
use super::given::{Given, Outcome, one};
use super::places::strides;
use crate::tensor::count;

pub(super) fn evaluate(given: &Given) -> Outcome {
    match given.op() {
        "Conv" => one(conv(given)),
        "ConvInteger" => one(conv_integer(given)),
        "MaxPool" => Some(max_pool(given)),
        "AveragePool" | "LpPool" => one(pool(given)),
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => one(global(given)),
        _ => None,
    }
}

/// Windows over the axes behind batch and channels.
struct Windows {
    /// Elements of the input along each axis, and of the window.
    input: Vec<usize>,
    kernel: Vec<usize>,
    output: Vec<usize>,
    steps: Vec<usize>,
    dilations: Vec<usize>,
    /// Elements around the input, before and behind.
    pads: Vec<(usize, usize)>,
}

impl Windows {
    /// As the attributes have them, for an input of [N, C, …].
    fn of(given: &Given, shape: &[usize], kernel: Vec<usize>) -> Result<Self, String> {
        let misfit = || format!("has windows of {} over {shape:?}", brief(&kernel));
        let input = shape.get(2..).filter(|s| !s.is_empty() && s.len() == kernel.len()).ok_or_else(misfit)?.to_vec();
        let rank = input.len();
        let list = |name: &str, len: usize, default: i64, least: i64| -> Result<Vec<usize>, String> {
            let values = given.node.ints(name).map_or(vec![default; len], <[i64]>::to_vec);
            let fits = values.len() == len && values.iter().all(|v| (least..1 << 31).contains(v));
            if fits { Ok(values.into_iter().map(|v| v as usize).collect()) } else { Err(format!("has {name} of {}", brief(&values))) }
        };
        let (steps, dilations) = (list("strides", rank, 1, 1)?, list("dilations", rank, 1, 1)?);
        let stated = list("pads", 2 * rank, 0, 0)?;
        let mode = given.node.text("auto_pad").unwrap_or("NOTSET");
        let (mut output, mut pads) = (Vec::with_capacity(rank), Vec::with_capacity(rank));
        for a in 0..rank {
            let (n, step) = (input[a], steps[a]);
            let reach = (kernel[a].checked_sub(1)).and_then(|k| k.checked_mul(dilations[a])).ok_or_else(misfit)? + 1;
            match mode {
                "NOTSET" | "VALID" => {
                    let pad = if mode == "VALID" { (0, 0) } else { (stated[a], stated[a + rank]) };
                    let room = (n + pad.0 + pad.1).checked_sub(reach).ok_or_else(misfit)?;
                    let mut out = if given.node.int("ceil_mode", 0) != 0 { room.div_ceil(step) } else { room / step } + 1;
                    // A window that begins behind the input is none.
                    if (out - 1) * step >= n + pad.0 && out > 1 {
                        out -= 1;
                    }
                    output.push(out);
                    pads.push(pad);
                }
                "SAME_UPPER" | "SAME_LOWER" => {
                    let out = n.div_ceil(step);
                    let all = (out.saturating_sub(1) * step + reach).saturating_sub(n);
                    let less = all / 2;
                    output.push(out);
                    pads.push(if mode == "SAME_UPPER" { (less, all - less) } else { (all - less, less) });
                }
                other => return Err(format!("pads by '{other}', which is unknown")),
            }
        }
        let taps = count(&kernel).ok_or_else(misfit)?;
        let places = given.afford(&output)?;
        given.spend_product(&[taps, places, shape[0].max(1), shape[1].max(1)])?;
        Ok(Self { input, kernel, output, steps, dilations, pads })
    }

    /// Calls `f` for every window: its number, its elements inside the input as (place in the window, place in the input),
    /// and how many lie in the input or the elements around it.
    fn each(&self, mut f: impl FnMut(usize, &[(usize, usize)], usize)) {
        let (of_input, of_kernel, of_output) = (strides(&self.input), strides(&self.kernel), strides(&self.output));
        let (taps, rank) = (self.kernel.iter().product::<usize>(), self.input.len());
        let mut inside = Vec::with_capacity(taps);
        for place in 0..self.output.iter().product() {
            inside.clear();
            let mut padded = 0;
            for tap in 0..taps {
                let (mut at, mut within, mut around) = (0, true, true);
                for a in 0..rank {
                    let (o, k) = (place / of_output[a] % self.output[a], tap / of_kernel[a] % self.kernel[a]);
                    let i = o * self.steps[a] + k * self.dilations[a];
                    let (before, behind) = self.pads[a];
                    around &= i < self.input[a] + before + behind;
                    match i.checked_sub(before).filter(|i| *i < self.input[a]) {
                        Some(i) => at += i * of_input[a],
                        None => within = false,
                    }
                }
                padded += usize::from(around);
                if within {
                    inside.push((tap, at));
                }
            }
            f(place, &inside, padded);
        }
    }
}

/// The sums of products of windows, as Conv has them, without a bias: the shape [N, M, …] and the elements.
fn convolved<T: Copy + Default>(
    given: &Given,
    (x, x_shape): (&[T], &[usize]),
    (w, w_shape): (&[T], &[usize]),
    plus: impl Fn(T, T, T) -> T,
) -> Result<(Vec<usize>, Vec<T>), String> {
    let misfit = || format!("convolves {x_shape:?} with {w_shape:?}");
    let groups = usize::try_from(given.node.int("group", 1)).ok().filter(|g| *g > 0).ok_or_else(misfit)?;
    if w_shape.len() != x_shape.len() || x_shape.len() < 3 {
        return Err(misfit());
    }
    let (batch, channels, outputs, each) = (x_shape[0], x_shape[1], w_shape[0], w_shape[1]);
    if each.checked_mul(groups) != Some(channels) || outputs % groups != 0 {
        return Err(misfit());
    }
    if given.node.ints("kernel_shape").is_some_and(|k| !k.iter().map(|&k| k as usize).eq(w_shape[2..].iter().copied())) {
        return Err(misfit());
    }
    let windows = Windows::of(given, x_shape, w_shape[2..].to_vec())?;
    let shape = [&[batch, outputs], &windows.output[..]].concat();
    let len = given.afford(&shape)?;
    let (pixels, taps): (usize, usize) = (windows.input.iter().product(), windows.kernel.iter().product());
    given.spend_product(&[len, each, taps])?;
    let places: usize = windows.output.iter().product();
    let mut made = vec![T::default(); len];
    windows.each(|place, inside, _| {
        for n in 0..batch {
            for m in 0..outputs {
                let first = m / (outputs / groups) * each;
                let mut sum = T::default();
                for c in 0..each {
                    let (image, filter) = (((n * channels) + first + c) * pixels, (m * each + c) * taps);
                    sum = inside.iter().fold(sum, |s, &(tap, at)| plus(s, x[image + at], w[filter + tap]));
                }
                made[(n * outputs + m) * places + place] = sum;
            }
        }
    });
    Ok((shape, made))
}

fn conv(given: &Given) -> Result<Array, String> {
    let (x, w) = (given.input(0)?, given.input(1)?);
    given.float_type(0)?;
    let ty = given.same_type(&[x, w])?;
    let (shape, mut made) = convolved(given, (&x.to_doubles(), &x.shape), (&w.to_doubles(), &w.shape), |s, x, w| s + x * w)?;
    if let Some(bias) = given.optional(2) {
        let values = bias.to_doubles();
        if values.len() != shape[1] {
            return Err(format!("has a bias of {:?} for {} channels", bias.shape, shape[1]));
        }
        let places: usize = shape[2..].iter().product();
        made.iter_mut().enumerate().for_each(|(i, v)| *v += values[i / places % shape[1]]);
    }
    Ok(Array::floats_of(ty, shape, made))
}

fn conv_integer(given: &Given) -> Result<Array, String> {
    let centred = |i: usize, zero: usize| -> Result<Vec<i64>, String> {
        let x = given.input(i)?;
        let v = x.stored().ok_or_else(|| format!("has {} as input {i}, where integers are needed", x.ty().name()))?;
        let each = x.shape.first().map_or(1, |&first| x.len().checked_div(first).unwrap_or(1));
        let z = given.optional(zero).map(|_| given.ints(zero)).transpose()?.unwrap_or(&[0]);
        match z {
            [z] => Ok(v.iter().map(|v| v - z).collect()),
            // One for each output channel of the weight.
            many if zero == 3 && x.shape.first() == Some(&many.len()) => {
                Ok(v.iter().enumerate().map(|(i, v)| v - many[i / each.max(1)]).collect())
            }
            many => Err(format!("has {} zero points for {:?}", many.len(), x.shape)),
        }
    };
    let (x, w) = (centred(0, 2)?, centred(1, 3)?);
    let (of_x, of_w) = (&given.input(0)?.shape, &given.input(1)?.shape);
    let (shape, made) = convolved(given, (&x, of_x), (&w, of_w), |s: i64, x, w| s.wrapping_add(x.wrapping_mul(w)))?;
    Ok(Array::ints_of(Type::I32, shape, made.into_iter().map(|v| Type::I32.wrap(v.into())).collect()))
}

fn kernel(given: &Given) -> Result<Vec<usize>, String> {
    let kernel = given.node.ints("kernel_shape").ok_or("has no window")?;
    let fits = kernel.iter().all(|k| (1..1 << 31).contains(k));
    if fits { Ok(kernel.iter().map(|&k| k as usize).collect()) } else { Err(format!("has windows of {}", brief(kernel))) }
}

fn max_pool(given: &Given) -> Result<Vec<Array>, String> {
    let x = given.input(0)?;
    let windows = Windows::of(given, &x.shape, kernel(given)?)?;
    let shape = [&x.shape[..2], &windows.output[..]].concat();
    let len = given.afford(&shape)?;
    let (pixels, places): (usize, usize) = (windows.input.iter().product(), windows.output.iter().product());
    let (values, images) = (x.to_doubles(), x.shape[0] * x.shape[1]);
    let mut best = vec![0; len];
    let mut empty = false;
    windows.each(|place, inside, _| {
        empty |= inside.is_empty();
        for image in 0..images {
            let taps = inside.iter().map(|&(_, at)| image * pixels + at);
            // The first of equals; NaN wins.
            let better = |a: usize, b: usize| if values[b] > values[a] || (values[b].is_nan() && !values[a].is_nan()) { b } else { a };
            best[image * places + place] = taps.reduce(better).unwrap_or(0);
        }
    });
    if empty {
        return Err("has a window without an element".into());
    }
    let most = x.picked(shape.clone(), best.iter().copied());
    if given.node.int("storage_order", 0) != 0 {
        let (own, mut turned) = (strides(&windows.input), vec![1; windows.input.len()]);
        (1..turned.len()).for_each(|a| turned[a] = turned[a - 1] * windows.input[a - 1]);
        let column = |at: usize| (0..own.len()).map(|a| at / own[a] % windows.input[a] * turned[a]).sum::<usize>();
        best.iter_mut().for_each(|b| *b = *b / pixels * pixels + column(*b % pixels));
    }
    Ok(vec![most, super::shapes::counts(shape, best)])
}

fn pool(given: &Given) -> Result<Array, String> {
    let (x, ty) = (given.input(0)?, given.float_type(0)?);
    let windows = Windows::of(given, &x.shape, kernel(given)?)?;
    let shape = [&x.shape[..2], &windows.output[..]].concat();
    let mut made = vec![0.0; given.afford(&shape)?];
    let (pixels, places): (usize, usize) = (windows.input.iter().product(), windows.output.iter().product());
    let (values, images, padded) = (x.to_doubles(), x.shape[0] * x.shape[1], given.node.int("count_include_pad", 0) != 0);
    let (average, p) = (given.op() == "AveragePool", order(given)?);
    windows.each(|place, inside, around| {
        for image in 0..images {
            let taps = inside.iter().map(|&(_, at)| values[image * pixels + at]);
            made[image * places + place] = match average {
                true => taps.sum::<f64>() / if padded { around } else { inside.len() } as f64,
                false => norm(taps, p),
            };
        }
    });
    Ok(Array::floats_of(ty, shape, made))
}

/// The order of a norm.
fn order(given: &Given) -> Result<i32, String> {
    let p = given.node.int("p", 2);
    i32::try_from(p).ok().filter(|p| *p > 0).ok_or_else(|| format!("has the norm of order {p}"))
}

fn norm(values: impl Iterator<Item = f64>, p: i32) -> f64 {
    values.map(|v| v.abs().powi(p)).sum::<f64>().powf(1.0 / f64::from(p))
}

fn global(given: &Given) -> Result<Array, String> {
    let (x, ty) = (given.input(0)?, given.float_type(0)?);
    if x.shape.len() < 3 || x.len() == 0 {
        return Err(format!("has an input of {:?}, where a batch, channels and pixels are needed", x.shape));
    }
    let pixels: usize = x.shape[2..].iter().product();
    let shape = x.shape.iter().enumerate().map(|(a, &d)| if a < 2 { d } else { 1 }).collect();
    let (values, p) = (x.to_doubles(), order(given)?);
    let greatest = |v: &[f64]| v.iter().fold(f64::NEG_INFINITY, |m, &x| if m.is_nan() || x.is_nan() { f64::NAN } else { m.max(x) });
    let one = |image: &[f64]| match given.op() {
        "GlobalAveragePool" => image.iter().sum::<f64>() / pixels as f64,
        "GlobalMaxPool" => greatest(image),
        _ => norm(image.iter().copied(), p),
    };
    Ok(Array::floats_of(ty, shape, values.chunks(pixels).map(one).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::super::node::Attribute;
    use super::super::tests::{floats, outputs_at, run};
    use super::*;

    fn ints(name: &'static str, v: &[i64]) -> (&'static str, Attribute) {
        (name, Attribute::Ints(v.to_vec()))
    }

    #[test]
    fn filters_go_over_every_window() {
        let x = floats(&[1, 1, 3, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
        let w = floats(&[1, 1, 2, 2], &[1.0, 0.0, 0.0, -1.0]);
        let made = run("Conv", &[], &[x.clone(), w.clone(), floats(&[1], &[10.0])]).unwrap();
        assert_eq!(made, floats(&[1, 1, 2, 2], &[6.0; 4]));
        let same = [("auto_pad", Attribute::Text("SAME_LOWER".into())), ints("strides", &[2, 2])];
        assert_eq!(run("Conv", &same, &[x.clone(), w.clone()]).unwrap().to_floats(), [-1.0, -3.0, -7.0, -4.0]);
        let groups = [("group", Attribute::Int(2)), ints("dilations", &[2])];
        let two = floats(&[1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(run("Conv", &groups, &[two, floats(&[2, 1, 2], &[1.0, 1.0, 0.5, -1.0])]).unwrap().to_floats(), [4.0, -4.0]);
        assert!(run("Conv", &[], &[x.clone(), floats(&[1, 2, 2, 2], &[0.0; 8])]).unwrap_err().contains("convolves"));
        assert!(run("Conv", &[ints("pads", &[1 << 30; 4])], &[x, w]).unwrap_err().contains("elements"));
        let x = Array::ints_of(Type::U8, vec![1, 1, 3], vec![2, 3, 4]);
        let w = Array::ints_of(Type::U8, vec![1, 1, 2], vec![1, 1]);
        let zero = Array::ints_of(Type::U8, vec![], vec![1]);
        assert_eq!(run("ConvInteger", &[], &[x, w, zero]).unwrap(), Array::ints_of(Type::I32, vec![1, 1, 2], vec![3, 5]));
    }

    #[test]
    fn windows_are_pooled() {
        let x = floats(&[1, 1, 5], &[1.0, 5.0, 3.0, 5.0, 2.0]);
        let by = [ints("kernel_shape", &[2]), ints("strides", &[2]), ("ceil_mode", Attribute::Int(1))];
        let most = outputs_at(12, "MaxPool", &by, std::slice::from_ref(&x)).unwrap();
        assert_eq!((most[0].to_floats(), most[1].as_ints().unwrap()), (vec![5.0, 5.0, 2.0], &[1, 3, 4][..]));
        assert_eq!(run("AveragePool", &by, std::slice::from_ref(&x)).unwrap().to_floats(), [3.0, 4.0, 2.0]);
        let padded = [ints("kernel_shape", &[2]), ints("strides", &[2]), ints("pads", &[1, 0]), ("count_include_pad", Attribute::Int(1))];
        assert_eq!(run("AveragePool", &padded, std::slice::from_ref(&x)).unwrap().to_floats(), [0.5, 4.0, 3.5]);
        assert_eq!(
            run("LpPool", &[ints("kernel_shape", &[2]), ("p", Attribute::Int(1))], std::slice::from_ref(&x)).unwrap().to_floats(),
            [6.0, 8.0, 8.0, 7.0]
        );
        let global = |op: &str| run(op, &[], std::slice::from_ref(&x)).unwrap();
        assert_eq!((global("GlobalAveragePool"), global("GlobalMaxPool")), (floats(&[1, 1, 1], &[3.2]), floats(&[1, 1, 1], &[5.0])));
        assert_eq!(global("GlobalLpPool"), floats(&[1, 1, 1], &[8.0]));
    }
}
