//! Runs that end before they are over: stopped and gone on with, or refused.

use std::path::Path;

use super::{KERNELS, elrt_factors, figures, go, go_from, kernels, model, patches, pictures, small};
use crate::data::Dataset;
use crate::error::Error;
use crate::train::checkpoint;
use crate::train::config::{OptimizerKind, TrainConfig};
use crate::train::settings::{ElrtSettings, Method, TrpSettings};
use crate::{graph, import};

#[test]
fn stopping_anywhere_and_tearing_the_latest_checkpoint_changes_no_bit() {
    let (vectors, images) = (patches(148, 28, 10), pictures(148));
    // 133 images to train on: 5 steps an epoch, the last one short.
    let trp = TrpSettings { every: 3, ..TrpSettings::default() };
    let factors = elrt_factors();
    for (network, method, optimizer, ema) in [
        ("fcn6", Method::Lorita { factors: 2 }, OptimizerKind::Adam, None),
        ("fcn6", Method::Dense, OptimizerKind::Sgd, None),
        ("fcn6", Method::Elrt(ElrtSettings::default()), OptimizerKind::Sgd, None),
        ("fcn6", Method::Trp(trp), OptimizerKind::Adam, Some(0.9)),
        (KERNELS, Method::Dense, OptimizerKind::Adam, Some(0.9)),
        (KERNELS, Method::Lorita { factors: 3 }, OptimizerKind::Sgd, None),
        (KERNELS, Method::Trp(trp), OptimizerKind::Sgd, None),
        (KERNELS, Method::Elrt(ElrtSettings::default()), OptimizerKind::Adam, Some(0.99)),
        (KERNELS, Method::Finetune, OptimizerKind::Sgd, Some(0.9)),
    ] {
        let start = (method == Method::Finetune).then_some(&factors);
        let go = |config: &TrainConfig, data: &Dataset, dir: &Path, resume, steps| go_from(start, config, data, dir, resume, steps);
        let config = TrainConfig { optimizer, ema, augment: true, model: network.into(), ..small(method) };
        let data = if network == KERNELS { &images } else { &vectors };
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let undisturbed = go(&config, data, whole.path(), false, usize::MAX).unwrap();
        let again = tempfile::tempdir().unwrap();
        assert_eq!(figures(&go(&config, data, again.path(), false, usize::MAX).unwrap()), figures(&undisturbed));
        assert_eq!(model(again.path()), model(whole.path()), "two undisturbed runs");

        // Mid-epoch, at an epoch's very end, and in the next epoch; the first time the latest file is torn as well.
        for (attempt, (steps, position)) in [(3, (0, 3)), (3, (0, 5)), (2, (1, 2))].into_iter().enumerate() {
            match go(&config, data, parts.path(), attempt > 0, steps).unwrap_err() {
                Error::Interrupted { epoch, step, .. } => assert_eq!((epoch, step), position),
                other => panic!("{other}"),
            }
            if attempt == 0 {
                tear_latest(parts.path());
            }
        }
        let resumed = go(&config, data, parts.path(), true, usize::MAX).unwrap();
        assert_eq!(figures(&resumed), figures(&undisturbed));
        assert_eq!(model(parts.path()), model(whole.path()), "resumed {:?}", config.method);

        // A run that is over stays as it is.
        std::fs::remove_file(parts.path().join("model.safetensors")).unwrap();
        assert_eq!(figures(&go(&config, data, parts.path(), true, usize::MAX).unwrap()), figures(&undisturbed));
        assert_eq!(model(parts.path()), model(whole.path()));
    }
}

fn tear_latest(run_dir: &Path) {
    let serial = checkpoint::load_latest(run_dir).unwrap().position.serial;
    let latest = run_dir.join("checkpoint").join(["state-A", "state-B"][(serial % 2) as usize]);
    let bytes = std::fs::read(&latest).unwrap();
    std::fs::write(latest, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn what_cannot_be_gone_on_with_is_refused_by_name() {
    let data = patches(60, 28, 10);
    let config = small(Method::Dense);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let refusal = |config: &TrainConfig, data: &Dataset, resume| {
        let error = go(config, data, dir.path(), resume, usize::MAX).unwrap_err().to_string();
        assert!(error.contains(&folder) && !error.contains('\n'), "{error}");
        error
    };
    assert!(refusal(&config, &data, true).contains("no run to resume"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    // Whoever comes second leaves alone what the first is about to rename.
    let half_written = dir.path().join("checkpoint/.state-A.1.0.tmp");
    let kept_out = |resume| {
        let held = checkpoint::lock(dir.path()).unwrap();
        std::fs::write(&half_written, "of another process").unwrap();
        assert!(refusal(&config, &data, resume).contains("another process") && half_written.exists());
        drop(held);
    };
    kept_out(false);
    go(&config, &data, dir.path(), false, 1).unwrap_err();
    kept_out(true);
    assert!(refusal(&config, &data, false).contains("already holds a run"));
    let longer = TrainConfig { epochs: 3, lr: 0.5, ..config.clone() };
    assert!(refusal(&longer, &data, true).ends_with("epochs was 2, not 3; lr was 0.001, not 0.5"));
    let lorita = TrainConfig { method: Method::Lorita { factors: 2 }, ..config.clone() };
    assert!(refusal(&lorita, &data, true).contains("method"));
    assert!(refusal(&config, &patches(61, 28, 10), true).contains("other images"));
    for name in ["state-A", "state-B"] {
        std::fs::write(dir.path().join("checkpoint").join(name), "torn").unwrap();
    }
    assert!(refusal(&config, &data, true).contains("no whole checkpoint"));
}

#[test]
fn a_run_goes_on_from_the_same_tensors_and_pixels_only() {
    let data = pictures(148);
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig { model: KERNELS.into(), from: Some("x.safetensors".into()), ..small(Method::Dense) };
    let start = import::Checkpoint { params: graph::init(&kernels(), 5), ..Default::default() };
    go_from(Some(&start), &config, &data, dir.path(), false, 1).unwrap_err();
    let refusal = |start: &import::Checkpoint| go_from(Some(start), &config, &data, dir.path(), true, 1).unwrap_err().to_string();
    let mut other = start.clone();
    other.params.get_mut("linear.bias").unwrap().data_mut()[0] += 1.0;
    let why = refusal(&other);
    assert!(why.contains("other tensors than x.safetensors"), "{why}");
    let preprocess = Some(thinfer::artifact::Preprocess::default());
    let why = refusal(&import::Checkpoint { meta: import::Meta { preprocess, ..Default::default() }, ..start.clone() });
    assert!(why.contains("pixels as") && why.contains("--mean"), "{why}");

    // A run of an earlier version wrote neither down.
    let mut state = checkpoint::load_latest(dir.path()).unwrap();
    (state.position.start, state.position.preprocess) = (None, None);
    checkpoint::save(dir.path(), &mut state).unwrap();
    go_from(Some(&start), &config, &data, dir.path(), true, usize::MAX).unwrap();
}

#[test]
fn nothing_is_written_before_a_request_is_known_to_be_good() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let good = small(Method::Dense);
    let refuse = |config: &TrainConfig, data: &Dataset| {
        let error = go(config, data, &run_dir, false, usize::MAX).unwrap_err().to_string();
        assert!(!run_dir.exists(), "{error}");
        error
    };
    let data = patches(60, 28, 10);
    assert!(refuse(&TrainConfig { model: "fcn7".into(), ..good.clone() }, &data).contains("fcn7"));
    assert!(refuse(&TrainConfig { lr: -1.0, ..good.clone() }, &data).starts_with("lr"));
    assert!(refuse(&TrainConfig { limit: Some(2), ..good.clone() }, &patches(1, 28, 10)).contains("batch"));
    assert!(refuse(&good, &patches(60, 8, 10)).contains("[1, 8, 8]"));
    assert!(refuse(&good, &patches(60, 28, 4)).contains("4 classes"));
}
