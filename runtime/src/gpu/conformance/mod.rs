//! The GPU executor's own part of the conformance suite: every variant of every kernel, and what must be refused.

mod attention;
mod conv;
mod primitives;

use std::time::Duration;

use crate::artifact::{Activation, Artifact, Dtype, TensorData};
use crate::conformance::cases::{Case, LayerCase};
use crate::conformance::conv_cases::ConvCase;
use crate::error::{Error, Result};
use crate::gpu::software::storage::Storage;
use crate::gpu::{Executor, Gpu, supports_fused};
use crate::plan::{Form, Plan};
use crate::reference;

/// The adapter with each kind of storage that it can work with; without one the test passes and says so, unless
/// THINFER_REQUIRE_GPU=1.
fn gpus() -> Vec<Gpu> {
    match Gpu::open() {
        Ok(gpu) => {
            let other = if gpu.storage() == Storage::Buffers { Storage::Textures } else { Storage::Buffers };
            [Some(gpu), Gpu::open_with(Some(other)).ok()].into_iter().flatten().collect()
        }
        Err(e) if std::env::var_os("THINFER_REQUIRE_GPU").is_some_and(|v| v == "1") => panic!("{e}"),
        Err(_) => {
            println!("skipped: no GPU adapter");
            Vec::new()
        }
    }
}

fn plan(case: &Case, artifact: &Artifact) -> Plan {
    Plan::new(artifact, case.batch, |f| case.layers[f.layer].form).unwrap()
}

/// Runs `case` on poisoned buffers, twice, and compares.
fn check(gpu: &Gpu, case: &Case, kernel: Option<&'static thinfer_shaders::Kernel>) -> Result<(), String> {
    let artifact = case.artifact();
    let expected = reference::run(&artifact, &case.input());
    let mut executor = Executor::with(gpu, &artifact, &plan(case, &artifact), &|_| kernel).map_err(|e| e.to_string())?;
    let outputs = artifact.output_len();
    for _ in 0..2 {
        executor.poison();
        let mut got = vec![f32::NAN; case.rows * outputs];
        executor.run_one(&case.input(), case.rows, &mut got).map_err(|e| e.to_string())?;
        reference::compare(&expected, &got, outputs).map_err(|e| format!("{case:?}, {:?}: {e}", executor.kernels()))?;
    }
    Ok(())
}

fn layer(outputs: usize, rank: Option<usize>, form: Form) -> LayerCase {
    LayerCase { outputs, rank, form, bias: true, activation: Activation::Relu }
}

#[test]
fn an_executor_can_move_between_threads() {
    fn moves<T: Send>() {}
    moves::<Executor>();
}

#[test]
fn every_variant_agrees_with_f64() {
    for gpu in gpus() {
        let kernels = ["linear", "low_rank", "low_rank_registers", "lanes", "lanes_low_rank"].into_iter().flat_map(|k| gpu.variants(k));
        for (key, kernel) in (1000..).zip(kernels) {
            let capacity = kernel.define("R4").map(|r| r as usize * 4);
            let form = if capacity.is_some() { Form::Fused } else { Form::Dense };
            let ranks = capacity.map_or(vec![None], |most| vec![Some(1), Some(most - 3), Some(most)]);
            for rank in ranks {
                for (rows, inputs, outputs) in [(1, 1, 1), (37, 65, 43), (130, 300, 257), (16, 256, 512)] {
                    let rank = rank.map(|r: usize| r.min(inputs).min(outputs));
                    check(&gpu, &Case::one(key, inputs, layer(outputs, rank, form), rows), Some(kernel)).unwrap();
                }
            }
        }
    }
}

#[test]
fn long_rows_are_summed_to_the_end() {
    for gpu in gpus() {
        for form in [Form::Dense, Form::TwoStage, Form::Fused] {
            let rank = (form != Form::Dense).then_some(5);
            check(&gpu, &Case::one(7, 60_001, layer(5, rank, form), 2), None).unwrap();
        }
        if gpu.info().class == crate::device::DeviceClass::Software && gpu.storage() == Storage::Buffers {
            let case = Case::one(7, 4 * 65_535, layer(1, None, Form::Dense), 1);
            let artifact = case.artifact();
            let refused = Executor::new(&gpu, &artifact, &plan(&case, &artifact));
            assert!(matches!(refused, Err(Error::Limit { needs: 65_535, allows: 65_534, .. })), "{refused:?}");
        }
    }
}

#[test]
fn a_rank_that_cannot_be_fused_is_refused() {
    for gpu in gpus() {
        let case = Case::one(8, 600, layer(600, Some(257), Form::Fused), 3);
        let artifact = case.artifact();
        let refused = Executor::new(&gpu, &artifact, &plan(&case, &artifact));
        assert!(matches!(refused, Err(Error::Limit { needs: 257, .. })), "{refused:?}");
    }
}

/// Infinity and NaN stay in their rows, whatever the weights' padding multiplies them with.
#[test]
fn a_row_never_reaches_another() {
    for gpu in gpus() {
        for form in [Form::Dense, Form::TwoStage, Form::Fused] {
            let mut case = Case::one(9, 37, layer(41, Some(6), form), 19);
            case.layers.push(layer(9, Some(3), form));
            let artifact = case.artifact();
            let mut executor = Executor::new(&gpu, &artifact, &plan(&case, &artifact)).unwrap();
            let (clean, mut clean_out) = (case.input(), vec![0.0; 19 * 9]);
            executor.run_one(&clean, 19, &mut clean_out).unwrap();
            let (mut dirty, mut dirty_out) = (clean, vec![0.0; 19 * 9]);
            dirty[4 * 37 + 3] = f32::INFINITY;
            dirty[11 * 37..12 * 37].fill(f32::NAN);
            executor.run_one(&dirty, 19, &mut dirty_out).unwrap();
            for row in (0..19).filter(|r| ![4, 11].contains(r)) {
                assert_eq!(clean_out[row * 9..][..9], dirty_out[row * 9..][..9], "{form:?}, row {row}");
            }
        }
    }
}

/// The same network with every tensor in f16.
fn halved(artifact: &Artifact) -> Artifact {
    let tensors = (0u32..).zip(&artifact.model().tensors).map(|(id, info)| TensorData {
        dtype: Dtype::F16,
        ..TensorData::f32(&info.name, &info.shape.iter().map(|&n| n as usize).collect::<Vec<_>>(), artifact.tensor(id).into_owned())
    });
    Artifact::build(artifact.model().clone(), tensors.collect()).unwrap()
}

/// Weights in f16 stay so on the device; sums are f32, so that only the rounding of the file shows.
#[test]
fn weights_in_f16_agree_with_f64() {
    for gpu in gpus().into_iter().filter(Gpu::halves) {
        for form in [Form::Dense, Form::TwoStage, Form::Fused] {
            let rank = (form != Form::Dense).then_some(6);
            let case = Case::one(9, 37, layer(41, rank, form), 19);
            let artifact = halved(&case.artifact());
            let expected = reference::run(&artifact, &case.input());
            let mut executor = Executor::new(&gpu, &artifact, &plan(&case, &artifact)).unwrap();
            assert!(executor.pipelines().iter().all(|p| p.constants[2] == 1));
            executor.poison();
            let mut got = vec![f32::NAN; case.rows * 41];
            executor.run_one(&case.input(), case.rows, &mut got).unwrap();
            reference::compare(&expected, &got, 41).unwrap_or_else(|e| panic!("{form:?}, {:?}: {e}", executor.kernels()));
        }
        for key in 0..8 {
            let case = ConvCase::draw(key);
            let artifact = halved(&case.artifact);
            let expected = reference::run(&artifact, &case.input());
            for form in [Form::Dense, Form::TwoStage, Form::Fused] {
                let plan = Plan::new(&artifact, case.batch, |f| match &f.fused {
                    Some(step) if form == Form::Fused && supports_fused(&gpu, step) => form,
                    _ if form == Form::Dense => form,
                    _ => Form::TwoStage,
                })
                .unwrap();
                let mut executor = Executor::new(&gpu, &artifact, &plan).unwrap();
                let mut got = vec![f32::NAN; case.rows * artifact.output_len()];
                for (input, got) in
                    case.input().chunks(case.batch * artifact.input_len()).zip(got.chunks_mut(case.batch * artifact.output_len()))
                {
                    executor.poison();
                    executor.run_one(input, input.len() / artifact.input_len(), got).unwrap();
                }
                reference::compare(&expected, &got, artifact.output_len()).unwrap_or_else(|e| panic!("case {key}, {form:?}: {e}"));
            }
        }
    }
}

/// wgpu counts what lives: once warm, a run leaves nothing and needs nothing new, not even while it is under way.
#[test]
fn a_warm_run_makes_no_object() {
    for gpu in gpus() {
        let case = Case::one(9, 37, layer(41, Some(6), Form::TwoStage), 19);
        let artifact = case.artifact();
        let mut executor = Executor::new(&gpu, &artifact, &plan(&case, &artifact)).unwrap();
        let mut out = vec![0.0; 19 * 41];
        let mut counts = || {
            let counts = |gpu: &Gpu| {
                let c = gpu.device().get_internal_counters().hal;
                [
                    c.buffers.read(),
                    c.textures.read(),
                    c.texture_views.read(),
                    c.bind_groups.read(),
                    c.bind_group_layouts.read(),
                    c.compute_pipelines.read(),
                    c.shader_modules.read(),
                    c.memory_allocations.read(),
                ]
            };
            let input = case.input();
            executor.submit(19, |_, slot, buffer| slot.fill(&input, buffer)).unwrap();
            let during = counts(&gpu);
            executor.wait(|_, slot, buffer| slot.read(buffer, &mut out)).unwrap();
            (during, counts(&gpu))
        };
        let warm = (0..4).map(|_| counts()).last().unwrap();
        assert!(warm.1[0] > 0 && warm.1[3] > 0 && warm.1[5] > 0, "wgpu counts nothing: {warm:?}");
        for _ in 0..40 {
            assert_eq!(counts(), warm);
        }
    }
}

#[test]
fn wrong_sizes_are_refused_and_harm_nothing() {
    for gpu in gpus() {
        let case = Case::one(10, 6, layer(3, None, Form::Dense), 4);
        let artifact = case.artifact();
        let mut executor = Executor::new(&gpu, &artifact, &plan(&case, &artifact)).unwrap();
        let mut out = [0.0; 12];
        assert!(executor.run_one(&case.input(), 0, &mut []).is_err());
        assert!(executor.run_one(&[0.0; 30], 5, &mut [0.0; 15]).is_err());
        assert!(executor.run_one(&case.input(), 4, &mut out[1..]).is_err());
        assert!(executor.run_one(&case.input()[1..], 4, &mut out).is_err());
        executor.run_one(&case.input(), 4, &mut out).unwrap();
        let mut again = [0.0; 12];
        let input = case.input();
        pollster::block_on(executor.run_async(
            4,
            |_, slot, buffer| slot.fill(&input, buffer),
            |_, slot, buffer| slot.read(buffer, &mut again),
        ))
        .unwrap();
        assert_eq!(out, again);
        assert!(executor.time(3).unwrap() > Duration::ZERO);
        if let Some(times) = executor.layer_times().unwrap() {
            assert_eq!(times.len(), 1);
        }
        executor.run_one(&case.input(), 4, &mut again).unwrap();
        assert_eq!(out, again);
    }
}
