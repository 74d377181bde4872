//! What transformers need beside products, at the sizes that they have.

use crate::artifact::{Artifact, Layer, Model, Op, TensorData};

/// A network of one operation.
pub(crate) fn network(input: [usize; 3], op: Op, tensors: Vec<TensorData>) -> Artifact {
    let model = Model::new("case", &input.map(|n| n as u32), vec![Layer { name: "op".into(), inputs: vec![0], op }]);
    Artifact::build(model, tensors).unwrap()
}

#[cfg(test)]
mod tests {
    use super::super::cases::Draw;
    use super::super::devices;
    use super::network;
    use crate::artifact::{Artifact, Op, TensorData};
    use crate::{Device, Options, Session, reference};

    /// Runs on poisoned buffers, twice, against f64.
    fn check(device: &Device, artifact: &Artifact, batch: usize, input: &[f32]) {
        let expected = reference::run(artifact, input);
        let mut session = Session::new(device, artifact, &Options { batch, ..Options::default() }).unwrap();
        for _ in 0..2 {
            session.poison();
            let got = session.run(input).unwrap();
            let what = &artifact.model().layers[0].op;
            let shape = &artifact.input().value_shape;
            reference::compare(&expected, &got, artifact.output_len())
                .unwrap_or_else(|e| panic!("{what:?} of {shape:?}, batch {batch} on {}: {e}", device.info()));
        }
    }

    #[test]
    fn attention_agrees_with_f64_at_all_sizes() {
        let cases = [
            // Tokens, heads, channels of a head, samples.
            (1, 1, 16, 1),
            (1, 3, 64, 8),
            (2, 2, 32, 3),
            (5, 3, 16, 2),
            (16, 2, 128, 1),
            (17, 1, 128, 2),
            (49, 4, 24, 4),
            (64, 2, 64, 1),
            (65, 2, 48, 5),
            (65, 1, 18, 2),
            (127, 1, 1, 1),
            (129, 2, 33, 1),
            (196, 1, 80, 2),
            (197, 2, 64, 2),
            (257, 1, 260, 1),
            (577, 1, 64, 1),
            (577, 1, 16, 1),
        ];
        for device in devices() {
            for (key, &(tokens, heads, size, batch)) in (0u64..).zip(&cases) {
                let op = Op::Attention { heads, scale: (size as f32).sqrt().recip() };
                let artifact = network([3 * heads as usize * size, tokens, 1], op, vec![]);
                let input: Vec<f32> = Draw::new(key).values(batch * artifact.input_len()).iter().map(|x| 2.0 * x).collect();
                check(&device, &artifact, batch, &input);
            }
        }
    }

    /// Products of whole numbers are exact in f32, so that only the softmax is judged: scores to ±10⁷ in shares of 4, their
    /// largest anywhere in the row, in both directions.
    #[test]
    fn large_scores_do_not_overflow() {
        for device in devices() {
            for (tokens, offset) in [(7, 0.0), (200, 1024.0), (200, -1024.0)] {
                let (size, pixels) = (16, tokens);
                let artifact = network([3 * size, tokens, 1], Op::Attention { heads: 1, scale: 0.25 }, vec![]);
                let mut draw = Draw::new(tokens as u64);
                let mut whole = |by: f32| (draw.values(1)[0] * by).round();
                let mut input = vec![0.0; artifact.input_len()];
                for pixel in 0..pixels {
                    // One channel makes the scores large, another tells them apart.
                    input[pixel] = 1024.0;
                    input[pixels + pixel] = whole(3.0);
                    input[size * pixels + pixel] = 16.0 * offset;
                    input[(size + 1) * pixels + pixel] = whole(3.0);
                    (0..size).for_each(|c| input[(2 * size + c) * pixels + pixel] = whole(8.0));
                }
                check(&device, &artifact, 1, &input);
                let got = Session::new(&device, &artifact, &Options::default()).unwrap().run(&input).unwrap();
                assert!(got.iter().all(|x| x.is_finite()));
            }
        }
    }

    #[test]
    fn layer_norm_agrees_with_f64_at_all_sizes() {
        for device in devices() {
            for (key, &(channels, tokens, batch)) in
                (0u64..).zip(&[(1, 1, 1), (3, 5, 2), (48, 5, 8), (130, 17, 3), (384, 197, 1), (1023, 2, 1)])
            {
                let mut draw = Draw::new(key);
                let tensors = ["scale", "shift"].map(|name| TensorData::f32(name, &[channels], draw.values(channels)));
                for (eps, mean) in [(1e-6, 0.0), (1e-5, 30.0)] {
                    let artifact = network([channels, tokens, 1], Op::LayerNorm { scale: 0, shift: 1, eps }, tensors.to_vec());
                    let input: Vec<f32> = draw.values(batch * artifact.input_len()).iter().map(|x| 3.0 * x + mean).collect();
                    check(&device, &artifact, batch, &input);
                }
            }
        }
    }
}
