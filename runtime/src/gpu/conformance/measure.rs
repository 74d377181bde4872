//! Times of single convolutions: the variant that is chosen beside all others. Run by hand; docs/performance.md says how.

use std::time::Duration;

use thinfer_shaders::{Kernel, variants};

use super::conv::Case;
use super::gpu;
use crate::gpu::{Executor, Gpu};
use crate::plan::{Form, Plan};

/// Pixels a side, channels in and out of VGG-16's convolutions on 32×32 images, and how often each comes.
const VGG16: [(usize, usize, usize, usize); 9] = [
    (32, 3, 64, 1),
    (32, 64, 64, 1),
    (16, 64, 128, 1),
    (16, 128, 128, 1),
    (8, 128, 256, 1),
    (8, 256, 256, 2),
    (4, 256, 512, 1),
    (4, 512, 512, 2),
    (2, 512, 512, 3),
];

/// The least of several times of a run in milliseconds, and the kernels that were run.
fn time(gpu: &Gpu, case: &Case, form: Form, pick: Option<&'static Kernel>) -> Option<(f64, String)> {
    let artifact = case.artifact();
    let plan = Plan::new(&artifact, case.batch, |_| form).ok()?;
    let mut executor = Executor::with(gpu, &artifact, &plan, &|_| pick).ok()?;
    let once = executor.time(1).and_then(|_| executor.time(2)).ok()? / 2;
    let repeats = (Duration::from_millis(4).as_nanos() / once.as_nanos().max(1)).clamp(1, 500) as usize;
    let mut least = (f64::INFINITY, f64::INFINITY);
    for _ in 0..40 {
        let before = cpu_ms();
        let wall = executor.time(repeats).ok()?.as_secs_f64() * 1e3;
        least = (least.0.min(wall / repeats as f64), least.1.min((cpu_ms() - before) / repeats as f64));
    }
    let ms = if std::env::var_os("CPU").is_some() { least.1 } else { least.0 };
    Some((ms, executor.kernels().concat().join(" + ")))
}

/// Milliseconds that all threads of this process have computed, on Linux: what a software adapter needs, whoever else
/// takes the cores.
fn cpu_ms() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let text = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("schedstat")).ok());
    text.filter_map(|t| t.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() / 1e6
}

/// Prints what is chosen and the best of `kernels`.
fn report(gpu: &Gpu, what: &str, case: &Case, form: Form, kernels: &[&str], all: bool) -> Option<f64> {
    let (chosen, name) = time(gpu, case, form, None)?;
    let mut line = format!("{what}: {chosen:.3} ms by {name}");
    if all {
        let mut times: Vec<(f64, String)> =
            kernels.iter().flat_map(|k| variants(k)).filter_map(|k| time(gpu, case, form, Some(k))).collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (ms, name) in times.iter().take(4) {
            line += &format!("; {name} {ms:.3}");
        }
    }
    println!("{line}");
    Some(chosen)
}

#[test]
#[ignore = "takes minutes and has no verdict; VARIANTS=1 times all, CPU=1 by the threads' own time, RANKS and VGG=0 take less"]
fn measure_convolutions() {
    let Some(gpu) = gpu() else { return };
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or(default.into());
    let all = variable("VARIANTS", "0") == "1";
    let fused = ["conv_low_rank", "conv_low_rank_registers"];
    let case = Case { image: [64, 16, 16], batch: 8, ..Case::plain(64, 64) };
    report(&gpu, "64→64 16×16 batch 8 dense", &case, Form::Dense, &["conv"], all);
    for rank in variable("RANKS", "8,16,32,64").split(',').filter_map(|r| r.parse().ok()) {
        let case = Case { rank: Some(rank), ..case };
        report(&gpu, &format!("rank {rank} two-stage"), &case, Form::TwoStage, &[], false);
        report(&gpu, &format!("rank {rank} fused"), &case, Form::Fused, &fused, all);
    }
    if variable("VGG", "1") == "0" {
        return;
    }
    let mut sums = [0.0; 4];
    for (side, inputs, outputs, count) in VGG16 {
        let case = Case { image: [inputs, side, side], batch: 1, ..Case::plain(inputs, outputs) };
        let what = format!("{inputs}→{outputs} {side}×{side}");
        let full = outputs.min(inputs * 9);
        let thin = Case { rank: Some((full / 10).max(1)), ..case };
        let times = [
            report(&gpu, &format!("{what} dense"), &case, Form::Dense, &["conv"], all),
            report(&gpu, &format!("{what} rank {} two-stage", full / 10), &thin, Form::TwoStage, &[], false),
            report(&gpu, &format!("{what} rank {} fused", full / 10), &thin, Form::Fused, &fused, all),
        ]
        .map(|t| t.unwrap_or(f64::INFINITY));
        let times = [times[0], times[1], times[2], times[1].min(times[2])];
        sums.iter_mut().zip(times).for_each(|(sum, ms)| *sum += ms * count as f64);
    }
    println!(
        "VGG-16's convolutions, batch 1: dense {:.1} ms, two-stage {:.2}, fused {:.2}, the better of them {:.2}",
        sums[0], sums[1], sums[2], sums[3]
    );
}
