//! A camera's loop: while the device computes one frame, the next one is brought to it and the last one's result taken.
//!
//! `cargo run --release --example camera -- MODEL.thin [cpu|gpu|auto] [FRAMES]` runs both ways and prints frames a second.

use std::time::Instant;

use thinfer::{Artifact, Device, DeviceKind, Options, Session};

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("usage: camera MODEL.thin [cpu|gpu|auto] [FRAMES]")?;
    let kind = arguments.get(1).map_or(Ok(DeviceKind::Auto), |kind| kind.parse::<DeviceKind>())?;
    let frames = arguments.get(2).map_or(Ok(200), |n| n.parse::<usize>())?;
    let artifact = Artifact::open(path)?;
    let device = Device::open(kind)?;
    let mut session = Session::new(&device, &artifact, &Options::default())?;
    let mut frame = vec![0.0; session.input_len()];

    // One after the other: the device waits while a frame is brought, we wait while it computes.
    let start = Instant::now();
    let mut seen = 0.0;
    for at in 0..frames {
        grab(&mut frame, at);
        seen += session.run(&frame)?[0];
    }
    let alone = frames as f64 / start.elapsed().as_secs_f64();

    // Overlapped: one frame is under way while the next is grabbed and submitted.
    let start = Instant::now();
    let mut overlapped = 0.0;
    grab(&mut frame, 0);
    session.submit(&frame)?;
    for at in 1..frames {
        grab(&mut frame, at);
        session.submit(&frame)?;
        overlapped += session.wait()?[0];
    }
    overlapped += session.wait()?[0];
    let together = frames as f64 / start.elapsed().as_secs_f64();

    println!("{frames} frames on {}: {alone:.1} a second one by one, {together:.1} overlapped", device.info());
    // The same frames give the same results, whichever way.
    if (seen - overlapped).abs() > 1e-3 * seen.abs().max(1.0) { Err("the two ways disagree".into()) } else { Ok(()) }
}

/// Where a real loop asks its camera: a picture that moves.
fn grab(frame: &mut [f32], at: usize) {
    for (i, value) in frame.iter_mut().enumerate() {
        *value = ((i + 7 * at) % 255) as f32 / 255.0;
    }
}
