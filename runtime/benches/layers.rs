//! Single layers on the CPU and on whatever GPU there is, dense and factored: `cargo bench -p thinfer`.
//!
//! For choosing between two versions of a kernel; what a network gains is measured by `thinfer bench`.

use divan::Bencher;
use thinfer::tools::bench::{LayerSpec, layer_artifact, noise};
use thinfer::{Device, DeviceKind, Form, Forms, Options, Session};

fn main() {
    divan::main();
}

/// Layers with a rank at which they are factored.
const LAYERS: [(&str, usize); 8] = [
    ("linear:512,512", 51),
    ("linear:2048,2048", 128),
    ("conv:3x3,3,64,32x32", 8),
    ("conv:3x3,16,16,32x32", 8),
    ("conv:3x3,64,64,32x32", 6),
    ("conv:3x3,256,256,8x8", 26),
    ("conv:3x3,512,512,2x2", 51),
    ("conv:1x1,64,128,16x16", 16),
];

/// One layer in one form on one device; nothing where the device or its form is missing.
fn layer(bencher: Bencher<'_, '_>, device: DeviceKind, (spec, rank): (&str, usize), form: Form) {
    let Ok(device) = Device::open(device) else { return };
    let Ok(spec) = spec.parse::<LayerSpec>() else { return };
    let options = Options { forms: Forms::All(form), keep_factors: true, ..Options::default() };
    let session = layer_artifact(spec, (form != Form::Dense).then_some(rank)).and_then(|a| Session::new(&device, &a, &options));
    let Ok(mut session) = session else { return };
    if session.layers()[0].form != form {
        return;
    }
    let input = noise(session.input_len());
    let mut output = vec![0.0; session.output_len()];
    let macs = session.layers()[0].macs;
    bencher.counter(divan::counter::ItemsCount::new(macs)).bench_local(|| session.run_into(&input, &mut output));
}

macro_rules! benches {
    ($($name:ident: $device:expr, $form:expr;)*) => {
        $(
            #[divan::bench(args = LAYERS.map(|l| l.0))]
            fn $name(bencher: Bencher<'_, '_>, spec: &str) {
                let rank = LAYERS.iter().find(|l| l.0 == spec).map_or(1, |l| l.1);
                layer(bencher, $device, (spec, rank), $form);
            }
        )*
    };
}

// Items are multiply–accumulates.
benches! {
    cpu_dense: DeviceKind::Cpu, Form::Dense;
    cpu_two_stage: DeviceKind::Cpu, Form::TwoStage;
    cpu_fused: DeviceKind::Cpu, Form::Fused;
    gpu_dense: DeviceKind::Gpu, Form::Dense;
    gpu_two_stage: DeviceKind::Gpu, Form::TwoStage;
    gpu_fused: DeviceKind::Gpu, Form::Fused;
}
