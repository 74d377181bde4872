//! thinfer in an application: open a file once, run it for every input. This is all there is to it.
//!
//! `cargo run --release -p thinfer-embed -- MODEL.thin`

use thinfer::{Artifact, Device, DeviceKind, Options, Session, top1};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: thinfer-embed MODEL.thin")?;
    let artifact = Artifact::open(path)?;
    let device = Device::open(DeviceKind::Auto)?;
    let mut session = Session::new(&device, &artifact, &Options::default())?;

    // A real input lies as `session.input()` declares; `Session::run_images` takes pixels of 8 bits.
    let outputs = session.run(&vec![0.0; session.input_len()])?;

    println!("class {:?} on {}", top1(&outputs), device.info());
    Ok(())
}
