//! Validation of windows, residuals and rearrangements: every element that they reach exists.

use crate::artifact::{Limits, Residual, Stride, Window};

/// The output's height and width.
pub(super) fn moved(window: &Window, height: u32, width: u32) -> Result<[u32; 2], String> {
    let Window { kernel, stride, padding, dilation } = *window;
    for (what, values) in [("kernel", kernel), ("stride", stride), ("dilation", dilation)] {
        if values.contains(&0) {
            return Err(format!("its {what} is {values:?}, each must be at least 1"));
        }
    }
    let largest = [kernel, stride, dilation].into_iter().flatten().chain(padding).max().unwrap_or(0);
    if largest > Limits::WINDOW {
        return Err(format!("a window of {largest} is larger than {}", Limits::WINDOW));
    }
    let mut out = [0; 2];
    for (axis, len) in [height, width].into_iter().enumerate() {
        // At most 2²⁴ by the limit above.
        let span = dilation[axis] * (kernel[axis] - 1) + 1;
        if padding[axis] >= span || padding[axis + 2] >= span {
            return Err(format!("padding {padding:?} is not below the {span} elements that its kernel spans"));
        }
        let count = window.output(axis, len as usize);
        if count == 0 {
            return Err(format!("its kernel spans {span} elements, its padded input has fewer along axis {axis}"));
        }
        out[axis] = u32::try_from(count).map_err(|_| format!("{count} outputs along axis {axis} are too many"))?;
    }
    Ok(out)
}

/// Every window of a pool holds an element: without dilation it does, as padding is below the kernel's size.
pub(super) fn check_occupied(window: &Window, axis: usize, len: u32, outputs: u32) -> Result<(), String> {
    let [kernel, stride, dilation, before] =
        [window.kernel[axis], window.stride[axis], window.dilation[axis], window.padding[axis]].map(i64::from);
    // Those of windows that begin inside always do; only the ones before the first element need a look.
    let outside = (0..i64::from(outputs)).map(|o| o * stride - before).take_while(|&start| start < 0);
    let empty = |start: i64| {
        let tap = (-start + dilation - 1) / dilation;
        tap >= kernel || start + tap * dilation >= i64::from(len)
    };
    if dilation > 1 && outside.into_iter().any(empty) {
        return Err(format!("a window with dilation {dilation} holds nothing but padding"));
    }
    Ok(())
}

pub(super) fn check_residual(residual: Residual, second: &[usize], output: &[u32]) -> Result<(), String> {
    let second = narrow(second)?;
    let misfit = || format!("a residual of shape {second:?} with {residual:?} does not fit {output:?}");
    if residual.stride == 0 || residual.stride > Limits::WINDOW {
        return Err(format!("its residual has stride {}", residual.stride));
    }
    let ([channels, space @ ..], [outputs, out @ ..]) = (&second[..], output) else { return Err(misfit()) };
    let fits = channels.checked_add(residual.offset).is_some_and(|end| end <= *outputs);
    // Only vectors and images have channels to move.
    if ![1, 3].contains(&output.len()) && (second != output || residual != (Residual { stride: 1, offset: 0 })) {
        return Err(misfit());
    }
    if !fits || space.len() != out.len() || space.iter().zip(out).any(|(s, o)| s.div_ceil(residual.stride) != *o) {
        return Err(misfit());
    }
    Ok(())
}

/// Every element that `steps` reach is one of `input`, and they give as many as `shape` has.
pub(super) fn check_steps(shape: &[u32], offset: u32, steps: &[Stride], input: &[usize]) -> Result<(), String> {
    if shape.is_empty() || shape.len() > Limits::AXES || steps.len() > Limits::AXES {
        return Err(format!(
            "has {} axes and {} steps; 1 to {} axes and at most as many steps are allowed",
            shape.len(),
            steps.len(),
            Limits::AXES
        ));
    }
    let product = |sizes: &mut dyn Iterator<Item = u32>| sizes.fold(1u64, |n, s| n.saturating_mul(s.into()));
    let (given, needed) = (product(&mut steps.iter().map(|s| s.size)), product(&mut shape.iter().copied()));
    if given != needed {
        return Err(format!("gives {given} elements for a shape of {shape:?}"));
    }
    let last = steps
        .iter()
        .fold(u64::from(offset), |at, s| at.saturating_add(u64::from(s.size.saturating_sub(1)).saturating_mul(s.stride.into())));
    let len = input.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
    if last >= len { Err(format!("reaches element {last} of {len}")) } else { Ok(()) }
}

/// A shape as the file has it.
pub(super) fn narrow(shape: &[usize]) -> Result<Vec<u32>, String> {
    shape.iter().map(|&n| u32::try_from(n).map_err(|_| format!("a shape of {shape:?} is too large"))).collect()
}
