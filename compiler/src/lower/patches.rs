//! What each output position of a weighted layer sums over, laid out as the weight's columns.

use super::folded::{Kernel, Weighted};

/// The patches of one image, [positions, in·kh·kw] of group `group`, appended to `into`. `image` is [channels, height,
/// width]; a linear layer sees it whole, as its one patch.
pub(super) fn extract(layer: &Weighted, group: usize, image: &[f32], into: &mut Vec<f32>) {
    let Kernel { inputs, height: kh, width: kw, .. } = layer.kernel;
    let Some(window) = &layer.window else {
        into.extend_from_slice(image);
        return;
    };
    let ([h, w], [out_h, out_w]) = (layer.input_size, layer.output_size);
    let image = &image[group * inputs * h * w..(group + 1) * inputs * h * w];
    let size = |v: [u32; 2]| v.map(|x| x as usize);
    let (stride, dilation) = (size(window.stride), size(window.dilation));
    let (top, left) = (window.padding[0] as usize, window.padding[1] as usize);
    let start = into.len();
    let columns = layer.kernel.columns();
    into.resize(start + out_h * out_w * columns, 0.0);
    for (at, patch) in into[start..].chunks_exact_mut(columns).enumerate() {
        let (y0, x0) = (at / out_w * stride[0], at % out_w * stride[1]);
        for (c, plane) in image.chunks_exact(h * w).enumerate() {
            for ky in 0..kh {
                // Rows and columns of the padding stay zero.
                let Some(y) = (y0 + ky * dilation[0]).checked_sub(top).filter(|y| *y < h) else { continue };
                for kx in 0..kw {
                    if let Some(x) = (x0 + kx * dilation[1]).checked_sub(left).filter(|x| *x < w) {
                        patch[(c * kh + ky) * kw + kx] = plane[y * w + x];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thinfer::artifact::{Activation, Window};

    #[test]
    fn padding_stride_and_dilation_land_where_pytorch_puts_them() {
        let window = Window { kernel: [2, 2], stride: [2, 1], padding: [1, 0, 1, 0], dilation: [1, 2] };
        let layer = Weighted {
            kernel: Kernel { outputs: 1, inputs: 1, height: 2, width: 2 },
            window: Some(window),
            groups: 2,
            weight: vec![0.0; 4],
            scale: None,
            bias: None,
            residual: None,
            activation: Activation::None,
            input_size: [3, 3],
            output_size: [2, 1],
        };
        let image: Vec<f32> = (0..18).map(|x| x as f32).collect();
        let mut patches = Vec::new();
        extract(&layer, 1, &image, &mut patches);
        // Rows −1 and 0, then 1 and 2; columns 0 and 2 of the second channel, 9…17.
        assert_eq!(patches, [0.0, 0.0, 9.0, 11.0, 12.0, 14.0, 15.0, 17.0]);
    }
}
