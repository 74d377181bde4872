//! Networks and inputs drawn by key: the same case number gives the same case on every machine. Knows no executor.

use crate::artifact::{Activation, Artifact, Layer, Model, Op, TensorData, Weight};
use crate::plan::Form;

/// Lengths that find the edges of tiles: 1, primes, one off a multiple of 4 or of a tile, and plain ones.
const LENGTHS: &[usize] = &[1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 31, 37, 63, 64, 65, 101, 127, 128, 131, 255, 257, 300, 509, 512, 700];
const ROWS: &[usize] = &[1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 67, 130];

/// SplitMix64: a few lines, and good enough to draw tests with.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(key: u64) -> Self {
        // Mixed, so that neighbouring keys do not draw the same numbers one place apart.
        Self(Self(key).next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Uniform in -1…1.
    pub(crate) fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
    }
}

/// One fully connected layer of a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerCase {
    pub(crate) outputs: usize,
    pub(crate) rank: Option<usize>,
    pub(crate) form: Form,
    pub(crate) bias: bool,
    pub(crate) activation: Activation,
}

/// A network, the batch it is planned for and the rows that are run.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) key: u64,
    pub(crate) inputs: usize,
    pub(crate) layers: Vec<LayerCase>,
    pub(crate) batch: usize,
    pub(crate) rows: usize,
}

impl Case {
    /// Case `key`: one to three layers in any mixture of forms.
    pub(crate) fn draw(key: u64) -> Self {
        let mut draw = Draw::new(key);
        let inputs = draw.pick(LENGTHS);
        let mut width = inputs;
        let layers = (0..1 + draw.below(3))
            .map(|_| {
                let (before, outputs) = (width, draw.pick(LENGTHS));
                width = outputs;
                let form = draw.pick(&[Form::Dense, Form::TwoStage, Form::Fused, Form::Fused]);
                let most = before.min(outputs).min(draw.pick(&[4, 33, 256]));
                let rank = (form != Form::Dense || draw.below(3) == 0).then(|| 1 + draw.below(most));
                let activation = draw.pick(&[Activation::None, Activation::Relu]);
                LayerCase { outputs, rank, form, bias: draw.below(2) == 0, activation }
            })
            .collect();
        let batch = draw.pick(ROWS);
        let rows = if draw.below(2) == 0 { batch } else { 1 + draw.below(batch) };
        Self { key, inputs, layers, batch, rows }
    }

    /// A case of one layer.
    pub(crate) fn one(key: u64, inputs: usize, layer: LayerCase, rows: usize) -> Self {
        Self { key, inputs, layers: vec![layer], batch: rows, rows }
    }

    /// The network with drawn weights.
    pub(crate) fn artifact(&self) -> Artifact {
        let mut draw = Draw::new(self.key ^ 0x5eed);
        let (mut tensors, mut layers, mut width) = (Vec::new(), Vec::new(), self.inputs);
        let mut tensor = |name: String, shape: &[usize]| {
            tensors.push(TensorData::f32(name, shape, draw.values(shape.iter().product())));
            tensors.len() as u32 - 1
        };
        for (i, case) in self.layers.iter().enumerate() {
            let name = format!("layers.{i}");
            let weight = match case.rank {
                None => Weight::Dense(tensor(format!("{name}.weight"), &[case.outputs, width])),
                Some(rank) => Weight::LowRank {
                    v: tensor(format!("{name}.v"), &[rank, width]),
                    u: tensor(format!("{name}.u"), &[rank, case.outputs]),
                    sigma: tensor(format!("{name}.sigma"), &[rank]),
                    tail_energy: 0.0,
                },
            };
            let bias = case.bias.then(|| tensor(format!("{name}.bias"), &[case.outputs]));
            layers.push(Layer { name, inputs: vec![i as u32], op: Op::Linear { weight, bias, activation: case.activation } });
            width = case.outputs;
        }
        // Singular values are sorted and not negative; nothing here reads them.
        for t in tensors.iter_mut().filter(|t| t.name.ends_with("sigma")) {
            t.values.iter_mut().for_each(|x| *x = x.abs());
            t.values.sort_by(|a, b| b.total_cmp(a));
        }
        let model = Model::new("case", &[self.inputs as u32], layers);
        Artifact::build(model, tensors).unwrap()
    }

    /// `rows` drawn samples.
    pub(crate) fn input(&self) -> Vec<f32> {
        Draw::new(self.key ^ 0xda7a).values(self.rows * self.inputs)
    }
}
