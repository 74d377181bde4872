//! Windows over images and over lines, and pools.

use super::channels::Front;
use super::{Converter, OnnxValue, Pads, Step, Stop};
use crate::graph::{Conv2d, Op, Window};
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;

/// What a window moves over.
pub(super) struct Source {
    /// The image, [channels, height, width]; a line of elements is an image of one row.
    pub(super) view: View,
    /// Numbers around it: top, left, bottom, right.
    pub(super) zeros: [usize; 4],
    /// Which number they are.
    pub(super) fill: f32,
    front: Front,
    is_line: bool,
}

impl Source {
    /// Height and width, the numbers around the image counted.
    pub(super) fn padded_size(&self) -> [usize; 2] {
        let sizes = self.view.sizes();
        let [top, left, bottom, right] = self.zeros;
        [sizes[1].saturating_add(top).saturating_add(bottom), sizes[2].saturating_add(left).saturating_add(right)]
    }

    /// An image that came from this one, as the file sees it.
    pub(super) fn restored(&self, mut view: View) -> View {
        if self.is_line {
            view.axes.remove(1);
        }
        self.front.before(view)
    }
}

/// The window of a node over `axes` axes (1 or 2) of an image of `size`, the numbers around it counted: by its attributes, its
/// kernel where those do not say it.
pub(super) fn window(node: &Node, kernel: Option<[usize; 2]>, size: [usize; 2], axes: usize) -> Step<Window> {
    // Of a line, the row's own come first.
    let each = |name: &str, row: usize| -> Step<Option<[usize; 2]>> {
        let Some(values) = node.ints(name) else { return Ok(None) };
        let fail = || Stop::from(format!("has {name} {values:?} for {axes} axes"));
        let of = |v: i64| usize::try_from(v).map_err(|_| fail());
        match (values, axes) {
            (&[a, b], 2) => Ok(Some([of(a)?, of(b)?])),
            (&[a], 1) => Ok(Some([row, of(a)?])),
            _ => Err(fail()),
        }
    };
    let stated = each("kernel_shape", 1)?;
    let kernel = kernel.or(stated).ok_or("has no kernel_shape")?;
    if stated.is_some_and(|s| s != kernel) {
        return Err(format!("has kernel_shape {stated:?}, its weight a kernel of {kernel:?}").into());
    }
    let mut window = Window {
        kernel,
        stride: each("strides", 1)?.unwrap_or([1; 2]),
        padding: [0; 4],
        dilation: each("dilations", 1)?.unwrap_or([1; 2]),
    };
    match node.text("auto_pad").unwrap_or("NOTSET") {
        "VALID" => {}
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            for (axis, &size) in size.iter().enumerate().skip(2 - axes) {
                let stride = window.stride[axis].max(1);
                let extent = extent(&window, axis);
                let all = ((size.div_ceil(stride)).saturating_sub(1) * stride).saturating_add(extent).saturating_sub(size);
                let (less, more) = (all / 2, all - all / 2);
                let (before, after) = if same == "SAME_UPPER" { (less, more) } else { (more, less) };
                (window.padding[axis], window.padding[axis + 2]) = (before, after);
            }
        }
        "NOTSET" => {
            let pads = node.ints("pads").unwrap_or_default();
            let places: &[usize] = if axes == 1 { &[1, 3] } else { &[0, 1, 2, 3] };
            if !pads.is_empty() && pads.len() != places.len() {
                return Err(format!("has pads {pads:?} for {axes} axes").into());
            }
            for (&to, &from) in places.iter().zip(pads) {
                window.padding[to] = usize::try_from(from).map_err(|_| "has negative padding, which is not supported")?;
            }
        }
        other => return Err(format!("has auto_pad {other:?}").into()),
    }
    Ok(window)
}

/// Elements from the first to the last of a window.
fn extent(window: &Window, axis: usize) -> usize {
    window.kernel[axis].saturating_sub(1).saturating_mul(window.dilation[axis]).saturating_add(1)
}

impl<'a> Converter<'a> {
    /// Input 0 as an image or a line behind its front, with the numbers around it where they are around its last `axes` axes
    /// and `accepts` takes them.
    pub(super) fn windowed(&mut self, node: &'a Node, axes: usize, accepts: impl Fn(f32) -> bool) -> Step<Source> {
        let around = |view: &View, pads: &Pads| {
            let space = pads.amounts.len().checked_sub(axes);
            space.is_some_and(|space| pads.amounts[..space].iter().all(|a| *a == (0, 0))) && accepts(pads.fill) && view.rank() == axes + 2
        };
        let (view, amounts, fill) = match self.value(node, 0)? {
            OnnxValue::Padded(view, pads) if around(view, pads) => (view.clone(), pads.amounts.clone(), pads.fill),
            OnnxValue::Constant(_) => return Err("has a constant as input 0, where only a computed value is supported".into()),
            _ => {
                if let Some(name) = node.inputs.first() {
                    self.settle(node, name)?;
                }
                let view = self.computed(node, 0)?;
                let amounts = vec![(0, 0); view.axes.len()];
                (view, amounts, 0.0)
            }
        };
        if view.rank() != axes + 2 {
            return Err(format!("moves over {axes} axes of a value of {:?}", self.full_shape(&view)).into());
        }
        let (front, mut view) = self.behind_front(&view)?;
        let is_line = axes == 1;
        if is_line {
            view.axes.insert(1, Vec::new());
        }
        let [.., right] = amounts[..] else { return Err("reads a single number".into()) };
        let down = if is_line { (0, 0) } else { amounts[amounts.len() - 2] };
        Ok(Source { view, zeros: [down.0, right.0, down.1, right.1], fill, front, is_line })
    }

    pub(super) fn pool(&mut self, node: &'a Node) -> Step<OnnxValue> {
        let axes = node.ints("kernel_shape").map_or(2, <[i64]>::len);
        if !(1..=2).contains(&axes) {
            return Err(format!("has a window over {axes} axes; one or two are supported").into());
        }
        let is_max = node.op == "MaxPool";
        if node.int("storage_order", 0) != 0 {
            return Err("counts by columns (storage_order), which is not supported".into());
        }
        // Zeros are elements of a mean, and of a largest value they are the largest where nothing is negative; the least
        // number never is.
        let skips = node.text("auto_pad").is_some_and(|a| a.starts_with("SAME"))
            && node.ints("strides").unwrap_or_default().iter().zip(node.ints("kernel_shape").unwrap_or_default()).any(|(s, k)| s > k);
        if skips {
            return Err("moves by more than its kernel with auto_pad, on which runtimes do not agree".into());
        }
        let mut source = self.windowed(node, axes, |fill| if is_max { fill <= f32::MIN || fill == 0.0 } else { fill == 0.0 })?;
        let has_zeros = source.zeros != [0; 4];
        let mut window = window(node, None, source.padded_size(), axes)?;
        let own = window.padding != [0; 4];
        let is_zero = has_zeros && source.fill == 0.0;
        let rounds = node.int("ceil_mode", 0) != 0;
        let alone = has_zeros && is_zero && !own && !rounds;
        let fits = match (is_max, is_zero) {
            (true, true) => alone && self.is_never_negative(source.view.base),
            (true, false) => true,
            (false, _) => alone,
        };
        if has_zeros && !fits {
            let [top, left, bottom, right] = source.zeros;
            let pads = Pads { amounts: vec![(0, 0), (top, bottom), (left, right)], fill: source.fill };
            source.view = self.with_pads(node, &source.view, &pads)?;
            source.zeros = [0; 4];
        }
        let mut counted = !is_max && own && node.int("count_include_pad", 0) != 0;
        if source.zeros != [0; 4] {
            counted |= !is_max;
            self.note("zero padding taken in", node);
        }
        if rounds {
            let more = rounded_up(&window, source.padded_size());
            if more != [0; 2] && counted {
                return Err("rounds its size up and counts padding, on which runtimes do not agree".into());
            }
            if more != [0; 2] {
                self.note("sizes rounded up by padding", node);
            }
            (window.padding[2], window.padding[3]) = (window.padding[2] + more[0], window.padding[3] + more[1]);
        }
        (0..4).for_each(|i| window.padding[i] = window.padding[i].saturating_add(source.zeros[i]));
        let base = self.image(node, &source.view)?;
        let name = self.fresh(node.label().into());
        let value = if !is_max && window.dilation != [1, 1] {
            self.spread_mean(name, base, window, counted)?
        } else {
            let op = if is_max { Op::MaxPool(window) } else { Op::AvgPool { window, count_include_pad: counted } };
            self.push(&name, op, vec![base], Vec::new())?
        };
        let view = View::plain(value, &self.shapes[value]);
        Ok(OnnxValue::Computed(source.restored(view)))
    }

    /// A mean with dilation: a convolution of each channel for itself.
    fn spread_mean(&mut self, name: String, base: usize, window: Window, counted: bool) -> Step<usize> {
        if window.padding != [0; 4] && !counted {
            return Err("is a mean with dilation of as many elements as there are, which is not supported".into());
        }
        let (channels, taps) = (self.shapes[base][0], window.kernel[0].saturating_mul(window.kernel[1]));
        let len = super::arithmetic::affordable(channels.saturating_mul(taps))?;
        let conv = Conv2d { inputs: channels, outputs: channels, window, groups: channels, bias: false };
        self.push(&name, Op::Conv2d(conv), vec![base], vec![vec![1.0 / taps as f32; len]])
    }

    /// Whether a value can hold nothing below 0.
    fn is_never_negative(&self, value: usize) -> bool {
        let Some(node) = self.graph.producer(value) else { return false };
        match node.op {
            Op::Activation(f) => f.is_never_negative(),
            Op::MaxPool(_) | Op::AvgPool { .. } | Op::GlobalAvgPool | Op::Rearrange(_) | Op::Flatten | Op::Concat => {
                node.inputs.iter().all(|&v| self.is_never_negative(v))
            }
            _ => false,
        }
    }
}

/// Rows and columns of padding behind the image that make a size come out that was rounded up. No window may begin in it.
fn rounded_up(window: &Window, size: [usize; 2]) -> [usize; 2] {
    let mut more = [0; 2];
    for (axis, more) in more.iter_mut().enumerate() {
        let (stride, before) = (window.stride[axis].max(1), window.padding[axis]);
        let extent = extent(window, axis);
        let padded = size[axis].saturating_add(before).saturating_add(window.padding[axis + 2]);
        // A window that reaches beyond all padding is none, whatever is rounded.
        let Some(room) = padded.checked_sub(extent) else { continue };
        let mut count = room.div_ceil(stride) + 1;
        if (count - 1).saturating_mul(stride) >= size[axis].saturating_add(before) {
            count -= 1;
        }
        *more = ((count.saturating_sub(1)) * stride).saturating_add(extent).saturating_sub(padded);
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up_as_pytorch_does() {
        // 55 rows, 3 wide, by 2: 27 either way; 6 rows: 2.5 → 3 windows, the last of two rows.
        assert_eq!(rounded_up(&Window::square(3, 2, 0), [55, 6]), [0, 1]);
        // A window that would begin in the padding is none: 5 rows with 1 around, 2 wide, by 3.
        let window = Window::square(2, 3, 1);
        assert_eq!(rounded_up(&window, [5, 4]), [0, 0]);
        assert_eq!(rounded_up(&Window::square(4, 3, 0), [1, 1]), [0, 0]);
    }

    #[test]
    fn same_padding_puts_the_odd_row_where_it_says() {
        let mut node = Node::new("Conv", "c", &[], "y");
        let text = |s: &str| super::super::super::node::Attribute::Text(s.into());
        node.attributes.insert("auto_pad".into(), text("SAME_UPPER"));
        assert_eq!(window(&node, Some([4, 5]), [9, 9], 2).ok().map(|w| w.padding), Some([1, 2, 2, 2]));
        node.attributes.insert("auto_pad".into(), text("SAME_LOWER"));
        assert_eq!(window(&node, Some([4, 5]), [9, 9], 2).ok().map(|w| w.padding), Some([2, 2, 1, 2]));
        // Of a line nothing is padded above and below.
        assert_eq!(window(&node, Some([1, 4]), [1, 9], 1).ok().map(|w| w.padding), Some([0, 2, 0, 1]));
    }
}
