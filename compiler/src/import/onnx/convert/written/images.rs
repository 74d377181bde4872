//! Images read at computed places, put together from their patches, or of several samples at once.

use super::super::{Converter, Step};
use crate::import::onnx::array::{Array, Data};
use crate::import::onnx::node::{Attribute, Node};
use crate::import::onnx::sizes;

/// The most elements of an image that is read at computed places: as many as an f32 counts.
const MOST_PLACES: usize = 1 << 24;

/// What stands beyond an image's edge.
#[derive(Clone, Copy, PartialEq)]
enum Beyond {
    Zeros,
    Border,
    Reflection,
}

/// One of the elements along an axis that an output is made of: its index as a float, its weight, and whether it exists.
#[derive(Clone, Copy)]
struct Tap<'a> {
    index: &'a str,
    weight: Option<&'a str>,
    exists: Option<&'a str>,
}

impl<'a> Converter<'a> {
    pub(super) fn images(&mut self, node: &'a Node) -> Step<Vec<&'a str>> {
        let x = self.input_name(node, 0)?;
        let y = match node.op.as_str() {
            "AffineGrid" => self.affine_grid(node, x)?,
            "Col2Im" => self.patches_together(node, x)?,
            "GridSample" => self.grid_sample(node, x)?,
            "MaxUnpool" => self.unpooled(node, x)?,
            _ => self.blocks_of_several(node, x)?,
        };
        Ok(vec![y])
    }

    /// A constant input of integers.
    fn stated_ints(&self, node: &'a Node, i: usize, what: &str) -> Step<Vec<i64>> {
        let name = self.input_name(node, i)?;
        let known = self.constant_called(name).and_then(|a| a.as_ints().map(<[i64]>::to_vec));
        Ok(known.ok_or_else(|| format!("has {what} that is no constant of integers"))?)
    }

    /// Where an affine map of each image's corners takes its pixels.
    fn affine_grid(&mut self, node: &'a Node, theta: &str) -> Step<&'a str> {
        let size = self.stated_ints(node, 1, "a size")?;
        let size =
            size.iter().map(|&d| usize::try_from(d).ok().filter(|d| *d > 0)).collect::<Option<Vec<_>>>().ok_or("has an empty size")?;
        let [batch, _, ref space @ ..] = size[..] else { return Err(format!("has the size {size:?}").into()) };
        let count = sizes::affordable(space)?;
        let aligned = node.int("align_corners", 0) != 0;
        if self.shape_of(theta)? != [batch, space.len(), space.len() + 1] {
            return Err(format!("has maps of {:?} for the size {size:?}", self.shape_of(theta)?).into());
        }
        if aligned && space.contains(&1) {
            return Err("aligns the corners of an axis of one element".into());
        }
        // Rows of x, y, … and 1, each over all pixels: the last axis of an image is x.
        let mut grid = Vec::with_capacity((space.len() + 1) * count);
        for axis in (0..space.len()).rev() {
            let (length, inner) = (space[axis], space[axis + 1..].iter().product::<usize>());
            let place = |i: usize| {
                let step = if aligned { 2.0 / (length as f64 - 1.0) } else { 2.0 / length as f64 };
                (if aligned { -1.0 } else { -1.0 + step / 2.0 }) + i as f64 * step
            };
            grid.extend((0..count).map(|n| place(n / inner % length) as f32));
        }
        grid.extend(std::iter::repeat_n(1.0, count));
        let grid = self.put_constant(node, Array { shape: vec![space.len() + 1, count], data: Data::Floats(grid) });
        let places = self.put(node, "MatMul", &[theta, grid])?;
        let turned = self.put_transpose(node, places, &[0, 2, 1])?;
        self.put_reshape(node, turned, &[&[batch][..], space, &[space.len()]].concat())
    }

    /// An image read at the places of a grid (ONNX, "GridSample", operator sets 16 to 22).
    fn grid_sample(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let grid = self.input_name(node, 1)?;
        let (shape, of_grid) = (self.shape_of(x)?, self.shape_of(grid)?);
        let (&[batch, channels, ref space @ ..], &[_, ref out @ .., axes]) = (&shape[..], &of_grid[..]) else {
            return Err(format!("reads an image of {shape:?} by a grid of {of_grid:?}").into());
        };
        if axes != space.len() || out.len() != space.len() || space.is_empty() {
            return Err(format!("reads an image of {shape:?} by a grid of {of_grid:?}").into());
        }
        let all: usize = space.iter().product();
        if all >= MOST_PLACES {
            return Err(format!("reads an image of {space:?} at computed places, which is too large").into());
        }
        let mode = node.text("mode").unwrap_or("linear");
        let mode = match mode {
            "bilinear" => "linear",
            "bicubic" => "cubic",
            other => other,
        };
        let beyond = match node.text("padding_mode").unwrap_or("zeros") {
            "zeros" => Beyond::Zeros,
            "border" => Beyond::Border,
            "reflection" => Beyond::Reflection,
            other => return Err(format!("has padding_mode {other:?}").into()),
        };
        let aligned = node.int("align_corners", 0) != 0;
        let count: usize = out.iter().product();
        let mut taps = Vec::with_capacity(axes);
        for (axis, &length) in space.iter().enumerate() {
            // The grid names the last axis first.
            let line = self.put_slice(node, grid, of_grid.len() - 1, axes - 1 - axis..axes - axis)?;
            let line = self.put_reshape(node, line, &[batch, 1, count])?;
            taps.push(self.taps_along(node, line, length, aligned, mode, beyond)?);
        }
        let flat = self.put_reshape(node, x, &[batch, channels, all])?;
        let to = self.put_ints(node, [batch, channels, count].map(|d| d as i64).to_vec());
        // Every combination of the taps of each axis.
        let combinations: usize = taps.iter().map(Vec::len).product();
        let mut sum: Option<&'a str> = None;
        for number in 0..combinations {
            let (mut rest, mut stride) = (number, all);
            let (mut index, mut weight, mut exists): (Option<&'a str>, Option<&'a str>, Option<&'a str>) = (None, None, None);
            for (taps, &length) in taps.iter().zip(space) {
                let tap = taps[rest % taps.len()];
                rest /= taps.len();
                stride /= length;
                let step = self.put_number(node, stride as f32);
                let part = self.put(node, "Mul", &[tap.index, step])?;
                index = Some(self.both(node, "Add", index, Some(part))?.unwrap_or(part));
                weight = self.both(node, "Mul", weight, tap.weight)?;
                exists = self.both(node, "And", exists, tap.exists)?;
            }
            let index = index.ok_or("has no axes")?;
            let whole = self.put_with(node, "Cast", &[index], &[("to", 7.into())])?;
            let whole = self.put(node, "Expand", &[whole, to])?;
            let mut value = self.put_with(node, "GatherElements", &[flat, whole], &[("axis", 2.into())])?;
            if let Some(exists) = exists {
                let zero = self.put_number(node, 0.0);
                value = self.put(node, "Where", &[exists, value, zero])?;
            }
            value = self.both(node, "Mul", Some(value), weight)?.unwrap_or(value);
            sum = self.both(node, "Add", sum, Some(value))?;
        }
        let y = sum.ok_or("has no axes")?;
        self.put_reshape(node, y, &[&[batch, channels][..], out].concat())
    }

    /// `op` of what there is.
    fn both(&mut self, node: &Node, op: &str, a: Option<&'a str>, b: Option<&'a str>) -> Step<Option<&'a str>> {
        match (a, b) {
            (Some(a), Some(b)) => self.put(node, op, &[a, b]).map(Some),
            (one, other) => Ok(one.or(other)),
        }
    }

    /// The elements of an axis of `length` that each place of `line`, from −1 to 1, is made of.
    fn taps_along(&mut self, node: &Node, line: &str, length: usize, aligned: bool, mode: &str, beyond: Beyond) -> Step<Vec<Tap<'a>>> {
        let number = |this: &mut Self, n: f64| this.put_number(node, n as f32);
        let size = length as f64;
        let (one, two) = (number(self, 1.0), number(self, 2.0));
        let from_one = self.put(node, "Add", &[line, one])?;
        let mut place = if aligned {
            let half = self.put(node, "Div", &[from_one, two])?;
            let last = number(self, size - 1.0);
            self.put(node, "Mul", &[half, last])?
        } else {
            let all = number(self, size);
            let scaled = self.put(node, "Mul", &[from_one, all])?;
            let less = self.put(node, "Sub", &[scaled, one])?;
            self.put(node, "Div", &[less, two])?
        };
        if mode == "nearest" {
            place = self.put(node, "Round", &[place])?;
        }
        let ends = if aligned { (0.0, size - 1.0) } else { (-0.5, size - 0.5) };
        place = self.within(node, place, length, ends, beyond)?;
        let (before, weights) = match mode {
            "nearest" => return Ok(vec![self.tap(node, place, None, length, ends, beyond)?]),
            "linear" => (0, 2),
            "cubic" => (1, 4),
            other => return Err(format!("has mode {other:?}").into()),
        };
        let floor = self.put(node, "Floor", &[place])?;
        let fraction = self.put(node, "Sub", &[place, floor])?;
        let mut taps = Vec::with_capacity(weights);
        for tap in 0..weights {
            let offset = tap as f64 - f64::from(before);
            let more = number(self, offset);
            let index = self.put(node, "Add", &[floor, more])?;
            // How far the place is from this element.
            let away = self.put(node, "Sub", &[fraction, more])?;
            let away = self.put(node, "Abs", &[away])?;
            let weight = if weights == 2 { self.put(node, "Sub", &[one, away])? } else { self.keys_weight(node, away, offset)? };
            taps.push(self.tap(node, index, Some(weight), length, ends, beyond)?);
        }
        Ok(taps)
    }

    /// Keys' cubic convolution with a = −3/4 (Keys 1981), of distances below 1 for the two elements beside a place, else of those from 1 to 2.
    fn keys_weight(&mut self, node: &Node, away: &str, offset: f64) -> Step<&'a str> {
        let a = -0.75f64;
        let coefficients = if offset == 0.0 || offset == 1.0 { [a + 2.0, -(a + 3.0), 0.0, 1.0] } else { [a, -5.0 * a, 8.0 * a, -4.0 * a] };
        let mut y = self.put_number(node, coefficients[0] as f32);
        for c in &coefficients[1..] {
            let (product, c) = (self.put(node, "Mul", &[y, away])?, self.put_number(node, *c as f32));
            y = self.put(node, "Add", &[product, c])?;
        }
        Ok(y)
    }

    /// Places beyond the `ends` of an axis brought back, unless zeros are there.
    fn within(&mut self, node: &Node, place: &'a str, length: usize, ends: (f64, f64), beyond: Beyond) -> Step<&'a str> {
        if beyond == Beyond::Zeros {
            return Ok(place);
        }
        if beyond == Beyond::Border || ends.1 <= ends.0 {
            let (low, high) = (self.put_number(node, 0.0), self.put_number(node, length as f32 - 1.0));
            let above = self.put(node, "Max", &[place, low])?;
            let clamped = self.put(node, "Min", &[above, high])?;
            // What is between the ends and the outermost elements stays.
            let (first, last) = (self.put_number(node, ends.0 as f32), self.put_number(node, ends.1 as f32));
            let (early, late) = (self.put(node, "Less", &[place, first])?, self.put(node, "Greater", &[place, last])?);
            let is_out = self.put(node, "Or", &[early, late])?;
            return self.put(node, "Where", &[is_out, clamped, place]);
        }
        // There and back again: a wave of twice the length.
        let (first, last, twice) = (
            self.put_number(node, ends.0 as f32),
            self.put_number(node, ends.1 as f32),
            self.put_number(node, 2.0 * (ends.1 - ends.0) as f32),
        );
        let along = self.put(node, "Sub", &[place, first])?;
        let turns = self.put(node, "Div", &[along, twice])?;
        let turns = self.put(node, "Floor", &[turns])?;
        let whole = self.put(node, "Mul", &[turns, twice])?;
        let phase = self.put(node, "Sub", &[along, whole])?;
        let back = self.put(node, "Sub", &[twice, phase])?;
        let least = self.put(node, "Min", &[phase, back])?;
        let reflected = self.put(node, "Add", &[least, first])?;
        let (early, late) = (self.put(node, "Less", &[place, first])?, self.put(node, "Greater", &[place, last])?);
        let is_out = self.put(node, "Or", &[early, late])?;
        self.put(node, "Where", &[is_out, reflected, place])
    }

    /// The element at an index that may lie beyond the axis.
    fn tap(
        &mut self,
        node: &Node,
        index: &'a str,
        weight: Option<&'a str>,
        length: usize,
        ends: (f64, f64),
        beyond: Beyond,
    ) -> Step<Tap<'a>> {
        let (low, high) = (self.put_number(node, 0.0), self.put_number(node, length as f32 - 1.0));
        let mut exists = None;
        let mut index = index;
        match beyond {
            Beyond::Zeros => {
                let (early, late) = (self.put(node, "GreaterOrEqual", &[index, low])?, self.put(node, "LessOrEqual", &[index, high])?);
                exists = Some(self.put(node, "And", &[early, late])?);
            }
            Beyond::Reflection => index = self.within(node, index, length, ends, beyond)?,
            Beyond::Border => {}
        }
        let above = self.put(node, "Max", &[index, low])?;
        Ok(Tap { index: self.put(node, "Min", &[above, high])?, weight, exists })
    }

    /// Patches added where they overlap: a transposed convolution whose kernels have one element.
    fn patches_together(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let (image, block) = (self.stated_ints(node, 1, "an image")?, self.stated_ints(node, 2, "a block")?);
        let shape = self.shape_of(x)?;
        let axes = image.len();
        let list = |key: &str, default: i64, len: usize| node.ints(key).map_or(vec![default; len], <[i64]>::to_vec);
        let (strides, dilations, pads) = (list("strides", 1, axes), list("dilations", 1, axes), list("pads", 0, 2 * axes));
        if block.len() != axes || strides.len() != axes || dilations.len() != axes || pads.len() != 2 * axes || axes == 0 {
            return Err(format!("has an image of {image:?} and blocks of {block:?}").into());
        }
        let size: i64 = block.iter().product();
        let &[batch, rows, columns] = &shape[..] else { return Err(format!("reads a value of {shape:?}").into()) };
        if size <= 0 || rows as i64 % size != 0 || strides.iter().chain(&dilations).any(|s| *s <= 0) {
            return Err(format!("has {rows} rows for blocks of {block:?}").into());
        }
        let (mut counts, mut more) = (Vec::with_capacity(axes), Vec::with_capacity(axes));
        for i in 0..axes {
            let free = image[i] + pads[i] + pads[i + axes] - dilations[i] * (block[i] - 1) - 1;
            counts.push(usize::try_from(free.div_euclid(strides[i]) + 1).ok().filter(|c| *c > 0).ok_or("has blocks that do not fit")?);
            more.push(free.rem_euclid(strides[i]));
        }
        if counts.iter().product::<usize>() != columns {
            return Err(format!("has {columns} blocks where {counts:?} fit").into());
        }
        let (size, groups) = (size as usize, rows / size as usize);
        let kernel: Vec<usize> = block.iter().map(|b| *b as usize).collect();
        sizes::affordable(&[rows, size])?;
        let ones = (0..rows * size).map(|n| f32::from(u8::from(n / size % size == n % size))).collect();
        let weight = self.put_constant(node, Array { shape: [&[rows, 1][..], &kernel].concat(), data: Data::Floats(ones) });
        let x = self.put_reshape(node, x, &[&[batch, rows][..], &counts].concat())?;
        let attributes: [(&str, Attribute); 6] = [
            ("group", (groups as i64).into()),
            ("kernel_shape", block[..].into()),
            ("strides", strides[..].into()),
            ("dilations", dilations[..].into()),
            ("pads", pads[..].into()),
            ("output_padding", more[..].into()),
        ];
        self.put_with(node, "ConvTranspose", &[x, weight], &attributes)
    }

    /// Elements put back where a pool found them.
    fn unpooled(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let places = self.stated_ints(node, 1, "an array of indices")?;
        let shape = self.shape_of(x)?;
        let &[batch, channels, ref space @ ..] = &shape[..] else { return Err(format!("reads a value of {shape:?}").into()) };
        let kernel = node.ints("kernel_shape").filter(|k| k.len() == space.len()).ok_or("has no kernel_shape")?;
        let (strides, pads) = (node.ints("strides"), node.ints("pads"));
        let list = |values: Option<&[i64]>, i: usize, default: i64| values.and_then(|v| v.get(i).copied()).unwrap_or(default);
        let mut out = vec![batch, channels];
        for (i, &length) in space.iter().enumerate() {
            let size = (length as i64 - 1) * list(strides, i, 1) - list(pads, i, 0) - list(pads, i + space.len(), 0) + kernel[i];
            out.push(usize::try_from(size).ok().filter(|s| *s > 0).ok_or("has an empty output")?);
        }
        let count = sizes::affordable(&out)?;
        let flat = self.put_reshape(node, x, &[shape.iter().product()])?;
        let zeros = self.put_constant(node, Array { shape: vec![count], data: Data::Floats(vec![0.0; count]) });
        let places = places.iter().map(|&p| usize::try_from(p).ok().filter(|p| *p < count).ok_or("has an index beyond its output"));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let y = self.scattered(node, zeros, flat, &places, "none")?;
        let y = self.put_reshape(node, y, &out)?;
        let Some(wanted) = node.input(2).map(|_| self.stated_ints(node, 2, "an output shape")).transpose()? else { return Ok(y) };
        if wanted.len() != out.len() || wanted.iter().zip(&out).any(|(w, o)| *w < *o as i64) {
            return Err(format!("makes {wanted:?} of {out:?}").into());
        }
        let pads = std::iter::repeat_n(0, out.len()).chain(wanted.iter().zip(&out).map(|(w, o)| w - *o as i64)).collect();
        let pads = self.put_ints(node, pads);
        self.put(node, "Pad", &[y, pads])
    }

    /// Blocks of pixels as channels, or channels as blocks of pixels, of several images.
    fn blocks_of_several(&mut self, node: &'a Node, x: &str) -> Step<&'a str> {
        let shape = self.shape_of(x)?;
        let &[batch, channels, height, width] = &shape[..] else {
            return Err(format!("reads a value of {shape:?}, which is no image").into());
        };
        let block = usize::try_from(node.int("blocksize", 0)).ok().filter(|b| *b > 0).ok_or("has no blocksize")?;
        let to_space = node.op == "DepthToSpace";
        let is_dcr = match node.text("mode").unwrap_or("DCR") {
            "DCR" => true,
            "CRD" => false,
            mode => return Err(format!("has mode {mode:?}").into()),
        };
        let fits = if to_space { channels % (block * block) == 0 } else { height % block == 0 && width % block == 0 };
        if !fits {
            return Err(format!("has blocks of {block} for a value of {shape:?}").into());
        }
        let depth = channels / (block * block);
        let (apart, order, out): ([usize; 6], [usize; 6], [usize; 4]) = match (to_space, is_dcr) {
            (true, true) => {
                ([batch, block, block, depth, height, width], [0, 3, 4, 1, 5, 2], [batch, depth, height * block, width * block])
            }
            (true, false) => {
                ([batch, depth, block, block, height, width], [0, 1, 4, 2, 5, 3], [batch, depth, height * block, width * block])
            }
            (false, is_dcr) => (
                [batch, channels, height / block, block, width / block, block],
                if is_dcr { [0, 3, 5, 1, 2, 4] } else { [0, 1, 3, 5, 2, 4] },
                [batch, channels * block * block, height / block, width / block],
            ),
        };
        let apart = self.put_reshape(node, x, &apart)?;
        let turned = self.put_transpose(node, apart, &order)?;
        self.put_reshape(node, turned, &out)
    }
}
