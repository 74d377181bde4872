//! Denormal weights and values, through the program and a tuned session: said, written as zero, and no reason for factors to be slow.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Instant;

use thinfer::tools::bench::{against_dense, interleaved, noise};
use thinfer::{Artifact, Device, Options, Session};
use thinfer_compiler::import::{Checkpoint, save};
use thinfer_compiler::tensor::{Params, Tensor};

const WIDTH: usize = 384;

/// Rank 24 and a little of everything, entries about as large as `scale`.
fn weight(scale: f32, key: usize) -> Vec<f32> {
    let (rank, drawn) = (24, noise((key + 1) * 3 * WIDTH * WIDTH));
    let drawn = &drawn[key * 3 * WIDTH * WIDTH..];
    let (u, v) = (&drawn[..WIDTH * rank], &drawn[WIDTH * WIDTH..][..WIDTH * rank]);
    let entry = |i: usize| {
        let sum: f32 = (0..rank).map(|r| u[i / WIDTH * rank + r] * v[i % WIDTH * rank + r]).sum();
        (sum + 0.02 * drawn[2 * WIDTH * WIDTH + i]) * scale
    };
    (0..WIDTH * WIDTH).map(entry).collect()
}

/// 384 → 384 three times and 10 classes: the second layer hardly sees half of its inputs, as a decayed network's, the second and the third
/// let values fade until they are denormal.
fn checkpoint() -> Checkpoint {
    let mut params = Params::new();
    let mut put = |name: String, shape: Vec<usize>, values| params.insert(name, Tensor::new(shape, values).unwrap());
    for (i, scale) in [0.02, 1e-24, 1e-17].into_iter().enumerate() {
        let mut weight = weight(scale, i);
        if i == 1 {
            weight.iter_mut().enumerate().filter(|(at, _)| at % 2 == 1).for_each(|(_, w)| *w *= 1e-15);
        }
        put(format!("layers.{}.weight", 2 * i), vec![WIDTH, WIDTH], weight);
        put(format!("layers.{}.bias", 2 * i), vec![WIDTH], vec![0.0; WIDTH]);
    }
    put("layers.6.weight".into(), vec![10, WIDTH], noise(10 * WIDTH));
    put("layers.6.bias".into(), vec![10], vec![0.5; 10]);
    Checkpoint { params, ..Checkpoint::default() }
}

#[test]
fn a_cut_of_denormal_weights_is_not_slower_than_dense_or_runs_dense() {
    let dir = tempfile::tempdir().unwrap();
    save(&dir.path().join("d.safetensors"), &checkpoint()).unwrap();
    let compile = |ranks: &str, to: &str| {
        let arguments = ["compile", "d.safetensors", "--ranks", ranks, "-o", to];
        let output = Command::new(env!("CARGO_BIN_EXE_thinferc")).args(arguments).current_dir(dir.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        (Artifact::open(dir.path().join(to)).unwrap(), said)
    };
    let ((dense, said), (cut, _)) = (compile("dense", "dense.thin"), compile("energy:0.9", "cut.thin"));
    let note = format!("note: {} denormal values are written as zero", WIDTH * WIDTH / 2);
    assert!(said.contains(&note), "{said}");
    for artifact in [&dense, &cut] {
        let tensors = 0..artifact.model().tensors.len() as u32;
        assert!(tensors.into_iter().all(|id| artifact.tensor(id).iter().all(|w| !w.is_subnormal())));
    }
    assert!(cut.model().provenance.macs * 4 < dense.model().provenance.macs);

    let options = Options { batch: 16, cache: None, ..Options::default() };
    let (device, start) = (Device::cpu(), Instant::now());
    let mut sessions = [&dense, &cut].map(|artifact| Session::new(&device, artifact, &options).unwrap());
    assert!(start.elapsed().as_secs() < 60, "tuning stops after 20 s");
    let checks = against_dense(&sessions[1], &cut, 21).unwrap();
    assert!(checks.len() >= 3, "{checks:?}");
    let [whole, thin] = &mut sessions;
    let times = interleaved(&mut [whole, thin], 3, 41).unwrap();
    println!("a run {:.3} ms, dense {:.3}", times[1].p50(), times[0].p50());
    checks.iter().for_each(|c| println!("{} {} {:.3} of dense, noise {:.3}", c.name, c.form.name(), c.ratio, c.noise));
    // Denormals would cost ten times and more where they cost; a busy machine costs both the same.
    assert!(checks.iter().all(|c| c.ratio < 2.0), "{checks:?}");
    assert!(times[1].p50() < 2.0 * times[0].p50(), "{times:?}");
}
