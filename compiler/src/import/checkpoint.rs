//! safetensors checkpoints under PyTorch's names, with what we note beside the tensors.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};
use thinfer::artifact::{Input, Preprocess};

use super::Choice;
use super::ends::Ends;
use super::float::Float;
use super::state_dict::{self, Asked, Element, Entry, Held};
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::graph::Graph;
use crate::tensor::{Params, Tensor};
use crate::zoo;

/// What a checkpoint says of itself in the safetensors metadata; all of it may be absent in files from elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// The architecture (`fcn8`): key `model`.
    pub model: Option<String>,
    /// The data that it was trained on (`mnist`): key `data`.
    pub data: Option<String>,
    /// How images become its input: key `preprocessing`, as JSON.
    pub preprocess: Option<Preprocess>,
    /// How it was trained (`lorita factors=2`): key `method`.
    pub method: Option<String>,
    /// Class names: key `classes`, as a JSON list.
    pub classes: Vec<String>,
    /// The network itself, where it is none of the zoo's: key `graph`, as JSON.
    pub graph: Option<Graph>,
    /// What its source declared of its arrays: key `ends`, as JSON.
    pub ends: Option<Ends>,
}

/// Named tensors and what is known of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// The tensors.
    pub params: Params,
    /// What the file says of itself.
    pub meta: Meta,
}

impl Ends {
    /// What the input of `graph` is that pixels are meant for, by what its checkpoint says of it, pixels as `preprocess` says.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn input_of(graph: &Graph, meta: &Meta, preprocess: &Preprocess) -> Result<Input> {
        let ends = meta.ends.clone().map_or_else(|| Self::of(graph), Ok)?;
        ends.inputs(graph, preprocess).into_iter().nth(ends.of_pixels()).ok_or_else(|| Error::invalid(&graph.name, "has no input"))
    }
}

/// Reads a safetensors file: the tensors of the network that `choice`, the file or the tensors themselves tell.
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] for a file that is no safetensors, a tensor of an unusable type, unreadable
/// metadata, or several networks, naming it; [`Error::UnknownModel`].
pub(super) fn load(path: &Path, choice: &Choice<'_>) -> Result<Checkpoint> {
    let fail = |why: String| Error::Checkpoint { path: path.into(), why };
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| fail(e.to_string()))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| fail(e.to_string()))?;
    let meta = header.metadata().as_ref().map(|m| read_meta(&m.iter().collect())).transpose().map_err(fail)?.unwrap_or_default();
    let mut held = Held::default();
    let dict = held.dict("");
    held.entries = tensors
        .iter()
        .map(|(name, view)| Entry {
            name: name.to_string(),
            dict,
            shape: view.shape().to_vec(),
            element: element(view.dtype()),
            at: name.to_string(),
        })
        .collect();
    let asked = match (&meta.graph, choice.model, &meta.model) {
        (Some(graph), ..) => Asked::Graph(graph),
        (None, Some(name), _) => Asked::Name(name),
        // Files from elsewhere have names of their own.
        (None, None, Some(name)) if zoo::build(name).is_ok() => Asked::Name(name),
        _ => Asked::Nothing,
    };
    let params = state_dict::choose(path, held, asked, choice.state_dict.map(|key| (key, key)), &mut |entry| {
        let view = tensors.tensor(&entry.at).map_err(|e| e.to_string())?;
        let Element::Float(float) = entry.element else { return Err(format!("has type {:?}; floats are needed", view.dtype())) };
        Tensor::new(view.shape(), float.decode(view.data())).ok_or_else(|| format!("has impossible shape {:?}", view.shape()))
    })?;
    Ok(Checkpoint { params, meta })
}

/// Writes a safetensors file, whole or not at all. The same checkpoint gives the same bytes: tensors and metadata stand
/// in name order (the safetensors crate writes metadata in a hash map's order, so the header is written here).
///
/// # Errors
/// [`Error::Io`].
pub fn save(path: &Path, checkpoint: &Checkpoint) -> Result<()> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), Value::Object(write_meta(&checkpoint.meta)));
    let mut data = Vec::new();
    for (name, tensor) in &checkpoint.params {
        let start = data.len();
        data.extend(tensor.data().iter().flat_map(|x| x.to_le_bytes()));
        header.insert(name.clone(), json!({ "dtype": "F32", "shape": tensor.shape(), "data_offsets": [start, data.len()] }));
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = Vec::with_capacity(8 + text.len() + data.len());
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text);
    file.extend(data);
    write_atomic(path, &file)
}

fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F32 => Element::Float(Float::F32),
        Dtype::F64 => Element::Float(Float::F64),
        Dtype::F16 => Element::Float(Float::F16),
        Dtype::BF16 => Element::Float(Float::BF16),
        Dtype::BOOL | Dtype::U8 | Dtype::I8 | Dtype::I16 | Dtype::U16 | Dtype::I32 | Dtype::U32 | Dtype::I64 | Dtype::U64 => {
            Element::Integer
        }
        other => Element::Other(format!("{other:?}")),
    }
}

fn read_meta(entries: &BTreeMap<&String, &String>) -> Result<Meta, String> {
    let get = |key: &str| entries.iter().find(|(k, _)| k.as_str() == key).map(|(_, v)| v.as_str());
    let parsed =
        |key: &str| get(key).map(|text| serde_json::from_str::<Value>(text).map_err(|e| format!("metadata '{key}': {e}"))).transpose();
    let preprocess = parsed("preprocessing")?
        .map(|v| serde_json::from_value::<Preprocess>(v).map_err(|e| format!("metadata 'preprocessing': {e}")))
        .transpose()?;
    let classes =
        parsed("classes")?.map(|v| serde_json::from_value::<Vec<String>>(v).map_err(|e| format!("metadata 'classes': {e}"))).transpose()?;
    let graph = get("graph").map(serde_json::from_str::<Graph>).transpose().map_err(|e| format!("metadata 'graph': {e}"))?;
    if let Some(graph) = &graph {
        graph.shapes().map_err(|e| format!("metadata 'graph': {e}"))?;
    }
    let ends = get("ends").map(serde_json::from_str::<Ends>).transpose().map_err(|e| format!("metadata 'ends': {e}"))?;
    if let (Some(ends), Some(graph)) = (&ends, &graph) {
        ends.check(graph).map_err(|why| format!("metadata 'ends': {why}"))?;
    }
    // Of a network of the zoo they say nothing new.
    let ends = ends.filter(|_| graph.is_some());
    let text = |key: &str| get(key).map(str::to_string);
    let classes = classes.unwrap_or_default();
    Ok(Meta { model: text("model"), data: text("data"), preprocess, method: text("method"), classes, graph, ends })
}

fn write_meta(meta: &Meta) -> Map<String, Value> {
    let mut entries = Map::new();
    let mut put = |key: &str, value: Option<String>| {
        entries.extend(value.map(|v| (key.to_string(), Value::String(v))));
    };
    put("format", Some("pt".into()));
    put("model", meta.model.clone());
    put("data", meta.data.clone());
    put("method", meta.method.clone());
    put("preprocessing", meta.preprocess.as_ref().map(|p| json!(p).to_string()));
    put("graph", meta.graph.as_ref().map(|g| json!(g).to_string()));
    put("ends", meta.ends.as_ref().map(|e| json!(e).to_string()));
    put("classes", (!meta.classes.is_empty()).then(|| json!(meta.classes).to_string()));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph;

    fn load(path: &Path) -> Result<Checkpoint> {
        super::load(path, &Choice::default())
    }

    fn sample() -> Checkpoint {
        let params = graph::init(&zoo::build("fcn6").unwrap(), 3);
        let preprocess = Preprocess { scale: 1.0 / 255.0, mean: vec![0.1307], std: vec![0.3081], ..Preprocess::default() };
        let meta = Meta {
            model: Some("fcn6".into()),
            data: Some("mnist".into()),
            preprocess: Some(preprocess),
            method: Some("dense".into()),
            classes: vec!["0".into(), "1".into()],
            graph: Some(zoo::build("vgg11").unwrap()),
            ends: Some(Ends::of(&zoo::build("vgg11").unwrap()).unwrap()),
        };
        Checkpoint { params, meta }
    }

    #[test]
    fn what_is_saved_is_what_is_loaded_and_the_bytes_repeat() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        save(&a, &sample()).unwrap();
        save(&b, &sample()).unwrap();
        assert_eq!(load(&a).unwrap(), sample());
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    }

    #[test]
    fn a_prefix_of_every_name_is_stripped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("parallel");
        let tensor = || Tensor::full([1], 0.0);
        for (names, expected) in [(["module.a", "module.b.c"], ["a", "b.c"]), (["module.a", "b"], ["b", "module.a"])] {
            let params = names.map(|n| (n.to_string(), tensor())).into();
            save(&path, &Checkpoint { params, meta: Meta::default() }).unwrap();
            assert!(load(&path).unwrap().params.keys().eq(&expected));
        }
    }

    /// A file of these tensors: name, type, shape, bytes.
    fn file(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
        let mut header = Map::new();
        let mut data = Vec::new();
        for (name, dtype, shape, bytes) in tensors {
            let start = data.len();
            data.extend(bytes);
            header.insert((*name).into(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] }));
        }
        let text = Value::Object(header).to_string().into_bytes();
        [&(text.len() as u64).to_le_bytes()[..], &text, &data].concat()
    }

    #[test]
    fn floats_of_every_width_are_read_and_integers_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mixed");
        let doubles = [1.0f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensors = [
            ("module.a", "F64", &[2][..], doubles),
            ("module.b", "BF16", &[2], vec![0x80, 0x3f, 0x40, 0xc0]),
            ("module.c", "F16", &[1], vec![0, 0x3c]),
            ("module.ids", "I64", &[1], vec![0; 8]),
            ("mask", "BOOL", &[3], vec![0, 1, 0]),
        ];
        std::fs::write(&path, file(&tensors)).unwrap();
        let params = load(&path).unwrap().params;
        assert_eq!(params.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!((params["a"].data(), params["b"].data(), params["c"].data()), (&[1.0, -2.0][..], &[1.0, -3.0][..], &[1.0][..]));
        std::fs::write(&path, file(&[("a", "F8_E5M2", &[2], vec![0; 2])])).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("'a' has type F8_E5M2"));
    }

    #[test]
    fn a_networks_name_that_is_not_known_is_not_what_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("foreign");
        let params = graph::init(&zoo::build("fcn6").unwrap(), 3).into_iter().map(|(name, tensor)| (format!("model.{name}"), tensor));
        let meta = Meta { model: Some("my best".into()), ..Meta::default() };
        save(&path, &Checkpoint { params: params.collect(), meta }).unwrap();
        assert_eq!(load(&path).unwrap().params, sample().params);
    }

    #[test]
    fn damaged_files_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("damaged.safetensors");
        save(&path, &sample()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for damaged in [&bytes[..4], &bytes[..100], &bytes[..bytes.len() - 1], b"", b"not a checkpoint"] {
            std::fs::write(&path, damaged).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains("damaged.safetensors"), "{error}");
        }
    }
}
