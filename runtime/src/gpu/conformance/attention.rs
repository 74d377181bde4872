//! Every variant of the kernels for attention and layer normalisation, against f64 on poisoned buffers.

use super::gpus;
use crate::artifact::{Artifact, Op, TensorData};
use crate::conformance::cases::Draw;
use crate::conformance::transformer;
use crate::gpu::{Executor, Gpu};
use crate::plan::{Form, Plan};
use crate::reference;

/// Runs `artifact` by `kernel` on `batch` drawn samples, twice.
fn check(gpu: &Gpu, artifact: &Artifact, batch: usize, kernel: &'static thinfer_shaders::Kernel) {
    let input: Vec<f32> = Draw::new(3).values(batch * artifact.input_len()).iter().map(|x| 2.0 * x).collect();
    let expected = reference::run(artifact, &input);
    let plan = Plan::new(artifact, batch, |_| Form::Dense).unwrap();
    let mut executor = Executor::with(gpu, artifact, &plan, &|_| Some(kernel)).unwrap();
    for _ in 0..2 {
        executor.poison();
        let mut got = vec![f32::NAN; batch * artifact.output_len()];
        executor.run_one(&input, batch, &mut got).unwrap();
        let compared = reference::compare(&expected, &got, artifact.output_len());
        compared.unwrap_or_else(|e| panic!("{} of {:?}, batch {batch}: {e}", kernel.name, artifact.input().value_shape));
    }
}

#[test]
fn every_variant_of_attention_agrees_with_f64() {
    for gpu in gpus() {
        for kernel in gpu.variants("attention").chain(gpu.variants("attention_lanes")) {
            for (tokens, heads, size, batch) in
                [(1, 1, 4, 1), (7, 3, 16, 3), (17, 2, 64, 1), (70, 1, 80, 2), (131, 1, 36, 1), (33, 1, 132, 1)]
            {
                let op = Op::Attention { heads, scale: (size as f32).sqrt().recip() };
                let artifact = transformer::network([3 * heads as usize * size, tokens, 1], op, vec![]);
                check(&gpu, &artifact, batch, kernel);
            }
        }
    }
}

#[test]
fn every_variant_of_layer_norm_agrees_with_f64() {
    for gpu in gpus() {
        for kernel in gpu.variants("layer_norm") {
            for (channels, tokens, batch) in [(1, 1, 1), (31, 5, 2), (257, 3, 1), (1024, 2, 1)] {
                let tensors = ["scale", "shift"].map(|name| TensorData::f32(name, &[channels], Draw::new(1).values(channels)));
                let op = Op::LayerNorm { scale: 0, shift: 1, eps: 1e-5 };
                check(&gpu, &transformer::network([channels, tokens, 1], op, tensors.to_vec()), batch, kernel);
            }
        }
    }
}
