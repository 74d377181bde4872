//! Measuring: runs interleaved, so that a drift of the machine meets all alike; cold and warm apart.

use std::path::Path;
use std::str::FromStr;

pub use super::check::{LayerCheck, against_dense};
pub use super::times::Times;
use crate::artifact::{Activation, Artifact, Layer, Model, Op, TensorData, Weight, Window};
use crate::clock::Instant;
use crate::device::DeviceKind;
use crate::error::{Error, Result};
use crate::plan::Form;
use crate::times;
use crate::{Device, Forms, LayerChoice, Options, Pipeline, Session};

/// A cold start, milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Cold {
    /// Until the device is open.
    pub device: f64,
    /// From a file on the disk to an artifact that is checked.
    pub open: f64,
    /// To a session: planned, weights packed and brought to the device, pipelines made.
    pub session: f64,
    /// To the first result. Some drivers compile kernels only now.
    pub first: f64,
    /// The pipelines of a GPU.
    pub pipelines: Vec<Pipeline>,
}

impl Cold {
    /// From a file on the disk to its first result on an open device.
    pub fn ms(&self) -> f64 {
        self.open + self.session + self.first
    }
}

/// Starts on a device opened for this alone, with the forms that the rule gives, so that tuning is not counted. The
/// driver's own cache of shaders is as it is.
///
/// # Errors
/// As [`Device::open`], [`Artifact::open`], [`Session::new`] and [`Session::run`].
pub fn cold(kind: DeviceKind, path: &Path, options: &Options) -> Result<Cold> {
    let mut start = Instant::now();
    let mut lap = || std::mem::replace(&mut start, Instant::now()).elapsed().as_secs_f64() * 1e3;
    let opened = Device::open(kind)?;
    let device = lap();
    let artifact = Artifact::open(path)?;
    let open = lap();
    let mut built = Session::new(&opened, &artifact, &Options { forms: Forms::Ruled, ..options.clone() })?;
    let session = lap();
    let inputs = Inputs::noise(&built, built.batch());
    inputs.run(&mut built)?;
    Ok(Cold { device, open, session, first: lap(), pipelines: built.pipelines() })
}

/// What a device allows: measured, not what its maker says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceiling {
    /// Multiply–adds a second on registers, two operations each, in 10⁹.
    pub gflops: f64,
    /// Bytes a second read from memory in a row, in 10⁹.
    pub gbytes: f64,
}

impl Ceiling {
    /// Measures `device`, in a fraction of a second.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device fails.
    pub fn measure(device: &Device) -> Result<Self> {
        let (adds, bytes) = device.peak()?;
        Ok(Self { gflops: 2e-9 * adds, gbytes: 1e-9 * bytes })
    }

    /// Milliseconds that a run of `layer` for `batch` samples takes at least: its arithmetic or its bytes, whichever is more.
    pub fn floor_ms(&self, layer: &LayerChoice, batch: usize) -> f64 {
        let arithmetic = 2e-6 * layer.macs as f64 * batch as f64 / self.gflops;
        arithmetic.max(1e-6 * layer.bytes as f64 / self.gbytes)
    }
}

/// Runs the sessions in turn, `runs` times each after `warmup` uncounted ones, each run a full batch from upload to
/// result; the times of each session.
///
/// # Errors
/// As [`Session::run`].
pub fn interleaved(sessions: &mut [&mut Session], warmup: usize, runs: usize) -> Result<Vec<Times>> {
    let inputs: Vec<Inputs> = sessions.iter().map(|s| Inputs::noise(s, s.batch())).collect();
    let samples = times::interleaved(sessions, warmup, runs, |at, session| inputs[at].run(session).map(drop))?;
    Ok(samples.into_iter().map(Times::new).collect())
}

/// Repeatable values for every array that a network takes, states apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs(Vec<(String, Vec<f32>)>);

impl Inputs {
    /// Noise in −1…1 for `samples` samples of what `session` takes.
    pub fn noise(session: &Session, samples: usize) -> Self {
        let array = |number: usize| {
            let spec = &session.inputs()[number].spec;
            let one: usize = spec.sample_shape().iter().product();
            (spec.name.clone(), noise(one * if spec.sample_axis.is_some() { samples } else { 1 }))
        };
        Self(session.given_inputs().map(array).collect())
    }

    /// Runs `session` on them; the elements of every output.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run(&self, session: &mut Session) -> Result<Vec<Vec<f32>>> {
        if let ([(_, only)], 1) = (&self.0[..], session.outputs().len()) {
            return Ok(vec![session.run(only)?]);
        }
        let inputs: Vec<(&str, &[f32])> = self.0.iter().map(|(name, array)| (name.as_str(), array.as_slice())).collect();
        Ok(session.run(&inputs)?.into_iter().map(|output| output.data.to_f32()).collect())
    }
}

/// Times of each layer over `runs` runs; `None` where the device has no timestamps.
///
/// # Errors
/// [`Error::Gpu`] when the device fails.
pub fn layers(session: &mut Session, runs: usize) -> Result<Option<Vec<Times>>> {
    let mut samples = vec![Vec::new(); session.layers().len()];
    for _ in 0..runs {
        let Some(times) = session.layer_times()? else { return Ok(None) };
        for (samples, time) in samples.iter_mut().zip(times) {
            samples.push(time.as_secs_f64() * 1e3);
        }
    }
    Ok(Some(samples.into_iter().map(Times::new).collect()))
}

/// A layer to measure without a model: `linear:INPUTS,OUTPUTS`, or `conv:KxK,INPUTS,OUTPUTS,HxW` with `,sSTRIDE` for a
/// stride and padding that keeps the size at stride 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSpec {
    /// Features or channels in.
    pub inputs: usize,
    /// Features or channels out.
    pub outputs: usize,
    /// A convolution's window and its input's height and width.
    pub conv: Option<(Window, [usize; 2])>,
}

impl FromStr for LayerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("'{text}' is no layer such as linear:512,512 or conv:3x3,64,64,32x32 or conv:3x3,64,128,32x32,s2");
        let size = |s: &str| s.parse::<usize>().ok().filter(|n| (1..=1 << 20).contains(n)).ok_or_else(usage);
        let pair = |s: &str| s.split_once('x').ok_or_else(usage).and_then(|(a, b)| Ok([size(a)?, size(b)?]));
        let (op, rest) = text.split_once(':').ok_or_else(usage)?;
        match (op, &rest.split(',').collect::<Vec<_>>()[..]) {
            ("linear", [inputs, outputs]) => Ok(Self { inputs: size(inputs)?, outputs: size(outputs)?, conv: None }),
            ("conv", [kernel, inputs, outputs, image, stride @ ..]) if stride.len() <= 1 => {
                let stride = stride.first().map_or(Ok(1), |s| s.strip_prefix('s').ok_or_else(usage).and_then(size))? as u32;
                let kernel = pair(kernel)?.map(|n| n as u32);
                let [before, after] = [kernel.map(|k| (k - 1) / 2), kernel.map(|k| k / 2)];
                let padding = [before[0], before[1], after[0], after[1]];
                let window = Window { kernel, stride: [stride; 2], padding, dilation: [1, 1] };
                Ok(Self { inputs: size(inputs)?, outputs: size(outputs)?, conv: Some((window, pair(image)?)) })
            }
            _ => Err(usage()),
        }
    }
}

impl std::fmt::Display for LayerSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { inputs, outputs, conv } = self;
        let Some((Window { kernel: [kh, kw], stride: [stride, _], .. }, [height, width])) = conv else {
            return write!(f, "linear:{inputs},{outputs}");
        };
        write!(f, "conv:{kh}x{kw},{inputs},{outputs},{height}x{width}")?;
        if *stride > 1 { write!(f, ",s{stride}") } else { Ok(()) }
    }
}

/// Times of one form of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct FormTimes {
    /// Components; `None` for the dense weight.
    pub rank: Option<usize>,
    /// The form.
    pub form: Form,
    /// Multiply–accumulates for one sample.
    pub macs: u64,
    /// Milliseconds of one run of the batch, without upload and readback.
    pub times: Times,
}

/// Repeatable values in −1…1, so that no kernel meets denormals or a special case.
pub fn noise(len: usize) -> Vec<f32> {
    crate::noise::noise(len)
}

/// Races the dense form of a layer against both factored forms at each of `ranks`, interleaved, `runs` timings each.
/// Forms that the device cannot run are left out.
///
/// # Errors
/// [`Error::Invalid`] for a rank above what the layer has; else as [`Session::new`].
pub fn race_layer(device: &Device, spec: LayerSpec, ranks: &[usize], batch: usize, runs: usize) -> Result<Vec<FormTimes>> {
    let mut racers = Vec::new();
    let mut enter = |rank: Option<usize>, form: Form| -> Result<()> {
        let artifact = layer_artifact(spec, rank)?;
        let options = Options { batch, forms: Forms::All(form), keep_factors: true, ..Options::default() };
        let mut session = Session::new(device, &artifact, &options)?;
        // A form that the device cannot run would be timed under another's name.
        if session.layers()[0].form == form {
            session.run(&noise(session.input_len() * batch))?;
            let once = session.time(2)?.as_secs_f64() / 2.0;
            let repeats = ((2e-3 / once.max(1e-9)) as usize).clamp(1, 2000);
            racers.push((rank, form, session, repeats, Vec::new()));
        }
        Ok(())
    };
    enter(None, Form::Dense)?;
    for &rank in ranks {
        enter(Some(rank), Form::TwoStage)?;
        enter(Some(rank), Form::Fused)?;
    }
    for _ in 0..runs {
        for (_, _, session, repeats, samples) in &mut racers {
            samples.push(session.time(*repeats)?.as_secs_f64() * 1e3 / *repeats as f64);
        }
    }
    Ok(racers
        .into_iter()
        .map(|(rank, form, session, _, samples)| FormTimes { rank, form, macs: session.layers()[0].macs, times: Times::new(samples) })
        .collect())
}

/// A network of one layer with bias and ReLU and random weights.
///
/// # Errors
/// [`Error::Invalid`] for a rank above what the layer has.
pub fn layer_artifact(spec: LayerSpec, rank: Option<usize>) -> Result<Artifact> {
    let LayerSpec { inputs, outputs, conv } = spec;
    let kernel = conv.map_or_else(Vec::new, |(window, _)| window.kernel.map(|k| k as usize).to_vec());
    let fan_in = inputs * kernel.iter().product::<usize>();
    if let Some(rank) = rank.filter(|&r| r == 0 || r > fan_in.min(outputs)) {
        return Err(Error::invalid(format!("--rank {rank}"), format!("{spec} has ranks 1 to {}", fan_in.min(outputs))));
    }
    let tensor = |name: &str, shape: &[usize], fan_in: usize| {
        let scale = (3.0 / fan_in as f32).sqrt();
        TensorData::f32(name, shape, noise(shape.iter().product()).into_iter().map(|x| x * scale).collect())
    };
    let with_kernel = |outputs: usize| [&[outputs, inputs], &kernel[..]].concat();
    let bias = TensorData::f32("bias", &[outputs], vec![0.1; outputs]);
    let (weight, tensors) = match rank {
        None => (Weight::Dense(1), vec![bias, tensor("weight", &with_kernel(outputs), fan_in)]),
        Some(r) => (
            Weight::LowRank { v: 1, u: 2, sigma: 3, tail_energy: 0.0 },
            vec![bias, tensor("v", &with_kernel(r), fan_in), tensor("u", &[r, outputs], r), TensorData::f32("sigma", &[r], vec![1.0; r])],
        ),
    };
    let (bias, activation) = (Some(0), Activation::Relu);
    let (op, input) = match conv {
        None => (Op::Linear { weight, bias, activation }, vec![inputs as u32]),
        Some((window, [height, width])) => (
            Op::Conv { window, outputs: outputs as u32, groups: 1, weight, bias, residual: None, activation },
            vec![inputs as u32, height as u32, width as u32],
        ),
    };
    let model = Model::new(spec.to_string(), &input, vec![Layer { name: spec.to_string(), inputs: vec![0], op }]);
    Artifact::build(model, tensors).map_err(|source| Error::Format { path: "<memory>".into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_and_refused_by_name() {
        assert_eq!("linear:512,256".parse(), Ok(LayerSpec { inputs: 512, outputs: 256, conv: None }));
        for text in ["linear:512,256", "conv:3x3,64,32,16x8", "conv:1x5,3,8,7x7,s2"] {
            assert_eq!(text.parse::<LayerSpec>().unwrap().to_string(), text);
        }
        for bad in ["", "linear", "linear:5", "linear:0,5", "conv:3,3", "linear:a,b", "conv:3x3,1,1,8x8,2", "conv:3x3,1,1,8"] {
            assert!(bad.parse::<LayerSpec>().is_err(), "{bad}");
        }
        let spec = LayerSpec { inputs: 8, outputs: 4, conv: None };
        assert!(race_layer(&Device::cpu(), spec, &[5], 1, 1).unwrap_err().to_string().contains("ranks 1 to 4"));
        let forms: Vec<_> = race_layer(&Device::cpu(), spec, &[2], 1, 2).unwrap().into_iter().map(|f| (f.rank, f.form)).collect();
        assert_eq!(forms, [(None, Form::Dense), (Some(2), Form::TwoStage), (Some(2), Form::Fused)]);
    }
}
