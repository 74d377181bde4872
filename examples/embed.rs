//! thinfer in an application: open a file once, run it for every input. This is all there is to it.
//!
//! `cargo run --release --example embed -- MODEL.thin`

use thinfer::{Artifact, Device, DeviceKind, Options, Session, top1};

fn main() -> std::process::ExitCode {
    thinfer::tools::print::ended(run())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: embed MODEL.thin")?;
    let artifact = Artifact::open(&path)?;
    let device = Device::open(DeviceKind::Auto)?;
    let mut session = Session::new(&device, &artifact, &Options::default())?;

    // An image as a camera or a decoder gives it: 8 bits a channel, in the order of axes that `session.input()` declares.
    let image = vec![128u8; session.input_len()];
    let logits = session.run_images(&image)?;

    let class = top1(&logits).ok_or("the network gives no numbers")?;
    let name = artifact.model().classes.get(class).map_or_else(|| class.to_string(), Clone::clone);
    println!("{name}, on {}", device.info());
    Ok(())
}
