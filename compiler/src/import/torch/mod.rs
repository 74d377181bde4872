//! State dicts as `torch.save` writes them (.pth, .pt): a zip archive with one pickle, of which only tensors are taken.

mod pickle;
mod zip;

use std::path::Path;

use pickle::{Id, Node, Pickle};
use zip::Entries;

use super::float::Float;
use super::{Checkpoint, Meta, is_counter, without_parallel};
use crate::error::{Error, Result};
use crate::tensor::{Params, Tensor, count};

/// Where training scripts put a network's tensors among other things.
const KEYS: [&str; 7] = ["state_dict", "model_state_dict", "model", "net", "network", "params", "weights"];

/// Reads a state dict. Nothing that the file holds is executed.
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] for a file in the format from before PyTorch 1.6, one that is damaged, or one that
/// holds no state dict of floats.
pub(super) fn load(path: &Path) -> Result<Checkpoint> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let params = read(&bytes).map_err(|why| Error::Checkpoint { path: path.into(), why })?;
    Ok(Checkpoint { params, meta: Meta::default() })
}

fn read(bytes: &[u8]) -> Result<Params, String> {
    if !bytes.starts_with(b"PK") {
        return Err("is no zip archive; if it was saved by PyTorch before 1.6, load it there and torch.save its state_dict() again".into());
    }
    let entries = zip::entries(bytes)?;
    let (name, bytes) =
        entries.iter().find(|(n, _)| n.ends_with("/data.pkl")).ok_or("holds no data.pkl, so torch.save did not write it")?;
    let folder = &name[..name.len() - "data.pkl".len()];
    if entries.get(format!("{folder}byteorder").as_str()).is_some_and(|order| *order != b"little") {
        return Err("was saved on a big-endian machine".into());
    }
    let pickle = Pickle::read(bytes)?;
    let mut params = Params::new();
    for (name, value) in state_dict(&pickle)? {
        let Some((storage, layout)) = tensor(&pickle, value) else { continue };
        if is_counter(name) {
            continue;
        }
        let made = load_tensor(&pickle, &entries, folder, storage, &layout).map_err(|why| format!("tensor '{name}' {why}"))?;
        params.insert(name.to_string(), made);
    }
    Ok(without_parallel(params))
}

/// Names and values of the dict that holds tensors: the file's own, or one that it names as a network's.
fn state_dict(pickle: &Pickle) -> Result<Vec<(&str, Id)>, String> {
    let pairs = |id: Id| -> Vec<(&str, Id)> {
        let Node::Dict(items) = pickle.node(id) else { return Vec::new() };
        let named = |pair: &[Id]| if let Node::Text(name) = pickle.node(pair[0]) { Some((name.as_str(), pair[1])) } else { None };
        items.chunks_exact(2).filter_map(named).collect()
    };
    let has_tensors = |pairs: &[(&str, Id)]| pairs.iter().any(|(_, v)| tensor(pickle, *v).is_some());
    let own = pairs(pickle.root);
    let inner = || own.iter().filter(|(name, _)| KEYS.contains(name)).map(|(_, v)| pairs(*v)).find(|p| has_tensors(p));
    if has_tensors(&own) {
        return Ok(own);
    }
    let what = if matches!(pickle.node(pickle.root), Node::Call(..)) { "a whole module" } else { "no tensors" };
    inner().ok_or_else(|| format!("holds {what}, not a state dict; torch.save(model.state_dict(), FILE) writes one"))
}

/// Offset, shape and strides in a storage.
struct Layout {
    offset: i64,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

/// Storage and layout of a value that rebuilds a tensor, or a parameter around one.
fn tensor(pickle: &Pickle, id: Id) -> Option<(Id, Layout)> {
    let Node::Call(called, arguments) = pickle.node(id) else { return None };
    let (Node::Global(name), arguments) = (pickle.node(*called), pickle.items(*arguments)?) else { return None };
    match name.as_str() {
        "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => {
            let &[storage, offset, shape, strides] = arguments.first_chunk::<4>()?;
            let (Node::Persistent(storage), Node::Int(offset)) = (pickle.node(storage), pickle.node(offset)) else { return None };
            Some((*storage, Layout { offset: *offset, shape: pickle.ints(shape)?, strides: pickle.ints(strides)? }))
        }
        // A parameter within a parameter is none.
        "torch._utils._rebuild_parameter" => match pickle.node(*arguments.first()?) {
            Node::Call(inner, _) if pickle.node(*inner) != pickle.node(*called) => tensor(pickle, arguments[0]),
            _ => None,
        },
        _ => None,
    }
}

/// The elements of a tensor, in the order of its shape whatever its strides.
fn load_tensor(pickle: &Pickle, entries: &Entries<'_>, folder: &str, storage: Id, layout: &Layout) -> Result<Tensor, String> {
    // ('storage', type, key, location, elements)
    let parts = pickle.items(storage).and_then(|p| p.first_chunk::<5>()).ok_or("has a storage that is described in no known way")?;
    let (Node::Global(kind), Node::Text(key)) = (pickle.node(parts[1]), pickle.node(parts[2])) else {
        return Err("has a storage that is described in no known way".into());
    };
    let float = match kind.as_str() {
        "torch.FloatStorage" => Float::F32,
        "torch.DoubleStorage" => Float::F64,
        "torch.HalfStorage" => Float::F16,
        "torch.BFloat16Storage" => Float::BF16,
        other => return Err(format!("is a {other}; floats are needed")),
    };
    let path = format!("{folder}data/{key}");
    let bytes = entries.get(path.as_str()).ok_or_else(|| format!("lies in '{path}', which the file does not hold"))?;
    let (shape, strides) = (sizes(&layout.shape)?, sizes(&layout.strides)?);
    let stored = bytes.len() / float.bytes();
    let misfit = || format!("of shape {shape:?} does not fit its storage of {stored} elements");
    let len = count(&shape).filter(|&n| n <= stored && shape.len() == strides.len()).ok_or_else(misfit)?;
    let first = usize::try_from(layout.offset).map_err(|_| misfit())?;
    let reach = shape.iter().zip(&strides).try_fold(first, |at, (&d, &s)| d.saturating_sub(1).checked_mul(s)?.checked_add(at));
    if len > 0 && reach.is_none_or(|last| last >= stored) {
        return Err(misfit());
    }
    let elements = float.decode(bytes);
    let mut places = vec![first];
    for (&d, &s) in shape.iter().zip(&strides) {
        places = places.iter().flat_map(|&p| (0..d).map(move |i| p + i * s)).collect();
    }
    Tensor::new(shape.clone(), places.into_iter().map(|p| elements[p]).collect()).ok_or_else(misfit)
}

fn sizes(ints: &[i64]) -> Result<Vec<usize>, String> {
    ints.iter().map(|&i| usize::try_from(i).map_err(|_| format!("has a size of {i}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::zip::tests::archive;
    use super::*;

    /// A pickle that is written instruction by instruction.
    #[derive(Default)]
    struct Write(Vec<u8>);

    impl Write {
        fn raw(mut self, bytes: &[u8]) -> Self {
            self.0.extend(bytes);
            self
        }

        fn text(self, text: &str) -> Self {
            self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
        }

        fn ints(mut self, ints: &[i32]) -> Self {
            self.0.push(b'(');
            for i in ints {
                self = self.raw(b"J").raw(&i.to_le_bytes());
            }
            self.raw(b"t")
        }

        /// `name`: a tensor in storage `key` of `kind`.
        fn tensor(self, name: &str, kind: &str, key: &str, offset: i32, shape: &[i32], strides: &[i32]) -> Self {
            let call = self.text(name).raw(b"ctorch._utils\n_rebuild_tensor_v2\n((").text("storage");
            let storage = call.raw(format!("ctorch\n{kind}\n").as_bytes()).text(key).text("cpu").raw(b"K\x00tQ");
            let layout = storage.raw(b"J").raw(&offset.to_le_bytes()).ints(shape).ints(strides);
            layout.raw(b"\x89ccollections\nOrderedDict\n)RtR")
        }
    }

    fn file(pickle: Write, storages: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let named: Vec<(String, Vec<u8>)> = storages.iter().map(|(k, v)| (format!("net/data/{k}"), v.clone())).collect();
        let mut entries: Vec<(&str, &[u8])> = vec![("net/data.pkl", &pickle.0), ("net/byteorder", b"little")];
        entries.extend(named.iter().map(|(k, v)| (k.as_str(), v.as_slice())));
        archive(&entries, false)
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn start() -> Write {
        Write::default().raw(b"\x80\x02ccollections\nOrderedDict\n)R(")
    }

    #[test]
    fn tensors_are_read_by_shape_and_stride() {
        let pickle = start()
            .tensor("module.a.weight", "FloatStorage", "0", 1, &[2, 3], &[1, 2])
            .tensor("module.a.bias", "HalfStorage", "1", 0, &[2], &[1])
            .tensor("module.a.num_batches_tracked", "LongStorage", "2", 0, &[], &[]);
        let storages = [("0", floats(&[9.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])), ("1", vec![0, 0x3c, 0, 0xc0]), ("2", vec![0; 8])];
        let params = read(&file(pickle.raw(b"u."), &storages)).unwrap();
        assert_eq!(params.keys().collect::<Vec<_>>(), ["a.bias", "a.weight"]);
        assert_eq!(params["a.weight"], Tensor::new([2, 3], vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0]).unwrap());
        assert_eq!(params["a.bias"].data(), [1.0, -2.0]);
    }

    #[test]
    fn a_state_dict_within_a_checkpoint_is_found() {
        let inner = Write::default().raw(b"\x80\x02}(").text("epoch").raw(b"K\x05").text("state_dict").raw(b"}(");
        let pickle = inner.tensor("w", "FloatStorage", "0", 0, &[1], &[1]).raw(b"uu.");
        assert_eq!(read(&file(pickle, &[("0", floats(&[4.0]))])).unwrap()["w"].data(), [4.0]);
    }

    #[test]
    fn what_is_no_state_dict_is_refused() {
        let refused = |bytes: &[u8]| read(bytes).unwrap_err();
        assert!(refused(b"\x80\x02\x8a\nl\xfc\x9cF\xf9").contains("before 1.6"));
        assert!(refused(&archive(&[("a", b"b")], false)).contains("data.pkl"));
        let module = Write::default().raw(b"\x80\x02cnet\nNet\n)\x81}b.");
        assert!(refused(&file(module, &[])).contains("a whole module"));
        let short = |shape: &[i32], strides: &[i32], kind: &str| {
            refused(&file(start().tensor("w", kind, "0", 0, shape, strides).raw(b"u."), &[("0", floats(&[0.0; 4]))]))
        };
        assert!(short(&[5], &[1], "FloatStorage").contains("'w' of shape [5] does not fit"));
        assert!(short(&[4], &[2], "FloatStorage").contains("does not fit"));
        assert!(short(&[1 << 30, 1 << 30], &[0, 0], "FloatStorage").contains("does not fit"));
        assert!(short(&[-1], &[1], "FloatStorage").contains("size of -1"));
        assert!(short(&[1], &[1], "IntStorage").contains("floats are needed"));
    }
}
