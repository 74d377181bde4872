//! Times by hand: `cargo test --release -p thinfer --lib measure -- --ignored --nocapture`; SHAPE=256x512 and RANKS=16,64 take
//! some of them. Figures: docs/performance.md.

use std::time::{Duration, Instant};

use thinfer_shaders::{Kernel, variants};

use super::{gpu, layer, plan};
use crate::conformance::cases::{Case, LayerCase};
use crate::gpu::{Executor, Gpu};
use crate::plan::Form;

/// Least milliseconds of one run of `case`.
fn time(gpu: &Gpu, case: &Case, kernel: Option<&'static Kernel>) -> (f64, Vec<Vec<&'static str>>) {
    let artifact = case.artifact();
    let mut executor = Executor::with(gpu, &artifact, &plan(case, &artifact), &|_, _| kernel).unwrap();
    executor.run(&case.input(), case.rows, &mut vec![0.0; case.rows * artifact.output_len()]).unwrap();
    let once = executor.time(1).unwrap().max(Duration::from_micros(20));
    let repeats = (Duration::from_millis(40).as_nanos() / once.as_nanos()).clamp(1, 200) as usize;
    let mut times: Vec<f64> = (0..15).map(|_| executor.time(repeats).unwrap().as_secs_f64() * 1e3 / repeats as f64).collect();
    times.sort_by(f64::total_cmp);
    (times[0], executor.kernels())
}

/// Least milliseconds of one run with its transfers.
fn whole(gpu: &Gpu, case: &Case) -> f64 {
    let artifact = case.artifact();
    let mut executor = Executor::new(gpu, &artifact, &plan(case, &artifact)).unwrap();
    let (input, mut output) = (case.input(), vec![0.0; case.rows * artifact.output_len()]);
    let mut run = || {
        let start = Instant::now();
        executor.run(&input, case.rows, &mut output).unwrap();
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..60).map(|_| run()).fold(f64::MAX, f64::min)
}

fn print(name: &str, ms: f64, macs: usize, kernels: &[Vec<&str>]) {
    println!("{name:44} {ms:9.3} ms {:7.1} GF/s  {kernels:?}", 2.0 * macs as f64 / ms / 1e6);
}

#[test]
#[ignore = "takes a minute"]
fn measure_variants() {
    let Some(gpu) = gpu() else { return };
    println!("{}", gpu.info());
    for (rows, k, n) in [(512, 512, 512), (256, 512, 512), (64, 1024, 1024), (1, 1024, 1024), (4, 1024, 1024)] {
        if std::env::var("SHAPE").is_ok_and(|s| s != format!("{rows}x{k}")) {
            continue;
        }
        for kernel in variants("linear").map(Some).chain([None]) {
            let (ms, kernels) = time(&gpu, &Case::one(1, k, layer(n, None, Form::Dense), rows), kernel);
            print(&format!("{rows}×{k}→{n} {}", kernel.map_or("chosen", |k| k.name)), ms, rows * k * n, &kernels);
        }
        let ranks = std::env::var("RANKS").map_or(vec![16, 32, 64, 102], |r| r.split(',').filter_map(|r| r.parse().ok()).collect());
        for rank in ranks {
            let macs = rows * (k + n) * rank;
            let (ms, kernels) = time(&gpu, &Case::one(1, k, layer(n, Some(rank), Form::TwoStage), rows), None);
            print(&format!("{rows}×{k}→{n} rank {rank} two-stage"), ms, macs, &kernels);
            for kernel in variants("low_rank").chain(variants("low_rank_registers")).map(Some).chain([None]) {
                let (capacity, exact) =
                    kernel.map_or((256, false), |k| (k.define("R4").unwrap() as usize * 4, k.kernel == "low_rank_registers"));
                if rank <= capacity && (!exact || rank + 8 > capacity) {
                    let (ms, kernels) = time(&gpu, &Case::one(1, k, layer(n, Some(rank), Form::Fused), rows), kernel);
                    print(&format!("{rows}×{k}→{n} rank {rank} {}", kernel.map_or("chosen", |k| k.name)), ms, macs, &kernels);
                }
            }
        }
    }
}

#[test]
#[ignore = "takes a minute"]
fn measure_network() {
    let Some(gpu) = gpu() else { return };
    println!("{}", gpu.info());
    for rows in [1, 64] {
        for (name, rank, form) in
            [("dense", None, Form::Dense), ("two-stage", Some(102), Form::TwoStage), ("fused", Some(102), Form::Fused)]
        {
            let hidden = |inputs: usize| {
                let rank = rank.map(|_| inputs / 10);
                LayerCase { ..layer(1024, rank, form) }
            };
            let layers = vec![hidden(784), hidden(1024), hidden(1024), layer(10, None, Form::Dense)];
            let macs = layers.iter().scan(784, |inputs, l| {
                let macs = l.rank.map_or(*inputs * l.outputs, |r| r * (*inputs + l.outputs));
                *inputs = l.outputs;
                Some(macs)
            });
            let macs: usize = macs.sum();
            let case = Case { key: 1, inputs: 784, layers, batch: rows, rows };
            let (ms, kernels) = time(&gpu, &case, None);
            println!("{:44} {:9.3} ms from host to host", "", whole(&gpu, &case));
            print(&format!("784-1024-1024-1024-10 ×{rows} {name}"), ms, rows * macs, &kernels);
        }
    }
}
