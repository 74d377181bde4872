//! Several inputs and outputs, one of them a state, and values that change their layout on the way.

use crate::artifact::{
    Activation, Element, Input, InputKind, Layer, Meaning, Model, Op, Output, PoolKind, Residual, Sections, State, Stride, TensorSpec,
    Window,
};
use crate::noise::noise;
use crate::{ArrayView, Artifact, Forms, Options, Session};

const SAMPLES: usize = 3;

/// next = relu(a + b) + h, y = next as an image. `a` and `y` are images [2, 3, 4], `b` is one vector of integers for all samples, `h`
/// and `next` are vectors, the one being the other of the run before.
fn network() -> Artifact {
    let add = |activation| Op::Add { residual: Residual { stride: 1, offset: 0 }, activation };
    let reshape = |shape: &[u32]| Op::Rearrange { shape: shape.to_vec(), offset: 0, steps: vec![Stride { size: 24, stride: 1 }] };
    let pool = || Op::Pool { kind: PoolKind::Max, window: Window::POINT };
    let layers: [(&str, &[u32], Op); 6] = [
        ("image", &[0], pool()),
        ("flat", &[3], reshape(&[24])),
        ("sum", &[4, 1], add(Activation::Relu)),
        ("next", &[5, 2], add(Activation::None)),
        ("back", &[6], reshape(&[2, 3, 4])),
        ("y", &[7], pool()),
    ];
    let layers = layers.map(|(name, inputs, op)| Layer { name: name.into(), inputs: inputs.to_vec(), op }).to_vec();
    let input = |spec: TensorSpec, shape: &[u32]| Input { spec, kind: InputKind::Features, ..Input::new(shape) };
    let whole = TensorSpec { element: Element::I32, shape: vec![24], sample_axis: None, ..TensorSpec::new("b", &[]) };
    let output = |spec, value| Output { spec, value, meaning: Meaning::Values };
    let model = Model {
        inputs: vec![input(TensorSpec::new("a", &[2, 3, 4]), &[2, 3, 4]), input(whole, &[24]), input(TensorSpec::new("h", &[24]), &[24])],
        outputs: vec![output(TensorSpec::new("y", &[2, 3, 4]), 8), output(TensorSpec::new("next", &[24]), 6)],
        ..Model::new("ends", &[1], layers)
    };
    let sections = Sections { states: vec![State { output: 1, input: 2 }], ..Sections::default() };
    Artifact::build_with_sections(model, Vec::new(), sections).unwrap()
}

#[test]
fn arrays_come_and_go_by_name_and_states_stay() {
    let (a, b): (Vec<f32>, Vec<i32>) = (noise(SAMPLES * 24), (-12..12).collect());
    let sum: Vec<f32> = a.iter().enumerate().map(|(i, a)| (a + b[i % 24] as f32).max(0.0)).collect();
    let twice: Vec<f32> = sum.iter().map(|x| x + x).collect();
    for device in super::devices() {
        // Fewer at once than there are samples, too.
        for batch in [1, 2, 4] {
            let options = Options { batch, forms: Forms::Ruled, cache: None, ..Options::default() };
            let mut session = Session::new(&device, &network(), &options).unwrap();
            assert_eq!(session.layers().iter().map(|l| l.moves).collect::<Vec<_>>(), [0, 1, 0, 0, 1, 0]);
            let inputs = [("b", ArrayView::from(&b)), ("a", ArrayView::from(&a))];
            session.poison();
            for expected in [&sum, &twice] {
                let outputs = session.run(&inputs).unwrap();
                assert_eq!(
                    outputs.iter().map(|o| (o.name.as_str(), &o.shape[..])).collect::<Vec<_>>(),
                    [("y", &[SAMPLES, 2, 3, 4][..]), ("next", &[SAMPLES, 24][..])]
                );
                assert_eq!((outputs.f32("y"), outputs.f32("next")), (Some(&expected[..]), Some(&expected[..])), "{}", device.info());
            }
            // A state that is given is taken, and one that is forgotten is zeros.
            let zeros = vec![0.0; a.len()];
            let given = session.run(&[("a", ArrayView::from(&a)), ("b", ArrayView::from(&b)), ("h", ArrayView::from(&zeros))]).unwrap();
            assert_eq!(given.f32("y"), Some(&sum[..]));
            session.reset();
            assert_eq!(crate::wait::block_on(session.run_async(&inputs)).unwrap().f32("y"), Some(&sum[..]));
        }
    }
}

#[test]
fn arrays_that_do_not_fit_are_refused_by_name() {
    let (a, b) = (noise(48), [0; 24]);
    let mut session = Session::new(&crate::Device::cpu(), &network(), &Options { cache: None, ..Options::default() }).unwrap();
    let view = |values: &'static [f32]| ArrayView::F32(values);
    let lies: [(&[(&str, ArrayView<'_>)], &str); 7] = [
        (&[("a", ArrayView::from(&a))], "input 'b', int32 [24]: is not given"),
        (&[("a", ArrayView::from(&a)), ("c", ArrayView::from(&b))], "'c': the network has none of that name; it takes 'a'"),
        (&[("b", ArrayView::from(&b)), ("b", ArrayView::from(&b))], "input 'b': is given twice"),
        (&[("b", ArrayView::from(&b)), ("a", view(&[0.0; 25]))], "input 'a': 25 values are no whole number of samples of 24"),
        (&[("b", ArrayView::I32(&[1; 48])), ("a", ArrayView::from(&a))], "input 'b': 48 values, the network takes one array of 24"),
        (&[("b", ArrayView::F64(&[0.5; 24])), ("a", ArrayView::from(&a))], "input 'b': holds 0.5 as value 0; the network takes int32"),
        (&[("b", ArrayView::from(&b)), ("a", ArrayView::from(&a)), ("h", view(&[0.0; 24]))], "input 'h': has 1 samples, 'a' has 2"),
    ];
    for (inputs, expected) in lies {
        let error = session.run(inputs).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} not in {error:?}");
    }
    assert!(session.run(&a).unwrap_err().to_string().contains("takes 2 arrays ('a', 'b') and gives 1: give them by name"));
    // A state of another number of samples than the run's.
    session.run(&[("a", ArrayView::from(&a)), ("b", ArrayView::from(&b))]).unwrap();
    let one = [("a", ArrayView::F32(&a[..24])), ("b", ArrayView::from(&b))];
    assert!(session.run(&one).unwrap_err().to_string().contains("state 'h': is kept of 2 samples, this run has 1 (reset begins anew)"));
    assert!(session.submit(&one).unwrap_err().to_string().contains("one run after the other"));
}
