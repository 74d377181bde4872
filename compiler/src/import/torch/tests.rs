//! Files written instruction by instruction, in both layouts.

use thinfer::tools::archives::{archive, deflated};

use super::*;
use crate::graph::init;
use crate::tensor::{Params, Tensor};
use crate::zoo;

/// A pickle that is written instruction by instruction.
#[derive(Clone, Default)]
struct Write {
    bytes: Vec<u8>,
    /// Whether storages are described as before 1.6, with a view of them behind.
    legacy: bool,
}

impl Write {
    fn new(legacy: bool) -> Self {
        Self { bytes: b"\x80\x02".to_vec(), legacy }
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    fn ints(self, ints: &[usize]) -> Self {
        ints.iter().fold(self.raw(b"("), |w, i| w.raw(b"J").raw(&(*i as u32).to_le_bytes())).raw(b"t")
    }

    /// `key`: whatever `value` writes.
    fn under(self, key: &str, value: impl FnOnce(Self) -> Self) -> Self {
        value(self.text(key))
    }

    /// A dict of what `items` writes.
    fn dict(self, items: impl FnOnce(Self) -> Self) -> Self {
        items(self.raw(b"}(")).raw(b"u")
    }

    /// The view of storage `key` of `kind`, which a call of `rebuild` makes.
    fn view(self, rebuild: &str, kind: &str, key: &str, offset: usize, shape: &[usize], strides: &[usize]) -> Self {
        let call = self.raw(format!("ctorch._utils\n{rebuild}\n((").as_bytes()).text("storage");
        let storage = call.raw(format!("ctorch\n{kind}\n").as_bytes()).text(key).text("cuda:0").raw(b"K\x00");
        let storage = if storage.legacy { storage.raw(b"NtQ") } else { storage.raw(b"tQ") };
        storage.raw(b"J").raw(&(offset as u32).to_le_bytes()).ints(shape).ints(strides).raw(b"\x89ccollections\nOrderedDict\n)RtR")
    }

    /// `name`: all of storage `key`.
    fn tensor(self, name: &str, key: &str, shape: &[usize]) -> Self {
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        self.text(name).view("_rebuild_tensor_v2", "FloatStorage", key, 0, shape, &strides)
    }
}

/// The names of a little network, with what its tensors hold and how they are shaped.
fn little() -> Params {
    init(&zoo::build("mlp:3-2-4").unwrap(), 7)
}

/// The little network's tensors behind `prefix`, the storages numbered from `first`.
fn put(write: Write, prefix: &str, first: usize) -> Write {
    let tensors = little().into_iter().enumerate();
    tensors.fold(write, |w, (at, (name, tensor))| w.tensor(&format!("{prefix}{name}"), &(first + at).to_string(), tensor.shape()))
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The storages of the little network, `times` over; all but the first are doubled.
fn storages(times: usize) -> Vec<Vec<u8>> {
    let doubled =
        |time: usize| little().into_values().map(move |t| t.data().iter().map(|x| x * (1 << time.min(1)) as f32).collect::<Vec<_>>());
    (0..times).flat_map(doubled).map(|values| bytes(&values)).collect()
}

/// A zip archive as `torch.save` writes it, or deflated.
fn zipped(pickle: &Write, storages: &[Vec<u8>], pack: impl Fn(&[(&str, &[u8])]) -> Vec<u8>) -> Vec<u8> {
    let named: Vec<(String, &[u8])> = storages.iter().enumerate().map(|(k, v)| (format!("net/data/{k}"), v.as_slice())).collect();
    let mut entries: Vec<(&str, &[u8])> = vec![("net/data.pkl", &pickle.bytes), ("net/byteorder", b"little")];
    entries.extend(named.iter().map(|(k, v)| (k.as_str(), *v)));
    pack(&entries)
}

fn file(pickle: &Write, storages: &[Vec<u8>]) -> Vec<u8> {
    zipped(pickle, storages, |entries| archive(entries, false))
}

/// The layout before 1.6; each storage of f32.
fn old(pickle: &Write, storages: &[Vec<u8>]) -> Vec<u8> {
    let start = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}(U\x0dlittle_endian\x88u.";
    let keys = (0..storages.len()).fold(Write::new(true).raw(b"]("), |w, k| w.text(&k.to_string())).raw(b"e.");
    let mut file = [&start[..], &pickle.bytes, &keys.bytes].concat();
    for storage in storages {
        file.extend((storage.len() as u64 / 4).to_le_bytes());
        file.extend(storage);
    }
    file
}

/// What the file gives by `choice`; the refusal as its line.
fn read_by(bytes: &[u8], choice: &Choice<'_>) -> Result<Params, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("net.pth");
    std::fs::write(&path, bytes).unwrap();
    load(&path, choice).map(|c| c.params).map_err(|e| e.to_string())
}

fn read(bytes: &[u8]) -> Result<Params, String> {
    read_by(bytes, &Choice::default())
}

#[test]
fn tensors_are_read_by_shape_stride_and_type() {
    let view = |w: Write, name: &str, kind: &str, key: &str, offset, shape: &[usize], strides: &[usize]| {
        w.text(name).view("_rebuild_tensor_v2", kind, key, offset, shape, strides)
    };
    let w = Write::new(false).raw(b"ccollections\nOrderedDict\n)R(");
    let w = view(w, "module.a.weight", "FloatStorage", "0", 1, &[2, 3], &[1, 2]);
    let w = view(w, "module.a.bias", "HalfStorage", "1", 0, &[2], &[1]);
    let w = view(w, "module.a.num_batches_tracked", "LongStorage", "2", 0, &[], &[]);
    let w = view(w, "module.a.ids", "LongStorage", "2", 0, &[1], &[1]);
    // One element of a storage of another kind, seen six times; an axis of one element with a stride beyond everything.
    let w = view(w, "module.a.scale", "DoubleStorage", "3", 1, &[2, 1, 3], &[0, 2_000_000_000, 0]);
    let w = view(w, "module.a.brain", "BFloat16Storage", "4", 0, &[2], &[2]);
    let doubles = [7.0f64, -0.5].iter().flat_map(|v| v.to_le_bytes()).collect();
    let storages =
        [bytes(&[9.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), vec![0, 0x3c, 0, 0xc0], vec![0; 8], doubles, vec![0x80, 0x3f, 0, 0, 0x40, 0xc0]];
    let params = read(&file(&w.raw(b"u."), &storages)).unwrap();
    assert_eq!(params.keys().collect::<Vec<_>>(), ["a.bias", "a.brain", "a.scale", "a.weight"]);
    assert_eq!(params["a.weight"], Tensor::new([2, 3], vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0]).unwrap());
    assert_eq!((params["a.bias"].data(), params["a.brain"].data()), (&[1.0, -2.0][..], &[1.0, -3.0][..]));
    assert_eq!(params["a.scale"], Tensor::full([2, 1, 3], -0.5));
}

#[test]
fn both_layouts_give_the_network_wherever_it_is() {
    type Put = fn(Write) -> Write;
    // With the storages that each has tensors of.
    let wraps: [(usize, Put); 8] = [
        (4, |w| w.dict(|w| put(w, "", 0))),
        (4, |w| w.dict(|w| w.under("epoch", |w| w.raw(b"K\x05")).under("anything", |w| w.dict(|w| put(w, "model.module._orig_mod.", 0))))),
        (4, |w| w.dict(|w| w.under("a", |w| w.dict(|w| w.under("b.c", |w| w.dict(|w| put(w, "", 0))))))),
        // A list; beside it an object of a class that nobody has here, a set, a large number and an optimiser with tensors of the
        // same names.
        (8, |w| {
            let w = w.raw(b"](").dict(|w| put(w, "net.", 0)).raw(b"clightning\nCallback\n)\x81}U\x01nK\x01sb");
            let w = w.raw(b"c__builtin__\nset\n](K\x01e\x85R\x8a\x0a0123456789");
            w.dict(|w| w.under("optimizer_states", |w| w.dict(|w| put(w, "", 4)))).raw(b"e")
        }),
        // The kind of dict that Python 2 writes: a list of pairs as an argument.
        (4, |w| {
            let pairs = little().into_iter().enumerate().fold(w.raw(b"ccollections\nOrderedDict\n]("), |w, (at, (name, tensor))| {
                w.raw(b"](").tensor(&name, &at.to_string(), tensor.shape()).raw(b"e")
            });
            pairs.raw(b"e\x85R")
        }),
        // A loss as a tensor, and one in the state dict.
        (5, |w| w.dict(|w| w.tensor("loss", "4", &[]).under("sd", |w| w.dict(|w| put(w, "", 0).tensor("criterion.weight", "4", &[2]))))),
        // Each module's tensors in a dict of their own.
        (4, |w| {
            w.dict(|w| {
                ["layers.0", "layers.2"].iter().enumerate().fold(w, |w, (at, module)| {
                    let of = |name: &str| little()[&format!("{module}.{name}")].shape().to_vec();
                    w.under(module, |w| {
                        let w = w.dict(|w| w.tensor("bias", &(2 * at).to_string(), &of("bias")));
                        w.raw(b"(").tensor("weight", &(2 * at + 1).to_string(), &of("weight")).raw(b"u")
                    })
                })
            })
        }),
        // The same dict under two keys, and copies of it.
        (4, |w| {
            let w = w.raw(b"}(").under("model", |w| w.dict(|w| put(w, "", 0)).raw(b"q\x07")).under("best", |w| w.raw(b"h\x07"));
            w.under("copy", |w| w.dict(|w| put(w, "module.", 0))).raw(b"u")
        }),
    ];
    for (at, (used, wrap)) in wraps.iter().enumerate() {
        let storages = storages(2);
        let new = wrap(Write::new(false)).raw(b".");
        let described = wrap(Write::new(true)).raw(b".");
        let files = [file(&new, &storages), zipped(&new, &storages, deflated), old(&described, &storages[..*used])];
        for (layout, file) in files.iter().enumerate() {
            for model in [None, Some("mlp:3-2-4")] {
                let found = read_by(file, &Choice { model, ..Choice::default() });
                assert_eq!(found.as_ref(), Ok(&little()), "{at} {layout} {model:?}");
            }
        }
    }
}

/// A module of class `net.NAME` with `parameters`, `buffers` and `modules`.
fn module(w: Write, parameters: impl FnOnce(Write) -> Write, modules: impl FnOnce(Write) -> Write) -> Write {
    let w = w.raw(b"cnet\nNet\n)\x81").raw(b"}(").under("training", |w| w.raw(b"\x88"));
    let w = w.under("_parameters", |w| w.dict(parameters)).under("_buffers", |w| w.dict(|w| w.tensor("passing", "0", &[1])));
    let w = w.under("_non_persistent_buffers_set", |w| w.raw(b"c__builtin__\nset\n](").text("passing").raw(b"e\x85R"));
    w.under("_modules", |w| w.dict(modules)).raw(b"ub")
}

#[test]
fn modules_that_were_saved_whole_give_their_state_dict() {
    let linear = |w: Write, name: &str, first: usize| {
        let shape = |part: &str| little()[&format!("{name}.{part}")].shape().to_vec();
        let parameter = |w: Write, part: &str, key: usize| {
            let strides: Vec<usize> = if part == "bias" { vec![1] } else { vec![shape(part)[1], 1] };
            let w = w.text(part).raw(b"ctorch._utils\n_rebuild_parameter\n(");
            w.view("_rebuild_tensor", "FloatStorage", &key.to_string(), 0, &shape(part), &strides)
                .raw(b"\x88ccollections\nOrderedDict\n)RtR")
        };
        module(w, |w| parameter(parameter(w, "bias", first), "weight", first + 1), |w| w)
    };
    let layers = |w: Write| w.under("0", |w| linear(w, "layers.0", 0)).under("1", |w| w.raw(b"N")).under("2", |w| linear(w, "layers.2", 2));
    let net = |w: Write| module(w, |w| w.under("none", |w| w.raw(b"N")), |w| w.under("layers", |w| module(w, |w| w, layers)));
    let parallel = |w: Write| w.dict(|w| w.under("ema", |w| module(w, |w| w, |w| w.under("module", net))));
    for whole in [net(Write::new(false)), parallel(Write::new(false))] {
        assert_eq!(read(&file(&whole.raw(b"."), &storages(1))), Ok(little()));
    }
}

#[test]
fn the_user_says_which_of_several() {
    let pickle = Write::new(false).dict(|w| {
        let w = w.under("model", |w| w.dict(|w| put(w, "", 4)));
        w.under("state.x", |w| w.dict(|w| w.under("ema", |w| w.dict(|w| put(put(w, "net.raw.", 8), "net.mean.", 0)))))
    });
    let file = file(&pickle.raw(b"."), &storages(3));
    let by = |state_dict| read_by(&file, &Choice { state_dict: Some(state_dict), ..Choice::default() });
    let doubled: Params =
        little().into_iter().map(|(k, t)| (k, Tensor::new(t.shape(), t.data().iter().map(|x| 2.0 * x).collect()).unwrap())).collect();
    assert_eq!((by("model"), by("state.x.ema.net.mean")), (Ok(doubled.clone()), Ok(little())));
    assert_eq!(by("state.x.ema.net.raw"), Ok(doubled));
    assert!(by("stat").unwrap_err().contains("no tensors under 'stat' (--state-dict); there are 'model', 'state'"));
    let within = by("state.x").unwrap_err();
    assert!(within.contains("mlp:3-2-4 2 times, under 'state.x.ema.net.mean', 'state.x.ema.net.raw'"), "{within}");
}

#[test]
fn what_is_no_state_dict_is_refused() {
    let refused = |bytes: &[u8]| read(bytes).unwrap_err();
    assert!(refused(b"text").contains("neither a zip archive nor the layout before PyTorch 1.6"));
    assert!(refused(b"\x80\x02}.").contains("torch.save did not write") && refused(&archive(&[("a", b"b")], false)).contains("data.pkl"));
    let script = archive(&[("net/data.pkl", b"\x80\x02}."), ("net/constants.pkl", b"")], false);
    assert!(refused(&script).contains("is a TorchScript archive") && refused(&script).contains("torch.jit.load"));
    let big = archive(&[("net/data.pkl", b"\x80\x02}."), ("net/byteorder", b"big")], false);
    assert!(refused(&big).contains("big-endian"));
    let empty = Write::new(false).raw(b"cnet\nNet\n)\x81}b.");
    assert!(refused(&file(&empty, &[])).contains("no tensors of floats"));
    let short = |shape: &[usize], strides: &[usize], kind: &str| {
        let w = Write::new(false).dict(|w| w.text("w").view("_rebuild_tensor_v2", kind, "0", 0, shape, strides));
        refused(&file(&w.raw(b"."), &[bytes(&[0.0; 4])]))
    };
    assert!(short(&[5], &[1], "FloatStorage").contains("'w' of shape [5] does not fit"));
    assert!(short(&[4], &[2], "FloatStorage").contains("does not fit"));
    assert!(short(&[1 << 30, 1 << 30], &[0, 0], "FloatStorage").contains("out of proportion"));
    assert!(short(&[1 << 30, 1 << 30, 1 << 30], &[0, 0, 0], "FloatStorage").contains("does not fit"));
    assert!(short(&[1], &[1], "IntStorage").contains("no tensors of floats"));
    assert!(short(&[1], &[1], "ComplexFloatStorage").contains("'w' is a ComplexFloatStorage; floats are needed"));
    let absent = Write::new(false).dict(|w| w.tensor("w", "3", &[1]));
    assert!(refused(&file(&absent.raw(b"."), &[])).contains("'net/data/3', which the file does not hold"));
}

#[test]
fn damage_of_the_old_layout_is_told() {
    let sound = old(&Write::new(true).dict(|w| put(w, "", 0)).raw(b"."), &storages(1));
    assert_eq!(read(&sound), Ok(little()));
    for end in 0..sound.len() {
        assert!(read(&sound[..end]).is_err(), "{end}");
    }
    for i in 0..sound.len() {
        let mut changed = sound.clone();
        changed[i] ^= 0xff;
        let _ = read(&changed);
    }
    let big = [&sound[..sound.iter().position(|&b| b == 0x88).unwrap()], b"\x89u."].concat();
    assert!(read(&big).unwrap_err().contains("big-endian"));
}

#[test]
fn shared_values_take_no_more_than_their_share() {
    // A thousand tensors of one storage, each of a hundred thousand elements.
    let w = (0..1000).fold(Write::new(false).raw(b"}("), |w, at| w.tensor(&format!("t{at}"), "0", &[100_000]));
    assert!(read(&file(&w.raw(b"u."), &[vec![0; 400_000]])).unwrap_err().contains("out of proportion"));
    // A dict in itself, and modules within each other: 2⁶⁴ ways through them.
    assert!(read(&file(&Write::new(false).raw(b"}q\x00U\x01ah\x00s."), &[])).unwrap_err().contains("no tensors"));
    let doubled = |w: Write, inner: &dyn Fn(Write) -> Write| {
        module(w, |w| w.tensor("w", "0", &[1]), |w| inner(w.text("a")).raw(b"q\x01").text("b").raw(b"h\x01"))
    };
    let nested = (0..64)
        .fold(module(Write::new(false), |w| w, |w| w).bytes.split_off(2), |inner, _| doubled(Write::default(), &|w| w.raw(&inner)).bytes);
    let w = Write::new(false).raw(&nested).raw(b".");
    assert!(read(&file(&w, &[vec![0; 4]])).unwrap_err().contains("without end"));
}
