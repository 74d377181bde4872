use super::*;
use crate::graph::init;
use crate::import::float::Float;
use crate::tensor::count;
use crate::zoo;

/// The file's own dict, with nothing in it.
fn root() -> Held<usize> {
    let mut held = Held::default();
    held.dict("");
    held
}

/// The tensors of `network`, each at a place of its own from `first` on, in the dict at `path`.
fn add(held: &mut Held<usize>, path: &str, prefix: &str, network: &str, first: usize) {
    let dict = if path.is_empty() { 0 } else { held.dict(path) };
    let start = if path.is_empty() { String::new() } else { format!("{path}.") };
    for (at, spec) in zoo::build(network).unwrap().params().into_iter().enumerate() {
        let name = format!("{start}{prefix}{}", spec.name);
        held.entries.push(Entry { name, dict, shape: spec.shape, element: Element::Float(Float::F32), at: first + at });
    }
}

fn one(held: &mut Held<usize>, dict: usize, name: &str, shape: &[usize], element: Element) {
    held.entries.push(Entry { name: name.into(), dict, shape: shape.into(), element, at: 900 + held.entries.len() });
}

/// The place of the first tensor that was chosen, with all names; each tensor is filled with its place.
fn chosen(held: Held<usize>, asked: Asked<'_>, by: Option<&str>) -> Result<(f32, Vec<String>), String> {
    let mut read = |e: &Entry<usize>| Ok(Tensor::full(e.shape.clone(), e.at as f32));
    let params = choose(Path::new("file"), held, asked, by.map(|key| (key, key)), &mut read).map_err(|e| e.to_string())?;
    assert!(params.values().all(|t| count(t.shape()) == Some(t.data().len())));
    let first = params.values().filter_map(|t| t.data().first()).fold(f32::INFINITY, |a, &b| a.min(b));
    Ok((first, params.into_keys().collect()))
}

fn names(network: &str) -> Vec<String> {
    init(&zoo::build(network).unwrap(), 0).into_keys().collect()
}

const F32: Element = Element::Float(Float::F32);
const MLP: &str = "mlp:3-2-4";

#[test]
fn any_prefix_is_taken_off_where_the_rest_is_a_network() {
    for prefix in
        ["", "module.", "_orig_mod.", "model.net.backbone.", "state_dict.", "a.b.c.d.e.", "layers.", "model._fsdp_wrapped_module."]
    {
        for network in [MLP, "resnet8", "fcn6"] {
            for asked in [Asked::Nothing, Asked::Name(network)] {
                let mut held = root();
                add(&mut held, "", prefix, network, 0);
                one(&mut held, 0, "position_ids", &[3], Element::Integer);
                one(&mut held, 0, "num_batches_tracked", &[], F32);
                assert_eq!(chosen(held, asked, None), Ok((0.0, names(network))), "{prefix} {network}");
            }
        }
    }
}

#[test]
fn wrappers_within_names_are_taken_out() {
    let mut held = root();
    add(&mut held, "", "", MLP, 0);
    held.entries.iter_mut().for_each(|e| e.name = e.name.replace("layers.0", "layers._orig_mod.0._checkpoint_wrapped_module"));
    assert_eq!(chosen(held, Asked::Nothing, None), Ok((0.0, names(MLP))));
}

#[test]
fn classes_are_those_of_the_file_and_layers_may_be_in_factors() {
    let mut held = root();
    add(&mut held, "sd", "module.", "resnet8:classes=7", 0);
    assert_eq!(chosen(held, Asked::Name("resnet8"), None), Ok((0.0, names("resnet8"))));
    let mut held = root();
    add(&mut held, "sd", "module.", MLP, 0);
    held.entries.retain(|e| !e.name.ends_with("layers.0.weight"));
    one(&mut held, 1, "sd.module.layers.0.v", &[1, 3], F32);
    one(&mut held, 1, "sd.module.layers.0.u", &[2, 1], F32);
    let (_, found) = chosen(held, Asked::Name(MLP), None).unwrap();
    assert_eq!(found, ["layers.0.bias", "layers.0.u", "layers.0.v", "layers.2.bias", "layers.2.weight"]);
}

#[test]
fn the_network_asked_for_is_taken_among_others() {
    let both = || {
        let mut held = root();
        add(&mut held, "generator", "", MLP, 0);
        add(&mut held, "critic", "", "mlp:4-9-9-1", 50);
        held
    };
    assert_eq!(chosen(both(), Asked::Name(MLP), None).unwrap().0, 0.0);
    assert_eq!(chosen(both(), Asked::Name("mlp:4-9-9-1"), None).unwrap().0, 50.0);
    let line = chosen(both(), Asked::Nothing, None).unwrap_err();
    assert!(line.contains("2 networks, mlp:4-9-9-1 under 'critic', mlp:3-2-4 under 'generator'; --state-dict"), "{line}");
    assert_eq!(chosen(both(), Asked::Nothing, Some("critic")).unwrap().0, 50.0);
}

#[test]
fn of_several_with_equal_claim_none_is_taken() {
    for paths in [["model", "ema"], ["", "ema"], ["a", "a.b"]] {
        let both = || {
            let mut held = root();
            add(&mut held, paths[0], "", MLP, 0);
            add(&mut held, paths[1], "", MLP, 50);
            held
        };
        for asked in [Asked::Nothing, Asked::Name(MLP)] {
            let line = chosen(both(), asked, None).unwrap_err();
            let [first, second] = paths.map(|p| if p.is_empty() { "'.'".into() } else { format!("'{p}'") });
            assert!(line.contains(&first) && line.contains(&second) && line.contains("--state-dict"), "{line}");
        }
        assert_eq!(chosen(both(), Asked::Nothing, Some("ema")).ok().map(|c| c.0), (paths[1] == "ema").then_some(50.0));
        assert_eq!(chosen(both(), Asked::Nothing, Some(".")).ok().map(|c| c.0), paths[0].is_empty().then_some(0.0));
    }
    // One dict, told apart by prefixes; and twice the very same.
    let mut held = root();
    add(&mut held, "", "model.", MLP, 0);
    add(&mut held, "", "model_ema.", MLP, 50);
    assert!(chosen(held, Asked::Nothing, None).unwrap_err().contains("'model', 'model_ema'"));
    let mut held = root();
    add(&mut held, "model", "", MLP, 0);
    add(&mut held, "best", "module.", MLP, 0);
    assert_eq!(chosen(held, Asked::Nothing, None), Ok((0.0, names(MLP))));
}

#[test]
fn thousands_of_networks_are_refused_before_each_is_compared_with_all() {
    let mut held = root();
    for at in 0..1000 {
        add(&mut held, &format!("m{at}"), "", MLP, 0);
    }
    assert!(chosen(held, Asked::Nothing, None).unwrap_err().contains("more than 256 networks; --state-dict"));
}

#[test]
fn a_network_that_is_part_of_another_is_not_taken_unasked() {
    let part = || {
        let mut held = root();
        add(&mut held, "sd", "backbone.", MLP, 0);
        one(&mut held, 1, "sd.head.weight", &[5, 4], F32);
        held
    };
    for asked in [Asked::Nothing, Asked::Name(MLP)] {
        let line = chosen(part(), asked, None).unwrap_err();
        assert!(line.contains("under 'sd.backbone', and beside them 'sd.head.weight'; --state-dict sd.backbone"), "{line}");
        assert_eq!(chosen(part(), asked, Some("sd.backbone")), Ok((0.0, names(MLP))));
    }
    // A loss takes no part, and neither does what is in another dict.
    let mut held = part();
    held.entries.retain(|e| !e.name.contains("head"));
    one(&mut held, 1, "sd.criterion.weight", &[4], F32);
    let other = held.dict("queue");
    one(&mut held, other, "queue.keys", &[1000], F32);
    assert_eq!(chosen(held, Asked::Nothing, None), Ok((0.0, names(MLP))));
}

#[test]
fn a_sequential_that_was_saved_by_itself_is_read_where_its_network_is_named() {
    let sequential = || {
        let mut held = root();
        add(&mut held, "", "net.", MLP, 0);
        held.entries.iter_mut().for_each(|e| e.name = e.name.replace("layers.", ""));
        held
    };
    assert_eq!(chosen(sequential(), Asked::Name(MLP), None), Ok((0.0, names(MLP))));
    // Which activation stands between its layers, nothing says.
    assert_eq!(chosen(sequential(), Asked::Nothing, None).unwrap().1, ["0.bias", "0.weight", "2.bias", "2.weight"]);
}

#[test]
fn where_nothing_fits_the_nearest_is_given_to_be_told_what_is_wrong() {
    let mut held = root();
    add(&mut held, "sd", "model.", MLP, 0);
    let wide = held.dict("history");
    one(&mut held, wide, "history.loss", &[1000], F32);
    held.entries.retain(|e| !e.name.ends_with("2.bias"));
    assert_eq!(chosen(held, Asked::Name(MLP), None).unwrap().1, ["layers.0.bias", "layers.0.weight", "layers.2.weight"]);

    let mut held = root();
    add(&mut held, "sd", "model.", MLP, 0);
    held.entries.iter_mut().filter(|e| e.name.ends_with("2.weight")).for_each(|e| e.element = Element::Integer);
    assert!(chosen(held, Asked::Name(MLP), None).unwrap_err().contains("'sd.model.layers.2.weight' holds integers"));

    // Of unknown networks the largest dict.
    let unknown = |sizes: [usize; 2]| {
        let mut held = root();
        for (path, size) in ["a", "b"].into_iter().zip(sizes) {
            let dict = held.dict(path);
            one(&mut held, dict, &format!("{path}.module.w"), &[size], F32);
        }
        chosen(held, Asked::Nothing, None)
    };
    assert_eq!(unknown([3, 5]).unwrap(), (901.0, vec!["w".to_string()]));
    assert!(unknown([5, 5]).unwrap_err().contains("same size, 'a', 'b'; --state-dict"));
    let mut twice = root();
    one(&mut twice, 0, "w", &[1], F32);
    one(&mut twice, 0, "w", &[1], F32);
    assert!(chosen(twice, Asked::Nothing, None).unwrap_err().contains("two tensors that are called 'w'"));
    assert!(matches!(chosen(root(), Asked::Name("resnet21"), None), Err(e) if e.contains("no tensors of floats")));
}
