//! The conformance suite: drawn networks through sessions on every executor, against f64, on poisoned buffers.

pub(crate) mod cases;
pub(crate) mod conv_cases;
mod ends;
mod expression_cases;
pub(crate) mod primitive_cases;
mod primitives;
pub(crate) mod recurrent;
pub(crate) mod transformer;

use cases::{Case, LayerCase};
use conv_cases::ConvCase;

use crate::artifact::Activation;
use crate::plan::Form;
use crate::{Device, DeviceClass, DeviceKind, Forms, Options, Session, reference};

/// The CPU, and the GPU where there is one; without one a test says so, or fails if THINFER_REQUIRE_GPU=1.
pub(crate) fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    match Device::open(DeviceKind::Gpu) {
        Ok(gpu) => devices.push(gpu),
        Err(e) if std::env::var_os("THINFER_REQUIRE_GPU").is_some_and(|v| v == "1") => panic!("{e}"),
        Err(e) => println!("skipped on the GPU: {e}"),
    }
    devices
}

/// Runs `case` on poisoned buffers, twice, against f64.
fn check(device: &Device, case: &Case, forms: Forms) {
    let artifact = case.artifact();
    let expected = reference::run(&artifact, &case.input());
    let options = Options { batch: case.batch, forms, keep_factors: true, ..Options::default() };
    let mut session = Session::new(device, &artifact, &options).unwrap();
    for _ in 0..2 {
        session.poison();
        let got = session.run(&case.input()).unwrap();
        let compared = reference::compare(&expected, &got, artifact.output_len());
        compared.unwrap_or_else(|e| panic!("{case:?} as {:?} on {}: {e}", options.forms, device.info()));
    }
}

#[test]
fn drawn_networks_agree_with_f64_on_every_executor_in_every_form() {
    for device in devices() {
        for key in 0..240 {
            let case = Case::draw(key);
            check(&device, &case, Forms::Each(case.layers.iter().map(|l| l.form).collect()));
            if case.layers.iter().any(|l| l.rank.is_some()) {
                [Form::Dense, Form::TwoStage, Form::Fused].into_iter().for_each(|form| check(&device, &case, Forms::All(form)));
            }
        }
    }
}

#[test]
fn more_samples_than_the_batch_are_run_in_parts() {
    for device in devices() {
        let layer = LayerCase { outputs: 11, rank: Some(3), form: Form::Fused, bias: true, activation: Activation::Relu };
        for rows in [1, 4, 5, 13] {
            check(&device, &Case { batch: 4, ..Case::one(3, 17, layer, rows) }, Forms::All(Form::Fused));
        }
        let artifact = Case::one(3, 17, layer, 1).artifact();
        let mut session = Session::new(&device, &artifact, &Options { forms: Forms::Ruled, ..Options::default() }).unwrap();
        assert!(session.run(&[0.0; 18]).unwrap_err().to_string().contains("17 values"));
        assert!(session.run(&[0f32; 0]).unwrap().is_empty());
    }
}

#[test]
fn submitted_runs_end_in_their_order() {
    for device in devices() {
        let layer = LayerCase { outputs: 11, rank: Some(3), form: Form::Fused, bias: true, activation: Activation::Relu };
        let case = Case { batch: 4, ..Case::one(3, 17, layer, 12) };
        let options = Options { batch: 4, forms: Forms::Ruled, ..Options::default() };
        let mut session = Session::new(&device, &case.artifact(), &options).unwrap();
        let (input, expected) = (case.input(), session.run(&case.input()).unwrap());
        // Rounding may depend on how many rows there are.
        let one = session.run(&input[4 * 17..][..17]).unwrap();
        let part = |i: usize| (&input[i * 4 * 17..][..4 * 17], &expected[i * 4 * 11..][..4 * 11]);
        assert!(session.wait().is_err() && session.submit(&input).is_err() && session.submit(&[0f32; 0]).is_err());
        session.submit(part(0).0).unwrap();
        session.submit(&part(1).0[..17]).unwrap();
        assert!(session.submit(part(2).0).unwrap_err().to_string().contains("wait"), "{}", device.info());
        assert_eq!(session.wait().unwrap(), part(0).1);
        session.submit(part(2).0).unwrap();
        assert_eq!(session.wait().unwrap(), one);
        assert_eq!(session.wait().unwrap(), part(2).1);
        assert!(session.wait().is_err());
        assert_eq!(session.run(&input).unwrap(), expected);
    }
}

#[test]
fn the_batch_does_not_change_a_result() {
    for device in devices() {
        let case = Case { rows: 130, batch: 130, ..Case::draw(5) };
        let artifact = case.artifact();
        let outputs = |batch| {
            let options = Options { batch, forms: Forms::Ruled, keep_factors: true, ..Options::default() };
            Session::new(&device, &artifact, &options).unwrap().run(&case.input()).unwrap()
        };
        let (whole, largest) = (outputs(130), outputs(130).iter().fold(0f32, |m, x| m.max(x.abs())));
        for batch in [1, 7, 64] {
            for (a, b) in whole.iter().zip(outputs(batch)) {
                assert!((a - b).abs() <= 1e-5 * largest, "{a} {b} at batch {batch} on {}", device.info());
            }
        }
    }
}

/// Runs `case` on poisoned buffers, twice, against f64.
fn check_conv(device: &Device, case: &ConvCase, forms: Forms) {
    let expected = reference::run(&case.artifact, &case.input());
    let options = Options { batch: case.batch, forms, keep_factors: true, ..Options::default() };
    let mut session = Session::new(device, &case.artifact, &options).unwrap();
    for _ in 0..2 {
        session.poison();
        let got = session.run(&case.input()).unwrap();
        let compared = reference::compare(&expected, &got, case.artifact.output_len());
        compared.unwrap_or_else(|e| {
            panic!("case {} as {:?} on {}: {e}\n{:#?}", case.key, options.forms, device.info(), case.artifact.model().layers)
        });
    }
}

#[test]
fn drawn_convolutional_networks_agree_with_f64_in_every_form() {
    for device in devices() {
        // A software adapter compiles a pipeline for each activation and residual: what takes seconds there takes minutes.
        let cases = if device.info().class == DeviceClass::Software { 100 } else { 400 };
        for key in 0..cases {
            let case = ConvCase::draw(key);
            check_conv(&device, &case, Forms::Each(case.forms.clone()));
            if case.has_factors() {
                [Form::Dense, Form::TwoStage, Form::Fused].into_iter().for_each(|form| check_conv(&device, &case, Forms::All(form)));
            }
        }
    }
}

#[test]
fn kept_values_are_those_of_every_layer_and_their_padding_is_zero() {
    for key in 0..60 {
        let case = ConvCase::draw(key);
        let expected = reference::values(&case.artifact, &[&case.input()]);
        let forms = Forms::Each(case.forms.clone());
        let options = Options { batch: case.batch, forms, keep_factors: true, keep_values: true, ..Options::default() };
        let mut session = Session::new(&Device::cpu(), &case.artifact, &options).unwrap();
        session.poison();
        session.run(&case.input()).unwrap();
        assert!(session.padding_is_zero(), "case {key}");
        for (layer, expected) in expected[1..].iter().enumerate() {
            let got = session.value(layer).unwrap();
            expected.compare(&got).unwrap_or_else(|e| panic!("case {key}, layer {layer}: {e}"));
        }
        assert_eq!(session.value(expected.len() - 1), None);
    }
}

#[test]
fn the_batch_does_not_change_an_image() {
    for device in devices() {
        for key in 500..520 {
            let case = ConvCase { batch: 9, rows: 9, ..ConvCase::draw(key) };
            let run = |batch| {
                let options = Options { batch, forms: Forms::Each(case.forms.clone()), keep_factors: true, ..Options::default() };
                Session::new(&device, &case.artifact, &options).and_then(|mut s| s.run(&case.input()))
            };
            let whole = run(9).unwrap();
            let largest = whole.iter().fold(0f32, |m, x| m.max(x.abs()));
            for batch in [1, 4] {
                for (a, b) in whole.iter().zip(run(batch).unwrap()) {
                    assert!((a - b).abs() <= 1e-4 * largest, "{a} {b} at batch {batch}, case {key} on {}", device.info());
                }
            }
        }
    }
}
