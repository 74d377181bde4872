//! Runs a network for a long time on several threads and says whether memory stays flat and every result is the same to the bit.
//!
//! `cargo run --release --example soak -- MODEL.thin cpu|gpu RUNS THREADS`: each thread has a session of its own on one device.
//! Resident memory is read from /proc (Linux).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use thinfer::tools::bench;
use thinfer::{Artifact, Device, DeviceKind, Forms, Options, Session};

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, kind, runs, threads] = &arguments[..] else { return Err("usage: soak MODEL.thin cpu|gpu RUNS THREADS".into()) };
    let (kind, runs, threads): (DeviceKind, usize, usize) = (kind.parse()?, runs.parse()?, threads.parse()?);
    let artifact = Artifact::open(path)?;
    let device = Device::open(kind)?;
    let options = Options { forms: Forms::Ruled, ..Options::default() };
    let input = bench::noise(artifact.input_len());
    let expected = Session::new(&device, &artifact, &options)?.run(&input)?;
    let (done, different) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut seen = Vec::new();
    std::thread::scope(|scope| -> Result<(), Box<dyn std::error::Error>> {
        let mut workers = Vec::new();
        for _ in 0..threads {
            let mut session = Session::new(&device, &artifact, &options)?;
            let (input, expected, done, different) = (&input, &expected, &done, &different);
            workers.push(scope.spawn(move || -> thinfer::Result<()> {
                let mut output = vec![0.0; expected.len()];
                while done.fetch_add(1, Relaxed) < runs {
                    session.run_into(input, &mut output)?;
                    if output.iter().zip(expected).any(|(a, b)| a.to_bits() != b.to_bits()) {
                        different.fetch_add(1, Relaxed);
                    }
                }
                Ok(())
            }));
        }
        while workers.iter().any(|w| !w.is_finished()) {
            std::thread::sleep(Duration::from_millis(200));
            seen.push((done.load(Relaxed).min(runs) as f64, resident()? as f64));
        }
        for worker in workers {
            worker.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })?;
    // The first tenth warms up.
    seen.retain(|(n, _)| *n >= runs as f64 / 10.0);
    let mean = |of: fn(&(f64, f64)) -> f64| seen.iter().map(of).sum::<f64>() / seen.len().max(1) as f64;
    let (x, y) = (mean(|s| s.0), mean(|s| s.1));
    let (xy, xx) = seen.iter().fold((0.0, 0.0), |(xy, xx), s| (xy + (s.0 - x) * (s.1 - y), xx + (s.0 - x).powi(2)));
    let different = different.load(Relaxed);
    println!(
        "{runs} runs from {threads} threads on {}: {different} differ; {:.1} MiB resident, slope {:.3} bytes a run",
        device.info(),
        y / f64::from(1 << 20),
        xy / xx.max(1.0)
    );
    if different > 0 { Err("results differ".into()) } else { Ok(()) }
}

/// Resident bytes of this process.
fn resident() -> Result<u64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split_whitespace().nth(1).ok_or("statm has no second field")?.parse()?;
    Ok(pages * 4096)
}
