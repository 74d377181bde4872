//! Faults of a GPU: each is an error, the process lives on, and a new session works.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use crate::conformance::devices;
use crate::tools::bench::{LayerSpec, layer_artifact, noise};
use crate::{Artifact, Device, DeviceKind, Error, Form, Forms, Options, Session};

fn artifact(spec: &str) -> Artifact {
    layer_artifact(spec.parse::<LayerSpec>().unwrap(), None).unwrap()
}

fn options() -> Options {
    Options { forms: Forms::Ruled, cache: None, ..Options::default() }
}

/// A GPU of one's own, if there is one.
fn gpu() -> Option<Device> {
    devices().into_iter().nth(1).and_then(|_| Device::open(DeviceKind::Gpu).ok())
}

/// A line of the fault table in docs/security.md.
fn told(fault: &str, error: &Error) {
    println!("fault: {fault}: {error}");
}

/// A new session on a new device, which must run.
fn works() {
    let device = Device::open(DeviceKind::Gpu).unwrap();
    let mut session = Session::new(&device, &artifact("linear:16,8"), &options()).unwrap();
    assert!(session.run(&noise(16)).unwrap().iter().all(|x| x.is_finite()));
}

#[test]
fn a_device_that_is_destroyed_under_a_session_is_an_error() {
    let Some(device) = gpu() else { return };
    let mut session = Session::new(&device, &artifact("linear:64,32"), &options()).unwrap();
    let mut other = Session::new(&device, &artifact("linear:64,32"), &options()).unwrap();
    session.run(&noise(64)).unwrap();
    session.submit(&noise(64)).unwrap();
    device.gpu().unwrap().device().destroy();
    // The run under way may still end; whatever comes after it does not.
    let _ = session.wait();
    for session in [&mut session, &mut other] {
        for _ in 0..2 {
            let error = session.run(&noise(64)).unwrap_err();
            assert!(matches!(error, Error::Gpu { .. }), "{error}");
            told("device destroyed under a session, a run", &error);
        }
    }
    let error = Session::new(&device, &artifact("linear:64,32"), &options()).unwrap_err();
    assert!(matches!(error, Error::Gpu { .. }), "{error}");
    told("device destroyed, a new session on it", &error);
    works();
}

#[test]
fn more_memory_than_the_device_has_is_an_error_and_so_is_more_than_is_allowed() {
    let Some(device) = gpu() else { return };
    let small = artifact("conv:3x3,8,8,64x64");
    // Values of 128 KiB a sample.
    let vast = Options { batch: 1 << 24, ..options() };
    let refused = Session::new(&device, &small, &vast).unwrap_err();
    assert!(matches!(refused, Error::Limit { .. } | Error::Gpu { .. } | Error::Invalid { .. }), "{refused}");
    told("2 TB of values", &refused);
    for device in [device, Device::cpu()] {
        let needs = |memory| Session::new(&device, &small, &Options { memory, ..options() });
        let over = needs(Some(1000)).unwrap_err();
        told("a budget of 1000 bytes", &over);
        let Error::Limit { needs: bytes, allows: 1000, .. } = over else { unreachable!("no limit") };
        assert!(needs(Some(bytes - 1)).is_err());
        assert!(needs(Some(bytes)).unwrap().run(&noise(8 * 64 * 64)).is_ok());
    }
    works();
}

/// A fully connected layer of two factors.
fn factors(inputs: usize, outputs: usize, rank: usize) -> Artifact {
    let spec: LayerSpec = format!("linear:{inputs},{outputs}").parse().unwrap();
    layer_artifact(spec, Some(rank)).unwrap()
}

#[test]
fn what_a_layer_would_take_as_dense_is_not_taken_while_forms_are_timed() {
    for device in devices() {
        let timed = |memory| Options { memory, cache: None, ..Options::default() };
        // As dense 64 GiB.
        let vast = factors(1 << 17, 1 << 17, 1);
        let session = Session::new(&device, &vast, &timed(None)).unwrap();
        assert_ne!(session.layers()[0].form, Form::Dense);
        // As dense 4 MiB, which is more than the budget.
        let small = factors(1024, 1024, 100);
        let mut session = Session::new(&device, &small, &timed(Some(3 << 20))).unwrap();
        assert_ne!(session.layers()[0].form, Form::Dense);
        assert!(session.run(&noise(1024)).unwrap().iter().all(|x| x.is_finite()));
    }
    let Some(device) = gpu() else { return };
    // As dense 411 MB, which many a device does not take in one buffer.
    let wide = factors(25_088, 4096, 300);
    let dense = Session::new(&device, &wide, &Options { forms: Forms::All(Form::Dense), ..options() });
    let mut session = Session::new(&device, &wide, &Options { cache: None, ..Options::default() }).unwrap();
    if let Err(error) = dense {
        told("a layer as dense beyond the device's buffers", &error);
        assert_ne!(session.layers()[0].form, Form::Dense);
    }
    assert!(session.run(&noise(25_088)).unwrap().iter().all(|x| x.is_finite()));
}

#[test]
fn a_run_that_takes_too_long_is_given_up() {
    let Some(device) = gpu() else { return };
    let artifact = artifact("conv:3x3,64,64,64x64");
    let impatient = Options { batch: 16, patience: Some(Duration::from_micros(1)), ..options() };
    let mut session = Session::new(&device, &artifact, &impatient).unwrap();
    let input = noise(16 * session.input_len());
    let why = session.run(&input).unwrap_err();
    assert!(matches!(&why, Error::Gpu { why, .. } if why.contains("longer than")), "{why}");
    told("a run beyond the session's patience", &why);
    // What the device still does with the session's buffers is not known.
    let after = session.run(&input).unwrap_err();
    assert!(matches!(after, Error::Gpu { .. }), "{after}");
    told("the run after that", &after);
    let patient = Options { batch: 16, patience: Some(Duration::from_secs(600)), ..options() };
    assert!(Session::new(&device, &artifact, &patient).unwrap().run(&input).is_ok());
}

#[test]
fn sessions_of_many_threads_share_a_device() {
    let Some(device) = gpu() else { return };
    let artifact = artifact("linear:96,40");
    let expected = Session::new(&Device::cpu(), &artifact, &options()).unwrap().run(&noise(96)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut sessions = [0, 1].map(|_| Session::new(&device, &artifact, &options()).unwrap());
                for _ in 0..20 {
                    for session in &mut sessions {
                        let got = session.run(&noise(96)).unwrap();
                        assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4));
                    }
                }
            });
        }
    });
}

#[test]
fn the_same_input_gives_the_same_bits_and_batches_change_next_to_nothing() {
    for device in devices() {
        for spec in ["linear:100,37", "conv:3x3,12,20,9x7"] {
            let artifact = artifact(spec);
            let run = |batch: usize, input: &[f32]| {
                let mut session = Session::new(&device, &artifact, &Options { batch, ..options() }).unwrap();
                session.run(input).unwrap()
            };
            let input = noise(8 * artifact.input_len());
            let once = run(8, &input);
            assert_eq!(once, run(8, &input), "{spec}");
            let largest = once.iter().fold(0f32, |m, x| m.max(x.abs()));
            for batch in [1, 3, 5] {
                let apart = once.iter().zip(run(batch, &input)).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
                assert!(apart <= 1e-5 * largest, "{spec} {batch}: {apart}");
            }
            // A NaN in one sample stays there.
            let mut poisoned = input.clone();
            poisoned[artifact.input_len() + 3] = f32::NAN;
            let got = run(8, &poisoned);
            let outputs = artifact.output_len();
            assert_eq!(got[..outputs], once[..outputs]);
            assert_eq!(got[2 * outputs..], once[2 * outputs..]);
        }
    }
}
