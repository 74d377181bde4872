//! Windows, pools and means.

use super::super::dims;
use super::super::model::Node;
use super::super::view::{Atom, View, canonical};
use super::{Converter, Step, Stop, Value};
use crate::graph::{Activation, Op, Window};

/// The window of a node over an image of `size`: by its attributes, its kernel where those do not say it.
pub(super) fn window(node: &Node, kernel: Option<[usize; 2]>, size: [usize; 2]) -> Step<Window> {
    let pair = |name: &str| -> Step<Option<[usize; 2]>> {
        let Some(values) = node.ints(name) else { return Ok(None) };
        let fail = || Stop::from(format!("has {name} {values:?}; two axes are supported"));
        let &[a, b] = values else { return Err(fail()) };
        Ok(Some([usize::try_from(a).map_err(|_| fail())?, usize::try_from(b).map_err(|_| fail())?]))
    };
    let stated = pair("kernel_shape")?;
    let kernel = kernel.or(stated).ok_or("has no kernel_shape")?;
    if stated.is_some_and(|s| s != kernel) {
        return Err(format!("has kernel_shape {stated:?}, its weight a kernel of {kernel:?}").into());
    }
    let mut window =
        Window { kernel, stride: pair("strides")?.unwrap_or([1; 2]), padding: [0; 4], dilation: pair("dilations")?.unwrap_or([1; 2]) };
    match node.text("auto_pad").unwrap_or("NOTSET") {
        "VALID" => {}
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            for (axis, &size) in size.iter().enumerate() {
                let stride = window.stride[axis].max(1);
                let extent = window.kernel[axis].saturating_sub(1).saturating_mul(window.dilation[axis]).saturating_add(1);
                let all = ((size.div_ceil(stride)).saturating_sub(1) * stride).saturating_add(extent).saturating_sub(size);
                let (less, more) = (all / 2, all - all / 2);
                let (before, after) = if same == "SAME_UPPER" { (less, more) } else { (more, less) };
                (window.padding[axis], window.padding[axis + 2]) = (before, after);
            }
        }
        _ => {
            for (to, &from) in window.padding.iter_mut().zip(node.ints("pads").unwrap_or_default()) {
                *to = usize::try_from(from).map_err(|_| "has negative padding")?;
            }
        }
    }
    Ok(window)
}

impl<'a> Converter<'a> {
    pub(super) fn pool(&mut self, node: &'a Node) -> Step<Value> {
        let (view, zeros) = self.padded(node)?;
        let base = self.image(node, &view)?;
        let size = [self.shapes[base][1], self.shapes[base][2]];
        let mut window = window(node, None, size)?;
        let is_max = node.op == "MaxPool";
        let own = window.padding != [0; 4];
        let mut counted = !is_max && own && node.int("count_include_pad", 0) != 0;
        if zeros != [0; 4] {
            // Zeros are elements: in a mean they count, and they are the largest where nothing is negative.
            let fits = if is_max { self.is_never_negative(base) } else { true };
            if !fits || own {
                return Err("reads zeros around an image, which cannot be told from its own padding".into());
            }
            (window.padding, counted) = (zeros, !is_max);
            self.note("zero padding taken in", node);
        }
        if node.int("ceil_mode", 0) != 0 {
            let more = rounded_up(&window, size);
            if more != [0; 2] && counted {
                return Err("rounds its size up and counts padding, on which runtimes do not agree".into());
            }
            if more != [0; 2] {
                self.note("sizes rounded up by padding", node);
            }
            (window.padding[2], window.padding[3]) = (window.padding[2] + more[0], window.padding[3] + more[1]);
        }
        if !is_max && window.dilation != [1, 1] {
            return Err("is a mean with dilation, which is not supported".into());
        }
        let op = if is_max { Op::MaxPool(window) } else { Op::AvgPool { window, count_include_pad: counted } };
        let name = self.fresh(node.label().into());
        let value = self.push(&name, op, vec![base], Vec::new())?;
        Ok(Value::Computed(View::plain(value, &self.shapes[value])))
    }

    /// Whether a value can hold nothing below 0.
    fn is_never_negative(&self, value: usize) -> bool {
        let Some(node) = value.checked_sub(1).map(|i| &self.graph.nodes[i]) else { return false };
        match node.op {
            Op::Activation(f) => matches!(f, Activation::Relu | Activation::Relu6 | Activation::Sigmoid | Activation::HardSigmoid),
            Op::MaxPool(_) | Op::AvgPool { .. } => node.inputs.iter().all(|&v| self.is_never_negative(v)),
            _ => false,
        }
    }

    /// The mean or the largest value of each channel.
    pub(super) fn global(&mut self, node: &'a Node) -> Step<Value> {
        let view = self.computed(node, 0)?;
        let rank = view.axes.len() + 1;
        let (gone, keeps): (Vec<usize>, bool) = if node.op == "ReduceMean" {
            let input = self.optional(node, 1)?;
            let axes = dims::axes(node, input.as_deref())?.ok_or("takes the mean over the batch too")?;
            (axes.iter().map(|&a| dims::axis(a, rank)).collect::<Result<_, _>>()?, node.int("keepdims", 1) != 0)
        } else {
            ((2..rank).collect(), true)
        };
        let shape = self.shapes[view.base].clone();
        let &[channels, height, width] = &shape[..] else {
            return Err(format!("takes the mean of a value of {:?}, which is no image", self.full_shape(&view)).into());
        };
        let pixels = height * width;
        let rest: Vec<usize> = (1..rank).filter(|a| !gone.contains(a)).collect();
        let kept = canonical(rest.iter().flat_map(|&a| view.axes[a - 1].iter().copied()));
        if gone.contains(&0) || kept != canonical([Atom { size: channels, stride: pixels }]) {
            return Err("takes the mean over other axes than an image's height and width, which is not supported".into());
        }
        let name = self.fresh(node.label().into());
        let op = if node.op == "GlobalMaxPool" {
            Op::MaxPool(Window { kernel: [height, width], ..Window::square(1, 1, 0) })
        } else {
            Op::GlobalAvgPool
        };
        let value = self.push(&name, op, vec![view.base], Vec::new())?;
        let axis = |a: usize| match gone.contains(&a) {
            true => Vec::new(),
            false => view.axes[a - 1].iter().map(|x| Atom { size: x.size, stride: x.stride / pixels.max(1) }).collect(),
        };
        let axes = (1..rank).filter(|a| keeps || !gone.contains(a)).map(axis).collect();
        Ok(Value::Computed(View { base: value, axes }))
    }
}

/// Rows and columns of padding behind the image that make a size come out that was rounded up. No window may begin in it.
fn rounded_up(window: &Window, size: [usize; 2]) -> [usize; 2] {
    let mut more = [0; 2];
    for (axis, more) in more.iter_mut().enumerate() {
        let (stride, before) = (window.stride[axis].max(1), window.padding[axis]);
        let extent = window.kernel[axis].saturating_sub(1).saturating_mul(window.dilation[axis]).saturating_add(1);
        let padded = size[axis].saturating_add(before).saturating_add(window.padding[axis + 2]);
        let mut count = padded.saturating_sub(extent).div_ceil(stride) + 1;
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
    }

    #[test]
    fn same_padding_puts_the_odd_row_where_it_says() {
        let mut node = Node::new("Conv", "c", &[], "y");
        let text = |s: &str| super::super::super::model::Attribute::Text(s.into());
        node.attributes.insert("auto_pad".into(), text("SAME_UPPER"));
        assert_eq!(window(&node, Some([4, 5]), [9, 9]).ok().map(|w| w.padding), Some([1, 2, 2, 2]));
        node.attributes.insert("auto_pad".into(), text("SAME_LOWER"));
        assert_eq!(window(&node, Some([4, 5]), [9, 9]).ok().map(|w| w.padding), Some([2, 2, 1, 2]));
    }
}
