//! What each output position of a weighted layer sums over, laid out as the weight's columns.

use super::folded::{Kernel, Weighted};

/// The patches of one image under a layer without groups as columns, [in·kh·kw, positions] row-major, in the place of what
/// `into` held. `image` is [channels, height, width]; a linear layer sees it whole, as its one patch.
pub(super) fn extract(layer: &Weighted, image: &[f32], into: &mut Vec<f32>) {
    let Kernel { height: kh, width: kw, .. } = layer.kernel;
    into.clear();
    let Some(window) = &layer.window else {
        into.extend_from_slice(image);
        return;
    };
    let ([h, w], [out_h, out_w]) = (layer.input_size, layer.output_size);
    let size = |v: [u32; 2]| v.map(|x| x as usize);
    let (stride, dilation) = (size(window.stride), size(window.dilation));
    let (top, left) = (window.padding[0] as usize, window.padding[1] as usize);
    into.resize(layer.kernel.columns() * out_h * out_w, 0.0);
    for (at, line) in into.chunks_exact_mut((out_h * out_w).max(1)).enumerate() {
        let (plane, ky, kx) = (at / (kh * kw) * h * w, at / kw % kh, at % kw);
        // Output columns whose element lies in the image: left ≤ x·stride + kx·dilation < left + w.
        let shift = kx * dilation[1];
        let first = left.saturating_sub(shift).div_ceil(stride[1].max(1)).min(out_w);
        let last = (left + w).saturating_sub(shift).div_ceil(stride[1].max(1)).clamp(first, out_w);
        for (y, out) in line.chunks_exact_mut(out_w).enumerate() {
            // Rows of the padding stay zero.
            let Some(row) = (y * stride[0] + ky * dilation[0]).checked_sub(top).filter(|row| *row < h) else { continue };
            if first < last {
                let from = plane + row * w + first * stride[1] + shift - left;
                let values = image[from..].iter().step_by(stride[1].max(1));
                out[first..last].iter_mut().zip(values).for_each(|(o, v)| *o = *v);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::Pool;
    use thinfer::artifact::{Activation, Window};

    #[test]
    fn padding_stride_and_dilation_land_where_pytorch_puts_them() {
        let window = Window { kernel: [2, 2], stride: [2, 1], padding: [1, 0, 1, 0], dilation: [1, 2] };
        let layer = Weighted {
            kernel: Kernel { outputs: 1, inputs: 2, height: 2, width: 2 },
            pool: Pool::Conv,
            window: Some(window),
            groups: 1,
            weight: vec![0.0; 8],
            scale: None,
            norms: Vec::new(),
            absorbed: None,
            bias: None,
            residual: None,
            activation: Activation::None,
            input_size: [3, 3],
            output_size: [2, 1],
        };
        let image: Vec<f32> = (0..18).map(|x| x as f32).collect();
        let mut patches = Vec::new();
        extract(&layer, &image, &mut patches);
        // Rows −1 and 0, then 1 and 2; columns 0 and 2 of both channels, 0…8 and 9…17.
        assert_eq!(patches[..8], [0.0, 3.0, 0.0, 5.0, 0.0, 6.0, 2.0, 8.0]);
        assert_eq!(patches[8..], [0.0, 12.0, 0.0, 14.0, 9.0, 15.0, 11.0, 17.0]);
    }
}
