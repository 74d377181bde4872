//! What a training run is asked to do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::device::TrainDevice;
use super::settings::Method;
use crate::data::{Augment, DataSpec};
use crate::error::{Error, Result};

/// The rule that turns gradients into steps; constants are PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam (arXiv 1412.6980) with β 0.9 and 0.999, ε 1e-8.
    Adam,
    /// Stochastic gradient descent with momentum 0.9 and no dampening.
    Sgd,
}

/// How the learning rate goes on after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls in a straight line to zero at the end of the run.
    #[default]
    Linear,
    /// Falls along half a cosine to zero at the end of the run.
    Cosine,
    /// × 0.1 whenever the training accuracy has not risen for more than 15 epochs (PyTorch's ReduceLROnPlateau).
    Plateau,
}

/// Learning from the answers of trained networks beside the labels: knowledge distillation (Hinton et al., arXiv 1503.02531).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distil {
    /// The teachers' files and checksums, as a run that is resumed must have them again.
    pub teachers: Vec<String>,
    /// Share w of the teachers in the loss: (1−w)·cross entropy + w·T²·cross entropy against their softmax(logits/T).
    pub weight: f64,
    /// T: above 1, what a teacher thinks of the wrong classes counts for more.
    pub temperature: f64,
}

/// Everything that decides the numbers of a run. Two runs with equal configurations on the same images and machine give
/// the same bits; a run may only be resumed with the configuration that it was started with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// The architecture's name (`fcn8`).
    pub model: String,
    /// The data set as the command line names it (`mnist:DIR`, `glyphs`).
    pub data: String,
    /// The checkpoint that the run starts from, as the command line names it; `None` for random weights.
    pub from: Option<String>,
    /// How weights are trained.
    pub method: Method,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images a step.
    pub batch: usize,
    /// The rule of the steps.
    pub optimizer: OptimizerKind,
    /// Learning rate at the end of warm-up.
    pub lr: f64,
    /// What the learning rate does then.
    pub schedule: Schedule,
    /// Epochs over which the learning rate rises in a straight line from zero; may be a fraction.
    pub warmup: f64,
    /// Coupled L2 decay, gradient += decay · parameter, on EVERY trained tensor: factors, biases and normalisations too, as
    /// `optimizer(model.parameters(), weight_decay)` does in PyTorch and in the papers' code.
    pub weight_decay: f64,
    /// ε of label smoothing: the target is (1−ε)·one-hot + ε/classes.
    pub label_smoothing: f64,
    /// Teachers, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distil: Option<Distil>,
    /// Decay of the moving average of weights and statistics that is judged and written in their place; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Only the first so many training images.
    pub limit: Option<usize>,
    /// Share of the training images that is held out for judging epochs; 0 for none.
    pub holdout: f64,
    /// Whether training images are shifted and mirrored at random ([`Augment::of`]).
    pub augment: bool,
    /// Decides initial weights, the held-out split, the order of images and their augmentation.
    pub seed: u64,
    /// What the steps run on.
    #[serde(default, skip_serializing_if = "TrainDevice::is_cpu")]
    pub device: TrainDevice,
}

impl TrainConfig {
    /// A run of `model` on `data` with the defaults: dense, 10 epochs, batch 128, Adam at 1e-3 falling linearly,
    /// no decay, no smoothing, one training image in twelve held out (5000 of MNIST's 60 000), augmentation where the
    /// set has one, seed 0.
    pub fn new(model: impl Into<String>, data: impl Into<String>) -> Self {
        let data = data.into();
        Self {
            model: model.into(),
            augment: data.parse().is_ok_and(|spec: DataSpec| Augment::of(spec.kind).is_some()),
            data,
            from: None,
            method: Method::Dense,
            epochs: 10,
            batch: 128,
            optimizer: OptimizerKind::Adam,
            lr: 1e-3,
            schedule: Schedule::default(),
            warmup: 0.0,
            weight_decay: 0.0,
            label_smoothing: 0.0,
            distil: None,
            ema: None,
            limit: None,
            holdout: 1.0 / 12.0,
            seed: 0,
            device: TrainDevice::Cpu,
        }
    }

    /// Checks every value by itself.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first field that is out of range, or a device that is not built in.
    pub fn validate(&self) -> Result<()> {
        let require = |ok: bool, what: &str, why: String| if ok { Ok(()) } else { Err(Error::invalid(what, why)) };
        require(self.epochs >= 1, "epochs", "must be at least 1".into())?;
        require(self.batch >= 1, "batch", "must be at least 1".into())?;
        require(self.lr.is_finite() && self.lr > 0.0, "lr", format!("must be a positive number, not {}", self.lr))?;
        require(
            self.warmup >= 0.0 && self.warmup <= self.epochs as f64,
            "warmup",
            format!("must be between 0 and the {} epochs of the run, not {}", self.epochs, self.warmup),
        )?;
        require(
            self.weight_decay.is_finite() && self.weight_decay >= 0.0,
            "weight-decay",
            format!("must be zero or a positive number, not {}", self.weight_decay),
        )?;
        let share = |x: f64| (0.0..1.0).contains(&x);
        require(share(self.label_smoothing), "label-smoothing", format!("must be at least 0 and below 1, not {}", self.label_smoothing))?;
        if let Some(d) = &self.distil {
            require(d.weight > 0.0 && d.weight <= 1.0, "distil", format!("must have a weight above 0 and at most 1, not {}", d.weight))?;
            let t = d.temperature;
            require(t.is_finite() && t > 0.0, "distil", format!("must have a positive temperature, not {t}"))?;
        }
        if let Some(decay) = self.ema {
            require(decay > 0.0 && decay < 1.0, "ema", format!("must be above 0 and below 1, not {decay}"))?;
        }
        require(share(self.holdout), "holdout", format!("must be at least 0 and below 1, not {}", self.holdout))?;
        require(self.limit != Some(0), "limit", "must leave at least 1 image".into())?;
        self.device.open()?;
        self.method.validate()
    }

    /// Refuses to go on with a run that was started as `started`, unless both are equal; names every field that differs.
    pub(super) fn differences(&self, started: &Value) -> Vec<String> {
        // Through text and back, so that both sides went through the same printing and parsing of numbers.
        let Ok(now) = serde_json::to_string(self).and_then(|text| serde_json::from_str::<Value>(&text)) else {
            return vec!["the configuration cannot be written down".into()];
        };
        let mut out = Vec::new();
        differing("", started, &now, &mut out);
        out
    }
}

/// Names every value that differs between two configurations, those within others by both names (`method factors`).
fn differing(name: &str, then: &Value, now: &Value, out: &mut Vec<String>) {
    // A variant with settings is an object of one key, its name, and under that the settings.
    let variant =
        |v: &Value| v.as_object().filter(|o| o.len() == 1 && o.values().all(Value::is_object)).and_then(|o| o.keys().next().cloned());
    let show = |v: &Value| match v {
        Value::Null => "nothing".into(),
        Value::String(text) => text.clone(),
        _ => variant(v).unwrap_or_else(|| v.to_string()),
    };
    match (then, now) {
        _ if then == now => {}
        (Value::Object(a), Value::Object(b)) if variant(then) == variant(now) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let within = if variant(then).is_some() { name.into() } else { format!("{name} {key}").trim_start().to_string() };
                differing(&within, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), out);
            }
        }
        _ => out.push(format!("{name} was {}, not {}", show(then), show(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{ElrtSettings, Scheme, TrpSettings};
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let good = TrainConfig::new("fcn6", "glyphs");
        assert!(good.validate().is_ok());
        type Change = fn(&mut TrainConfig);
        let bad: [(&str, Change); 20] = [
            ("epochs", |c| c.epochs = 0),
            ("batch", |c| c.batch = 0),
            ("lr", |c| c.lr = 0.0),
            ("lr", |c| c.lr = f64::NAN),
            ("warmup", |c| c.warmup = 11.0),
            ("weight-decay", |c| c.weight_decay = -1.0),
            ("label-smoothing", |c| c.label_smoothing = 1.0),
            ("distil", |c| c.distil = Some(Distil { teachers: vec![], weight: 0.0, temperature: 1.0 })),
            ("distil", |c| c.distil = Some(Distil { teachers: vec![], weight: 1.0, temperature: f64::NAN })),
            ("ema", |c| c.ema = Some(1.0)),
            ("holdout", |c| c.holdout = f64::NAN),
            ("limit", |c| c.limit = Some(0)),
            ("factors", |c| c.method = Method::Lorita { factors: 0 }),
            ("factors", |c| c.method = Method::Lorita { factors: 9 }),
            ("every", |c| c.method = Method::Trp(TrpSettings { every: 0, ..TrpSettings::default() })),
            ("energy", |c| c.method = Method::Trp(TrpSettings { energy: 1.5, ..TrpSettings::default() })),
            ("nuclear", |c| c.method = Method::Trp(TrpSettings { nuclear: f64::NAN, ..TrpSettings::default() })),
            ("scheme", |c| c.method = Method::Trp(TrpSettings { scheme: Scheme::Tucker2, ..TrpSettings::default() })),
            ("macs", |c| c.method = Method::Elrt(ElrtSettings { macs: 0.0, ..ElrtSettings::default() })),
            ("ortho", |c| c.method = Method::Elrt(ElrtSettings { weight: -1.0, ..ElrtSettings::default() })),
        ];
        for (field, change) in bad {
            let mut config = good.clone();
            change(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(field) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn photographs_are_augmented_unless_told_otherwise_and_digits_are_not() {
        let augmented = |data: &str| TrainConfig::new("x", data).augment;
        assert!(augmented("cifar10:d") && augmented("cifar100:d") && !augmented("mnist:d") && !augmented("glyphs"));
    }

    #[test]
    fn a_changed_field_is_named_and_an_equal_configuration_is_not() {
        let mut config = TrainConfig::new("fcn6", "glyphs");
        config.lr = 0.1 + 0.2;
        let started: Value = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(config.differences(&started), Vec::<String>::new());
        // What a run of an earlier version could not say is no difference.
        assert!(!started.as_object().unwrap().contains_key("ema") && !started.as_object().unwrap().contains_key("device"));
        config.epochs = 11;
        assert_eq!(config.differences(&started), ["epochs was 10, not 11"]);
        config.epochs = 10;
        config.method = Method::Lorita { factors: 2 };
        assert_eq!(config.differences(&started), ["method was dense, not lorita"]);
        let lorita: Value = serde_json::to_value(&config).unwrap();
        config.method = Method::Lorita { factors: 3 };
        assert_eq!(config.differences(&lorita), ["method factors was 2, not 3"]);
        let distil = |weight| Some(Distil { teachers: vec!["a".into()], weight, temperature: 4.0 });
        config.distil = distil(0.5);
        let taught: Value = serde_json::to_value(&config).unwrap();
        config.distil = distil(0.9);
        assert_eq!(config.differences(&taught), ["distil weight was 0.5, not 0.9"]);
    }
}
