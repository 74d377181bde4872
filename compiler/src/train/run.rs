//! The training loop: epochs and steps, checkpoints, run.json, and the trained network at the end.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use burn::tensor::Device;
use thinfer::artifact::Preprocess;

use super::average;
use super::batches::{Augmented, Normaliser, check_fit, epoch_order, split, steps_per_epoch};
use super::checkpoint::{self, Position, State};
use super::eval::score_on;
use super::job::Job;
use super::leaves::{Leaves, elements};
use super::loss::{cross_entropy, soft_cross_entropy};
use super::methods::TrainingMethod;
use super::network::{BatchTensor, Mode, forward, supported, update_running};
use super::optimizer::Optimizer;
use super::report::{EpochRecord, Progress, RunReport, StepReport, Summary, median};
use super::schedule::learning_rate;
use super::site::{Site, sites};
use super::start::{resumed, started};
use super::teacher::Teachers;
use crate::data::{Augment, DataSpec, default_preprocess, flat_preprocess};
use crate::error::{Error, Result};
use crate::eval::check_takes;
use crate::files::write_atomic;
use crate::graph::{Graph, layer_costs};
use crate::import::{self, Checkpoint, Ends, Meta};
use crate::tensor::Params;
use crate::zoo;

/// Trains and writes `run_dir`/model.safetensors: the dense network of the LAST epoch (its moving average, if kept) under PyTorch's names, with what the
/// compiler needs to know in the metadata. A method that trains factors which ship also writes
/// `run_dir`/factors.safetensors, where a layer has `NAME.u`, `NAME.core` and `NAME.v` instead of `NAME.weight`. Equal
/// configurations give equal bits on one machine, also when the run was interrupted anywhere and resumed.
///
/// When `stop` becomes true the run saves its state and ends after the step under way.
///
/// # Errors
/// [`Error::Invalid`] for a value out of range, [`Error::Data`] for images that do not fit the network, [`Error::Run`] for
/// a folder that holds a run already (or none, or another one, to resume) and for a loss that is no number,
/// [`Error::Interrupted`] after `stop`, [`Error::Io`].
pub fn train(job: &Job<'_>, progress: &mut dyn Progress, stop: &AtomicBool) -> Result<Summary> {
    let own = job.start.and_then(|c| c.meta.graph.clone());
    train_graph(own.map_or_else(|| zoo::build(&job.config.model), Ok)?, job, progress, stop)
}

/// The same for a network that need not be of the zoo.
pub(super) fn train_graph(graph: Graph, job: &Job<'_>, progress: &mut dyn Progress, stop: &AtomicBool) -> Result<Summary> {
    let mut run = Run::open(graph, job)?;
    while run.state.position.epoch < job.config.epochs {
        run.epoch(progress, stop)?;
    }
    run.finish()
}

struct Run<'a> {
    job: &'a Job<'a>,
    graph: Graph,
    method: Box<dyn TrainingMethod>,
    optimizer: Optimizer,
    preprocess: Preprocess,
    normaliser: Normaliser,
    augment: Option<Augment>,
    /// Taken out while their thread has them.
    teachers: Option<Teachers>,
    /// Indices of the images to train on, and of those held out.
    images: Vec<usize>,
    held_out: Vec<usize>,
    /// Steps an epoch.
    steps: usize,
    state: State,
    device: Device,
    saved: Instant,
    /// Held as long as the run goes on.
    _lock: File,
}

impl<'a> Run<'a> {
    /// Checks everything that can be checked before work begins, then starts or resumes.
    fn open(graph: Graph, job: &'a Job<'a>) -> Result<Self> {
        let config = job.config;
        config.validate()?;
        supported(&graph)?;
        check_fit(&graph, job.data)?;
        if let Some(c) = job.start {
            check_takes(&Ends::input_of(&graph, &c.meta, &Preprocess::default())?, job.data)?;
        }
        let spec: DataSpec = config.data.parse().map_err(|why| Error::data(&config.data, why))?;
        // A network that was trained before goes on seeing images as it did; one of vectors knows no channels.
        let usual = || if graph.input().len() == 1 { flat_preprocess(spec.kind) } else { default_preprocess(spec.kind) };
        let preprocess = job.start.and_then(|c| c.meta.preprocess.clone()).unwrap_or_else(usual);
        let normaliser = Normaliser::new(&preprocess, job.data.shape)?;
        let augment = if config.augment { Some(Augment::of(spec.kind).unwrap_or_default()) } else { None };
        let count = config.limit.map_or(job.data.len(), |limit| limit.min(job.data.len()));
        let (images, held_out) = split(count, config.holdout, config.seed);
        let steps = steps_per_epoch(images.len(), config.batch);
        if steps == 0 || config.batch == 1 {
            return Err(Error::invalid("batch", format!("batches of {} of {} images hold no two images", config.batch, images.len())));
        }
        let teachers = match &config.distil {
            Some(d) => Some(Teachers::open(job.teachers, d, &preprocess, graph.input(), job.data.classes.len(), config.batch)?),
            None => None,
        };
        let method = config.method.build();
        let device = config.device.open()?;
        let (state, lock) = if job.resume { resumed(job, &preprocess)? } else { started(job, &graph, method.as_ref(), &preprocess)? };
        let mut optimizer = Optimizer::new(config.optimizer, config.weight_decay, &Params::new());
        optimizer.steps = state.position.total_steps;
        let saved = Instant::now();
        let mut run = Self {
            job,
            graph,
            method,
            optimizer,
            preprocess,
            normaliser,
            augment,
            teachers,
            images,
            held_out,
            steps,
            state,
            device: device.autodiff(),
            saved,
            _lock: lock,
        };
        // The state holds the moments between steps' saves; the optimiser owns them while the run goes on.
        run.optimizer.moments = std::mem::take(&mut run.state.moments);
        run.save()?;
        run.write_report()?;
        Ok(run)
    }

    /// The rest of the epoch under way, its evaluation and its checkpoint.
    fn epoch(&mut self, progress: &mut dyn Progress, stop: &AtomicBool) -> Result<()> {
        let config = self.job.config;
        let epoch = self.state.position.epoch;
        let order = epoch_order(&self.images, config.seed, epoch);
        let accuracies: Vec<f32> = self.state.position.history.iter().map(|r| r.train_accuracy).collect();
        let mut milliseconds = Vec::new();
        let mut lr = learning_rate(config, self.state.position.total_steps.saturating_sub(1), self.steps, &accuracies);
        let (data, normaliser) = (self.job.data, self.normaliser.clone());
        let augment = self.augment.map(|how| Augmented { how, seed: config.seed, epoch });
        let batches = order.chunks(config.batch).take(self.steps).skip(self.state.position.step);
        let mut teachers = self.teachers.take();
        std::thread::scope(|scope| {
            // One batch is made ready while the step before it runs. Whoever stops early hangs up, which ends the thread.
            let (ready, next) = sync_channel(0);
            let teachers = &mut teachers;
            scope.spawn(move || {
                let mut made = batches.map(|b| {
                    let inputs = normaliser.inputs(data, b, augment);
                    let soft_targets = teachers.as_mut().map(|t| t.soft_targets(&inputs)).transpose();
                    soft_targets.map(|soft_targets| (b, inputs, soft_targets))
                });
                made.try_for_each(|b| ready.send(b))
            });
            for made in next {
                let (batch, inputs, soft_targets) = made?;
                let began = Instant::now();
                lr = learning_rate(config, self.state.position.total_steps, self.steps, &accuracies);
                self.step(batch, inputs, soft_targets, lr)?;
                let took = began.elapsed().as_secs_f32();
                milliseconds.push(took * 1e3);
                let at = &mut self.state.position;
                at.seconds += took;
                progress.step(&step_report(at, config.epochs, self.steps, lr, &milliseconds));
                if stop.load(Ordering::Relaxed) {
                    self.save()?;
                    let (epoch, step) = (self.state.position.epoch, self.state.position.step);
                    return Err(Error::Interrupted { path: self.job.run_dir.into(), epoch, step });
                }
                if self.saved.elapsed() >= self.job.checkpoint_every {
                    self.save()?;
                }
            }
            Ok::<_, Error>(())
        })?;
        self.teachers = teachers;
        let dense = self.dense()?;
        let split = match &self.held_out[..] {
            [] => None,
            held_out => Some(score_on(&config.device.open()?, &self.graph, &dense, &self.preprocess, self.job.data, held_out)?),
        };
        let at = &mut self.state.position;
        let record = EpochRecord {
            epoch: epoch + 1,
            train_loss: (f64::from_bits(at.loss_bits) / at.seen.max(1) as f64) as f32,
            train_accuracy: 100.0 * at.correct as f32 / at.seen.max(1) as f32,
            split_loss: split.map(|s| s.loss),
            split_accuracy: split.map(|s| s.accuracy()),
            lr: lr as f32,
            seconds: at.seconds,
            steps_per_second: self.steps as f32 / at.seconds.max(f32::MIN_POSITIVE),
            // A run interrupted after an epoch's last step has timed none of it since.
            ms_per_step: if milliseconds.is_empty() { 1e3 * at.seconds / self.steps as f32 } else { median(milliseconds) },
            method_share: at.method_seconds / at.seconds.max(f32::MIN_POSITIVE),
            gauge: self.method.gauge(&self.state.trained),
        };
        progress.epoch(&record);
        at.history.push(record);
        *at = Position {
            epoch: epoch + 1,
            step: 0,
            loss_bits: 0,
            correct: 0,
            seen: 0,
            seconds: 0.0,
            method_seconds: 0.0,
            ..std::mem::take(at)
        };
        self.save()?;
        self.write_report()
    }

    /// One step on the images `batch`, whose pixels are `inputs` and the teachers' `soft_targets`, at learning rate `lr`.
    fn step(&mut self, batch: &[usize], inputs: Vec<f32>, soft_targets: Option<Vec<f32>>, lr: f64) -> Result<()> {
        let (config, data) = (self.job.config, self.job.data);
        let labels: Vec<u16> = batch.iter().map(|&i| data.labels[i]).collect();
        let steps = self.state.position.total_steps + 1;
        let began = Instant::now();
        let added = self.method.before_step(steps, &self.graph, &mut self.state.trained, &self.state.running)?;
        self.state.position.method_seconds += began.elapsed().as_secs_f32();

        let x = BatchTensor::input(&self.graph, batch.len(), inputs, &self.device);
        let leaves = Leaves::tracked(&self.state.trained, &self.device);
        let weight = |site: &Site<'_>| self.method.weight(site, &leaves);
        let (logits, statistics) = forward(&self.graph, &leaves, &self.state.running, &weight, x, config.batch, Mode::Train)?;
        let loss = cross_entropy(logits.clone(), &labels, config.label_smoothing as f32, &self.device);
        let taught = match (soft_targets, &config.distil) {
            (Some(soft_targets), Some(d)) => {
                let distilled = soft_cross_entropy(logits.clone(), soft_targets, d.temperature as f32, &self.device);
                loss.clone().mul_scalar(1.0 - d.weight) + distilled.mul_scalar(d.weight)
            }
            _ => loss.clone(),
        };
        let objective = match self.method.penalty(&leaves)? {
            Some(penalty) => taught + penalty,
            None => taught,
        };
        let value = elements(loss.inner())?.first().copied().unwrap_or(f32::NAN);
        let at = &mut self.state.position;
        if !value.is_finite() {
            let why = format!("the loss became {value} in epoch {}, step {}; a lower learning rate may help", at.epoch + 1, at.step + 1);
            return Err(Error::Run { path: self.job.run_dir.into(), why });
        }
        let logits = elements(logits.inner())?;
        let right = logits
            .chunks_exact(data.classes.len())
            .zip(&labels)
            .filter(|(row, label)| thinfer::top1(row) == Some(usize::from(**label)))
            .count();
        at.loss_bits = (f64::from_bits(at.loss_bits) + f64::from(value) * batch.len() as f64).to_bits();
        at.correct += right;
        at.seen += batch.len();
        at.step += 1;
        at.total_steps += 1;

        let mut gradients = leaves.gradients(&objective)?;
        for (name, added) in added {
            let gradient = gradients.get_mut(&name).into_iter().flatten();
            gradient.zip(added).for_each(|(g, a)| *g += a);
        }
        update_running(&mut self.state.running, statistics)?;
        self.optimizer.step(&mut self.state.trained, &gradients, lr)?;
        if let (Some(decay), [trained, running]) = (config.ema, &mut self.state.averages[..]) {
            let kept = average::kept(decay, steps);
            average::follow(trained, &self.state.trained, kept);
            average::follow(running, &self.state.running, kept);
        }
        Ok(())
    }

    /// What is judged and written of the tensors that are trained and of the running statistics: their averages, if kept.
    fn shown(&self) -> (&Params, &Params) {
        match &self.state.averages[..] {
            [trained, running] => (trained, running),
            _ => (&self.state.trained, &self.state.running),
        }
    }

    fn save(&mut self) -> Result<()> {
        // Moved in and out rather than copied: they are twice the size of the network.
        self.state.moments = std::mem::take(&mut self.optimizer.moments);
        let saved = checkpoint::save(self.job.run_dir, &mut self.state);
        self.optimizer.moments = std::mem::take(&mut self.state.moments);
        self.saved = Instant::now();
        saved
    }

    /// The network as it stands, dense, running statistics included.
    fn dense(&self) -> Result<Params> {
        let (trained, running) = self.shown();
        let mut dense = self.method.dense(&self.graph, trained, running)?;
        dense.extend(running.clone());
        Ok(dense)
    }

    /// Writes model.safetensors, and factors.safetensors where there are factors to ship.
    fn finish(self) -> Result<Summary> {
        let path = self.job.run_dir.join("model.safetensors");
        let set = self.job.config.data.split(':').next().unwrap_or_default().to_string();
        let meta = Meta {
            model: Some(self.graph.name.clone()),
            data: Some(set),
            preprocess: Some(self.preprocess.clone()),
            method: Some(self.method.name()),
            classes: self.job.data.classes.clone(),
            graph: self.job.start.and_then(|c| c.meta.graph.clone()),
            ends: self.job.start.and_then(|c| c.meta.ends.clone()),
        };
        let (trained, running) = self.shown();
        let factors = self.method.factors(trained).map(|factors| {
            let params = factors.iter().chain(running).map(|(name, t)| (name.clone(), t.clone())).collect();
            (self.job.run_dir.join("factors.safetensors"), Checkpoint { params, meta: meta.clone() })
        });
        if let Some((path, checkpoint)) = factors {
            import::save(&path, &checkpoint)?;
        }
        import::save(&path, &Checkpoint { params: self.dense()?, meta })?;
        self.write_report()?;
        self.summary(path)
    }

    fn summary(&self, model: PathBuf) -> Result<Summary> {
        let count = |p: &Params| p.values().map(|t| t.data().len() as u64).sum();
        let epochs = self.state.position.history.clone();
        Ok(Summary {
            model,
            ms_per_step: median(epochs.iter().map(|r| r.ms_per_step)),
            epochs,
            trained_params: count(&self.state.trained),
            dense_params: layer_costs(&self.graph)?.iter().map(|c| c.params).sum(),
            macs_per_step: {
                let sites = sites(&self.graph, self.job.config.batch)?;
                sites.iter().map(|site| self.method.step_macs(site, &self.state.trained)).sum()
            },
        })
    }

    /// Writes run.json.
    fn write_report(&self) -> Result<()> {
        let path = self.job.run_dir.join("run.json");
        let Summary { epochs, trained_params, dense_params, macs_per_step, ms_per_step, .. } = self.summary(path.clone())?;
        let report = RunReport {
            config: self.job.config,
            method: self.method.name(),
            finished: epochs.len() == self.job.config.epochs,
            train_images: self.images.len(),
            split_images: self.held_out.len(),
            steps_per_epoch: self.steps,
            trained_params,
            dense_params,
            macs_per_step,
            ms_per_step,
            epochs,
        };
        let mut text = serde_json::to_vec_pretty(&report).map_err(|e| Error::Run { path: path.clone(), why: e.to_string() })?;
        text.push(b'\n');
        write_atomic(&path, &text)
    }
}

fn step_report(at: &Position, epochs: usize, steps: usize, lr: f64, milliseconds: &[f32]) -> StepReport {
    let seen = at.seen.max(1);
    let left = (epochs * steps) as u64 - at.total_steps.min((epochs * steps) as u64);
    let mean = milliseconds.iter().sum::<f32>() / milliseconds.len().max(1) as f32;
    StepReport {
        epoch: at.epoch + 1,
        epochs,
        step: at.step,
        steps,
        loss: (f64::from_bits(at.loss_bits) / seen as f64) as f32,
        accuracy: 100.0 * at.correct as f32 / seen as f32,
        lr,
        seconds_left: left as f64 * f64::from(mean) / 1e3,
    }
}
