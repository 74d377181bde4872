//! The shape that each op gives, and what must hold for it.

mod inputs;
mod layers;
mod primitives;
mod weights;
mod windows;

use super::{Model, Op};
use inputs::{channelled, check_activation, exactly, image};
use layers::{attention, check_eps, check_groups, concatenation, embedding, pool, product, recurrent};
use weights::{conv_weight, expect, expect_bias, linear_weight};
use windows::{check_residual, check_steps, moved, narrow};

/// The output's shape of `op` over values of these shapes; the one thing that is wrong as a sentence.
pub(super) fn output_shape(model: &Model, op: &Op, inputs: &[&Vec<usize>]) -> Result<Vec<u32>, String> {
    match op {
        Op::Linear { weight, bias, activation } => {
            let [input] = exactly("a linear layer", inputs)?;
            let (outputs, features) = linear_weight(model, weight)?;
            if input.iter().product::<usize>() != features as usize {
                return Err(format!("takes {features} features, its input has shape {input:?}"));
            }
            expect_bias(model, *bias, outputs)?;
            check_activation(*activation)?;
            Ok(vec![outputs])
        }
        Op::Conv { window, outputs, groups, weight, bias, residual, activation } => {
            let shape = match residual {
                None => exactly::<1>("a convolution", inputs)?[0],
                Some(_) => exactly::<2>("a convolution with a residual", inputs)?[0],
            };
            let [channels, height, width] = image(shape)?;
            if *outputs == 0 {
                return Err("has no output channels".into());
            }
            check_groups(*groups, channels, *outputs, weight)?;
            let [height, width] = moved(window, height, width)?;
            conv_weight(model, weight, *outputs, channels / groups, window.kernel)?;
            expect_bias(model, *bias, *outputs)?;
            check_activation(*activation)?;
            let shape = [*outputs, height, width];
            if let (Some(residual), Some(second)) = (residual, inputs.get(1)) {
                check_residual(*residual, second, &shape)?;
            }
            Ok(shape.to_vec())
        }
        Op::Pool { kind, window } => pool(*kind, window, inputs),
        Op::GlobalAveragePool => {
            let [input] = exactly("a global average pool", inputs)?;
            Ok(vec![image(input)?[0]])
        }
        Op::Add { residual, activation } => {
            let [first, second] = exactly("a sum", inputs)?;
            let shape = narrow(first)?;
            check_activation(*activation)?;
            check_residual(*residual, second, &shape)?;
            Ok(shape)
        }
        Op::Activate(activation) => {
            let [input] = exactly("an activation", inputs)?;
            check_activation(*activation)?;
            narrow(input)
        }
        Op::Affine { scale, shift, activation } => {
            let [input] = exactly("a scale and shift", inputs)?;
            let shape = channelled(input)?;
            expect(model, *scale, &shape[..1], "scale")?;
            expect(model, *shift, &shape[..1], "shift")?;
            check_activation(*activation)?;
            Ok(shape)
        }
        Op::Concat { activation } => concatenation(*activation, inputs),
        Op::Softmax { .. } => {
            let [input] = exactly("a softmax", inputs)?;
            channelled(input)
        }
        Op::Rearrange { shape, offset, steps } => {
            let [input] = exactly("a rearrangement", inputs)?;
            check_steps(shape, *offset, steps, input)?;
            Ok(shape.clone())
        }
        Op::Multiply { activation } => product(*activation, inputs),
        Op::LayerNorm { scale, shift, eps } => {
            let [input] = exactly("a layer normalisation", inputs)?;
            let shape = channelled(input)?;
            expect(model, *scale, &shape[..1], "scale")?;
            expect(model, *shift, &shape[..1], "shift")?;
            check_eps(*eps)?;
            Ok(shape)
        }
        Op::Attention { heads, scale } => attention(inputs, *heads, *scale),
        Op::Embed { table } => embedding(model, *table, inputs),
        Op::Constant { tensor } => {
            let [] = exactly("a constant", inputs)?;
            model
                .tensors
                .get(*tensor as usize)
                .map(|t| t.shape.clone())
                .ok_or_else(|| format!("names tensor {tensor}, which does not exist"))
        }
        Op::Primitive(primitive) => {
            let shapes: Vec<&[usize]> = inputs.iter().map(|i| i.as_slice()).collect();
            primitive.output_shape(&shapes)
        }
        Op::Recurrent(r) => recurrent(model, r, inputs),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Activation, Artifact, Layer, Model, Op, PoolKind, Residual, Stride, TensorData, Weight, Window};

    const WINDOW: Window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4], dilation: [1, 1] };

    /// Tensors of a 3×3 kernel from 4 to 6 channels in every form.
    fn tensors() -> Vec<TensorData> {
        let shapes: [&[usize]; 12] = [
            &[6, 4, 3, 3],
            &[6],
            &[5, 4, 3, 3],
            &[5, 6],
            &[5],
            &[5, 4, 3],
            &[5, 6, 3],
            &[2, 4],
            &[3, 2, 3, 3],
            &[3, 6],
            &[6, 2, 3, 3],
            &[7, 4, 3, 3],
        ];
        let mut tensors: Vec<_> = shapes.iter().map(|s| TensorData::f32("t", s, vec![0.5; s.iter().product()])).collect();
        tensors.push(TensorData::f32("wide", &[7, 6], vec![0.5; 42]));
        tensors.push(TensorData::f32("seven", &[7], vec![0.5; 7]));
        tensors.push(TensorData::f32("table", &[6, 3], vec![0.5; 18]));
        tensors
    }

    const LOW_RANK: Weight = Weight::LowRank { v: 2, u: 3, sigma: 4, tail_energy: 0.0 };
    const SPATIAL: Weight = Weight::Spatial { v: 5, u: 6, sigma: 4, tail_energy: 0.0 };
    const TUCKER: Weight = Weight::Tucker2 { a: 7, core: 8, b: 9, tail_energy: 0.0 };

    fn conv(weight: Weight) -> Op {
        let (bias, activation) = (Some(1), Activation::Relu);
        Op::Conv { window: WINDOW, outputs: 6, groups: 1, weight, bias, residual: None, activation }
    }

    fn step(size: u32, stride: u32) -> Stride {
        Stride { size, stride }
    }

    fn layer(inputs: &[u32], op: Op) -> Layer {
        Layer { name: "layer".into(), inputs: inputs.to_vec(), op }
    }

    fn build(layers: Vec<Layer>) -> Result<Artifact, String> {
        let model = Model::new("shapes", &[4, 9, 7], layers);
        Artifact::build(model, tensors()).map_err(|e| e.to_string())
    }

    #[test]
    fn shapes_follow_every_op() {
        let strided = Window { stride: [2, 2], ..WINDOW };
        let down = Op::Conv {
            window: strided,
            outputs: 6,
            groups: 1,
            weight: Weight::Dense(0),
            bias: None,
            residual: Some(Residual { stride: 2, offset: 1 }),
            activation: Activation::LeakyRelu(0.1),
        };
        let add = Op::Add { residual: Residual { stride: 1, offset: 0 }, activation: Activation::None };
        let built = build(vec![
            layer(&[0], conv(LOW_RANK)),
            layer(&[0], conv(SPATIAL)),
            layer(&[0], conv(TUCKER)),
            layer(&[1, 2], add),
            layer(&[0, 0], down),
            layer(&[5], Op::Pool { kind: PoolKind::Max, window: Window { padding: [0; 4], ..strided } }),
            layer(&[6], Op::Activate(Activation::Gelu)),
            layer(&[7], Op::GlobalAveragePool),
            layer(&[7, 6], Op::Concat { activation: Activation::None }),
            layer(&[8, 8], Op::Concat { activation: Activation::Relu }),
            layer(&[8], Op::Affine { scale: 1, shift: 1, activation: Activation::Relu }),
            layer(&[11], Op::Softmax { log: true }),
            layer(&[7], Op::Rearrange { shape: vec![2, 3, 1], offset: 2, steps: vec![step(3, 2), step(2, 5)] }),
            layer(&[7, 8], Op::Multiply { activation: Activation::None }),
            layer(&[14, 7], Op::Multiply { activation: Activation::Relu }),
            layer(&[11], Op::LayerNorm { scale: 1, shift: 1, eps: 0.0 }),
            layer(&[1, 7, 7], Op::Attention { heads: 2, scale: 0.5 }),
            layer(&[9], Op::Attention { heads: 4, scale: 0.5 }),
            layer(&[7], Op::Embed { table: 14 }),
        ]);
        let shapes = built.unwrap().shapes().to_vec();
        let same = vec![6, 9, 7];
        assert_eq!(
            shapes[1..],
            [
                same.clone(),
                same.clone(),
                same.clone(),
                same,
                vec![6, 5, 4],
                vec![6, 2, 1],
                vec![6, 2, 1],
                vec![6],
                vec![12, 2, 1],
                vec![12],
                vec![6],
                vec![6],
                vec![2, 3, 1],
                vec![6, 2, 1],
                vec![6, 2, 1],
                vec![6],
                vec![6, 9, 7],
                vec![4, 2, 1],
                vec![6, 3, 1]
            ]
        );
    }

    #[test]
    fn each_lie_about_a_convolution_is_refused_by_name() {
        type Lie = (&'static str, fn(&mut Op));
        fn window(op: &mut Op) -> &mut Window {
            let Op::Conv { window, .. } = op else { panic!("a convolution") };
            window
        }
        fn weight(op: &mut Op, to: Weight) {
            let Op::Conv { weight, .. } = op else { panic!("a convolution") };
            *weight = to;
        }
        let lies: [Lie; 21] = [
            ("its kernel is [3, 0]", |o| window(o).kernel[1] = 0),
            ("its stride is [0, 1]", |o| window(o).stride[0] = 0),
            ("its dilation is [1, 0]", |o| window(o).dilation[1] = 0),
            ("larger than 4096", |o| window(o).stride[0] = u32::MAX),
            ("larger than 4096", |o| window(o).dilation[0] = u32::MAX),
            ("not below the 3 elements", |o| window(o).padding[3] = 3),
            ("its padded input has fewer along axis 1", |o| window(o).dilation[1] = 5),
            ("weight has shape [6, 4, 3, 3] instead of [6, 4, 5, 3]", |o| window(o).kernel[0] = 5),
            ("weight has shape [6]", |o| weight(o, Weight::Dense(1))),
            ("factor V has shape [5, 4, 3], not four axes", |o| weight(o, Weight::LowRank { v: 5, u: 3, sigma: 4, tail_energy: 0.0 })),
            ("factor U has shape [5, 6, 3]", |o| weight(o, Weight::LowRank { v: 2, u: 6, sigma: 4, tail_energy: 0.0 })),
            ("rank 7 is above 6", |o| weight(o, Weight::LowRank { v: 11, u: 12, sigma: 13, tail_energy: 0.0 })),
            ("factor V has shape [5, 6, 3]", |o| weight(o, Weight::Spatial { v: 6, u: 6, sigma: 4, tail_energy: 0.0 })),
            ("singular values has shape [6]", |o| weight(o, Weight::Spatial { v: 5, u: 6, sigma: 1, tail_energy: 0.0 })),
            ("Tucker factor A has shape [3, 6]", |o| weight(o, Weight::Tucker2 { a: 9, core: 8, b: 9, tail_energy: 0.0 })),
            ("Tucker core has shape [2, 4], not four axes", |o| weight(o, Weight::Tucker2 { a: 7, core: 7, b: 9, tail_energy: 0.0 })),
            ("tail energy NaN", |o| weight(o, Weight::Tucker2 { a: 7, core: 8, b: 9, tail_energy: f32::NAN })),
            ("0 groups do not divide", |o| {
                if let Op::Conv { groups, .. } = o {
                    *groups = 0
                }
            }),
            ("only dense weights", |o| {
                if let Op::Conv { groups, weight, .. } = o {
                    (*groups, *weight) = (2, LOW_RANK)
                }
            }),
            ("no output channels", |o| {
                if let Op::Conv { outputs, .. } = o {
                    *outputs = 0
                }
            }),
            ("slope of its leaky ReLU is NaN", |o| {
                if let Op::Conv { activation, .. } = o {
                    *activation = Activation::LeakyRelu(f32::NAN);
                }
            }),
        ];
        for (expected, lie) in lies {
            let mut op = conv(Weight::Dense(0));
            lie(&mut op);
            let error = build(vec![layer(&[0], op)]).unwrap_err();
            assert!(error.contains(expected), "{expected:?} not in {error:?}");
        }
    }

    #[test]
    fn each_lie_about_what_fits_is_refused_by_name() {
        let rearrange = |shape, offset, steps| Op::Rearrange { shape, offset, steps };
        let residual = |stride, offset| Op::Add { residual: Residual { stride, offset }, activation: Activation::None };
        let pool = |kind, window| Op::Pool { kind, window };
        let first = || layer(&[0], conv(Weight::Dense(0)));
        let dilated = Window { kernel: [2, 2], dilation: [9, 1], padding: [8, 0, 9, 0], ..WINDOW };
        let vector = || vec![first(), layer(&[1], Op::GlobalAveragePool)];
        let lies = [
            ("does not fit [4, 9, 7]", vec![first(), layer(&[0, 1], residual(1, 0))]),
            ("does not fit [6, 9, 7]", vec![first(), layer(&[1, 0], residual(1, 3))]),
            ("does not fit [6, 9, 7]", vec![first(), layer(&[1, 0], residual(1, u32::MAX))]),
            ("does not fit [6, 9, 7]", vec![first(), layer(&[1, 0], residual(2, 0))]),
            ("its residual has stride 0", vec![first(), layer(&[1, 0], residual(0, 0))]),
            ("a sum reads 2 values, not 1", vec![layer(&[0], residual(1, 0))]),
            ("an average pool has no dilation", vec![layer(&[0], pool(PoolKind::Average, Window { dilation: [2, 1], ..WINDOW }))]),
            (
                "holds nothing but padding",
                vec![
                    layer(&[0], pool(PoolKind::Max, Window { kernel: [9, 1], padding: [0; 4], ..WINDOW })),
                    layer(&[1], pool(PoolKind::Max, dilated)),
                ],
            ),
            ("reads images", [vector(), vec![layer(&[2], Op::GlobalAveragePool)]].concat()),
            ("reads images", [vector(), vec![layer(&[2], conv(Weight::Dense(0)))]].concat()),
            ("a convolution reads 1 value, not 2", vec![layer(&[0, 0], conv(Weight::Dense(0)))]),
            ("scale has shape [5]", vec![first(), layer(&[1], Op::Affine { scale: 4, shift: 1, activation: Activation::None })]),
            ("shift has shape [5]", vec![first(), layer(&[1], Op::Affine { scale: 1, shift: 4, activation: Activation::None })]),
            ("slope", vec![first(), layer(&[1, 1], Op::Concat { activation: Activation::LeakyRelu(f32::NAN) })]),
            ("a concatenation reads 2 values, not 1", vec![layer(&[0], Op::Concat { activation: Activation::None })]),
            ("cannot stand side by side", [vector(), vec![layer(&[1, 2], Op::Concat { activation: Activation::None })]].concat()),
            ("a softmax reads 1 value, not 2", vec![layer(&[0, 0], Op::Softmax { log: false })]),
            ("gives 5 elements for a shape of [6]", vec![first(), layer(&[1], rearrange(vec![6], 0, vec![step(5, 1)]))]),
            ("reaches element 378 of 378", vec![first(), layer(&[1], rearrange(vec![6], 373, vec![step(6, 1)]))]),
            ("reaches element", vec![first(), layer(&[1], rearrange(vec![2, 2], u32::MAX, vec![step(2, u32::MAX), step(2, u32::MAX)]))]),
            ("axes", vec![first(), layer(&[1], rearrange(vec![], 0, vec![]))]),
            ("scale has shape [5]", vec![first(), layer(&[1], Op::LayerNorm { scale: 4, shift: 1, eps: 0.0 })]),
            ("adds NaN to its variance", vec![first(), layer(&[1], Op::LayerNorm { scale: 1, shift: 1, eps: f32::NAN })]),
            ("reads 1 or 3 values, not 2", vec![first(), layer(&[1, 1], Op::Attention { heads: 1, scale: 1.0 })]),
            ("4 heads do not divide 6", vec![first(), layer(&[1, 1, 1], Op::Attention { heads: 4, scale: 1.0 })]),
            ("0 heads", vec![first(), layer(&[1, 1, 1], Op::Attention { heads: 0, scale: 1.0 })]),
            ("keys of [4, 9, 7]", vec![first(), layer(&[1, 0, 1], Op::Attention { heads: 1, scale: 1.0 })]),
            ("4 channels are no queries", vec![layer(&[0], Op::Attention { heads: 1, scale: 1.0 })]),
            ("products by inf", vec![first(), layer(&[1], Op::Attention { heads: 1, scale: f32::INFINITY })]),
            ("does not fit [6, 9, 7]", vec![first(), layer(&[1], Op::Embed { table: 14 })]),
            ("reads images", [vector(), vec![layer(&[2], Op::Embed { table: 14 })]].concat()),
            ("cannot multiply", [vector(), vec![layer(&[2, 1], Op::Multiply { activation: Activation::None })]].concat()),
            ("is dense or low-rank", vec![layer(&[0], Op::Linear { weight: TUCKER, bias: None, activation: Activation::None })]),
        ];
        for (expected, layers) in lies {
            let error = build(layers).unwrap_err();
            assert!(error.contains(expected), "{expected:?} not in {error:?}");
        }
    }
}
