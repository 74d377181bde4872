//! Kernels of primitives in every variant and with both kinds of storage, against f64 on poisoned buffers; functions at the ends of their domains.

use super::gpus;
use crate::artifact::{
    Activation, Artifact, Binary, Input, InputKind, Instruction, Layer, Map, MatMul, Model, Op, Primitive, Reduce, ReduceKind, SoftmaxOver,
    Unary, Walk,
};
use crate::conformance::primitive_cases::PrimitiveCase;
use crate::gpu::ops::candidates;
use crate::gpu::{Executor, Gpu};
use crate::noise::noise;
use crate::plan::{Form, Plan, Step};
use crate::reference;
use thinfer_shaders::Kernel;

/// Runs `artifact` on samples of each input, each step by the `variant`-th of its kernels, on poisoned buffers, twice.
fn run(gpu: &Gpu, artifact: &Artifact, inputs: &[&[f32]], variant: usize) -> Vec<f32> {
    let rows = inputs[0].len() / artifact.inputs()[0].value_shape.iter().map(|&d| d as usize).product::<usize>();
    let plan = Plan::new(artifact, rows, |_| Form::Dense).unwrap();
    let kernel = |step: &Step| -> Option<&'static Kernel> {
        let all = candidates(gpu, rows, step);
        all.get(variant % all.len().max(1)).map(|c| c.kernel)
    };
    let mut executor = Executor::with(gpu, artifact, &plan, &|at| kernel(&plan.steps[at])).unwrap();
    let mut output = vec![f32::NAN; rows * plan.outputs[0].len()];
    for _ in 0..2 {
        output.fill(f32::NAN);
        executor.poison();
        executor.run(rows, |n, slot, buffer| slot.fill(inputs[n], buffer), |_, slot, buffer| slot.read(buffer, &mut output)).unwrap();
    }
    output
}

/// A network of one primitive over plain inputs of `lens` elements.
fn network(lens: &[usize], primitive: Primitive) -> Artifact {
    let inputs: Vec<u32> = (0..lens.len() as u32).collect();
    let layers = vec![Layer { name: "primitive".into(), inputs, op: Op::Primitive(primitive) }];
    let mut model = Model::new("primitive", &[lens[0] as u32], layers);
    model.inputs = lens.iter().map(|&n| Input { kind: InputKind::Features, ..Input::new(&[n as u32]) }).collect();
    for (at, input) in model.inputs.iter_mut().enumerate() {
        input.spec.name = format!("x{at}");
    }
    Artifact::build(model, Vec::new()).unwrap()
}

#[test]
fn every_variant_of_primitives_agrees_with_f64() {
    for gpu in gpus() {
        for key in 1000..1060 {
            let case = PrimitiveCase::draw(key);
            let inputs: Vec<&[f32]> = case.inputs.iter().map(|x| &x[..]).collect();
            let expected = reference::values(&case.artifact, &inputs).pop().unwrap();
            for variant in 0..2 {
                let got = run(&gpu, &case.artifact, &inputs, variant);
                expected
                    .compare(&got)
                    .unwrap_or_else(|e| panic!("case {key}, {:?}: {e}\n{:#?}", gpu.storage(), case.artifact.model().layers));
            }
        }
    }
}

/// Long rows, few of them, and matrices of many tiles, in every variant.
#[test]
fn long_reductions_and_large_products_agree_with_f64() {
    let plain = |strides: &[i32]| Walk { offset: 0, strides: strides.to_vec() };
    let reduce = |kind| Reduce { kind, shape: vec![3], over: vec![20_001], operand: plain(&[20_001, 1]) };
    let kinds = [
        ReduceKind::Sum,
        ReduceKind::Mean,
        ReduceKind::Max,
        ReduceKind::LogSumExp,
        ReduceKind::L2,
        ReduceKind::ArgMax { last: false },
        ReduceKind::ArgMin { last: true },
    ];
    let mut cases: Vec<(Vec<usize>, Primitive)> = kinds.map(|kind| (vec![60_003], Primitive::Reduce(reduce(kind)))).to_vec();
    for (axis, log) in [(0, false), (1, true)] {
        let operand = plain(&[1001, 1]);
        cases.push((vec![7 * 1001], Primitive::Softmax(SoftmaxOver { shape: vec![7, 1001], axis, log, operand })));
    }
    for (rows, inner, columns, b) in [(67, 600, 71, [71, 1]), (40, 64, 36, [1, 64]), (64, 32, 64, [64, 1])] {
        let product = MatMul {
            batch: vec![2],
            rows,
            columns,
            inner,
            a: plain(&[0, inner as i32, 1]),
            b: plain(&[(inner * columns) as i32, b[0], b[1]]),
        };
        cases.push((vec![(rows * inner) as usize, (2 * inner * columns) as usize], Primitive::MatMul(product)));
    }
    for gpu in gpus() {
        for (lens, primitive) in &cases {
            let artifact = network(lens, primitive.clone());
            let inputs: Vec<Vec<f32>> = lens.iter().map(|n| noise(2 * n)).collect();
            let inputs: Vec<&[f32]> = inputs.iter().map(|x| &x[..]).collect();
            let expected = reference::values(&artifact, &inputs).pop().unwrap();
            for variant in 0..2 {
                let got = run(&gpu, &artifact, &inputs, variant);
                expected.compare(&got).unwrap_or_else(|e| panic!("{primitive:?}, variant {variant}, {:?}: {e}", gpu.storage()));
            }
        }
    }
}

/// y = f(x0, x1) of all pairs.
fn mapped(gpu: &Gpu, f: Instruction, a: &[f32], b: &[f32]) -> Vec<f32> {
    let walk = || Walk { offset: 0, strides: vec![1] };
    let instructions = vec![Instruction::Operand(0), Instruction::Operand(1), f];
    let map = Map { shape: vec![a.len() as u32], operands: vec![walk(), walk()], instructions };
    run(gpu, &network(&[a.len(), b.len()], Primitive::Map(map)), &[a, b], 0)
}

#[test]
fn functions_keep_their_accuracy_at_the_ends_of_their_domains() {
    const INF: f32 = f32::INFINITY;
    let spread: Vec<f32> = (-60..=60).map(|i| 1.37f32.powi(i)).flat_map(|x| [x, -x]).chain([0.0, INF, -INF, f32::NAN]).collect();
    /// A function, what it is, and how large an argument may be.
    type Function = (Unary, fn(f64) -> f64, f64);
    let functions: [Function; 12] = [
        (Unary::Sin, f64::sin, 1e5),
        (Unary::Cos, f64::cos, 1e5),
        (Unary::Tan, f64::tan, 100.0),
        (Unary::Asin, f64::asin, 1e30),
        (Unary::Acos, f64::acos, 1e30),
        (Unary::Atan, f64::atan, 1e30),
        (Unary::Sinh, f64::sinh, 1e30),
        (Unary::Cosh, f64::cosh, 1e30),
        (Unary::Asinh, f64::asinh, 1e30),
        (Unary::Acosh, f64::acosh, 1e30),
        (Unary::Atanh, f64::atanh, 1e30),
        (Unary::Sign, |x| if x == 0.0 || x.is_nan() { x } else { x.signum() }, 1e30),
    ];
    for gpu in gpus() {
        for (f, exact, most) in functions {
            let got = mapped(&gpu, Instruction::Unary(f, 0), &spread, &spread);
            for (&x, &got) in spread.iter().zip(&got) {
                if f64::from(x.abs()) > most && x.is_finite() {
                    continue;
                }
                let want = exact(x.into());
                // Near 0 the share of the value counts, for those that vanish there.
                let off = if f == Unary::Tan { 2e-5 } else { 4e-6 };
                let floor = if matches!(f, Unary::Sin | Unary::Cos | Unary::Acos | Unary::Tan) { 1e-6 } else { 0.0 };
                let same = if want.is_nan() {
                    got.is_nan()
                } else {
                    f64::from(got) == f64::from(want as f32) || (f64::from(got) - want).abs() <= off * want.abs() + floor
                };
                assert!(same, "{f:?}({x}) = {got}, not {want}, {:?}", gpu.storage());
            }
        }
    }
}

#[test]
fn powers_and_remainders_are_exact_where_they_can_be() {
    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    let check = |gpu: &Gpu, f: Binary, cases: &[(f32, f32, f32)]| {
        let (a, b): (Vec<f32>, Vec<f32>) = cases.iter().map(|c| (c.0, c.1)).unzip();
        for (&(a, b, want), got) in cases.iter().zip(mapped(gpu, Instruction::Binary(f, 0, 1), &a, &b)) {
            assert!(got == want || got.is_nan() && want.is_nan(), "{f:?}({a}, {b}) = {got}, not {want}, {:?}", gpu.storage());
        }
    };
    let powers = [
        (2.0, 3.0, 8.0),
        (-2.0, 3.0, -8.0),
        (-2.0, 2.0, 4.0),
        (-3.0, 5.0, -243.0),
        (3.0, 4.0, 81.0),
        (2.0, -2.0, 0.25),
        (2.0, 0.5, std::f32::consts::SQRT_2),
        (-2.0, 0.5, NAN),
        (0.0, 0.0, 1.0),
        (0.0, 2.5, 0.0),
        (0.0, -1.0, INF),
        (1.0, INF, 1.0),
        (0.5, INF, 0.0),
        (2.0, INF, INF),
        (2.0, -INF, 0.0),
        (INF, 0.5, INF),
        (INF, -2.0, 0.0),
        (-INF, 3.0, -INF),
        (NAN, 0.0, 1.0),
        (NAN, 1.5, NAN),
        (10.0, 38.0, 1e38),
        (10.0, 39.0, INF),
    ];
    let remainders =
        [(5.5, 2.0, 1.5), (-5.5, 2.0, -1.5), (5.5, -2.0, 1.5), (6.0, 3.0, 0.0), (1e8, 3.0, 1.0), (1.0, 0.0, NAN), (INF, 2.0, NAN)];
    let modulos = [(5.5, 2.0, 1.5), (-5.5, 2.0, 0.5), (5.5, -2.0, -0.5), (-6.0, 3.0, 0.0), (-7.0, 3.0, 2.0), (16_777_213.0, 7.0, 5.0)];
    let largest = [(1.0, 2.0, 2.0), (NAN, 2.0, NAN), (2.0, NAN, NAN), (-INF, INF, INF)];
    let truths = [(NAN, 1.0, 1.0), (0.0, 1.0, 0.0), (-0.0, 1.0, 0.0), (INF, -2.0, 1.0)];
    for gpu in gpus() {
        // 1e38 and the root are what f32 rounds them to, up to the last bits.
        let close: Vec<_> = powers.iter().copied().filter(|c| ![38.0, 0.5].contains(&c.1) || !c.2.is_finite()).collect();
        check(&gpu, Binary::Pow, &close);
        let got = mapped(&gpu, Instruction::Binary(Binary::Pow, 0, 1), &[10.0, 2.0], &[38.0, 0.5]);
        assert!((got[0] / 1e38 - 1.0).abs() < 2e-6 && (got[1] / std::f32::consts::SQRT_2 - 1.0).abs() < 1e-6, "{got:?}");
        check(&gpu, Binary::Fmod, &remainders);
        check(&gpu, Binary::Mod, &modulos);
        check(&gpu, Binary::Max, &largest);
        check(&gpu, Binary::And, &truths);
        let odd = mapped(&gpu, Instruction::Unary(Unary::IsNan, 0), &[NAN, INF, 1.0], &[0.0; 3]);
        let infinite = mapped(&gpu, Instruction::Unary(Unary::IsInf, 0), &[NAN, -INF, 1.0], &[0.0; 3]);
        let halves = mapped(&gpu, Instruction::Unary(Unary::Round, 0), &[0.5, 1.5, 2.5, -0.5], &[0.0; 4]);
        let kept = mapped(&gpu, Instruction::Activate(Activation::Relu, 0), &[NAN, -1.0, INF], &[0.0; 3]);
        assert_eq!((odd, infinite, halves), (vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0], vec![0.0, 2.0, 2.0, 0.0]));
        assert!(kept[0].is_nan() && kept[1..] == [0.0, INF]);
    }
}
