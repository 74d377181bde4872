//! Tensors as pickles describe them: a view of a storage.

use super::pickle::{Id, Node, Object, Pickle};
use crate::import::float::Float;
use crate::import::state_dict::Element;
use crate::tensor::{Tensor, count};

/// The most axes of a tensor.
const AXES: usize = 32;
/// Bytes of the longest key or class of a storage.
const LONGEST: usize = 128;
/// Calls around a tensor that are looked through.
const WRAPPED: usize = 8;

/// Where a tensor's elements lie.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) element: Element,
    /// Key of the storage.
    pub(super) key: String,
    /// The class of the storage (`FloatStorage`).
    storage: String,
    /// First element.
    offset: usize,
    pub(super) shape: Vec<usize>,
    /// Elements from one to the next, of each axis.
    strides: Vec<usize>,
}

/// Bytes of an element of a storage of this class; `None` for one that is not known.
pub(super) fn element_bytes(storage: &str) -> Option<usize> {
    Some(match storage {
        "BoolStorage" | "ByteStorage" | "CharStorage" | "QInt8Storage" | "QUInt8Storage" | "UntypedStorage" => 1,
        "HalfStorage" | "BFloat16Storage" | "ShortStorage" => 2,
        "FloatStorage" | "IntStorage" | "QInt32Storage" => 4,
        "DoubleStorage" | "LongStorage" | "ComplexFloatStorage" => 8,
        "ComplexDoubleStorage" => 16,
        _ => return None,
    })
}

fn element(name: &str) -> Element {
    match name {
        "FloatStorage" | "float32" => Element::Float(Float::F32),
        "DoubleStorage" | "float64" => Element::Float(Float::F64),
        "HalfStorage" | "float16" => Element::Float(Float::F16),
        "BFloat16Storage" | "bfloat16" => Element::Float(Float::BF16),
        "BoolStorage" | "ByteStorage" | "CharStorage" | "ShortStorage" | "IntStorage" | "LongStorage" => Element::Integer,
        "bool" | "uint8" | "int8" | "int16" | "int32" | "int64" | "uint16" | "uint32" | "uint64" => Element::Integer,
        other => Element::Other(other.into()),
    }
}

/// The last part of `torch.cuda.FloatStorage`: where it was kept means nothing here.
fn class(name: &str) -> Option<&str> {
    name.rsplit('.').next().filter(|class| class.len() <= LONGEST)
}

/// The tensor that `id` rebuilds, as it is or in a parameter or a class of its own around it.
pub(super) fn tensor(pickle: &Pickle, id: Id) -> Option<View> {
    let Node::Object(object) = pickle.node(id) else { return None };
    let Object { mut called, mut arguments, .. } = **object;
    for _ in 0..WRAPPED {
        let (Node::Global(name), parts) = (pickle.node(called), pickle.items(arguments)?) else { return None };
        let inner = match name.as_str() {
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => return view(pickle, parts, None),
            "torch._utils._rebuild_tensor_v3" => return view(pickle, parts, Some(element(class(pickle.text(*parts.get(6)?)?)?))),
            "torch._utils._rebuild_qtensor" => return view(pickle, parts, Some(Element::Other("quantized tensor".into()))),
            "torch._tensor._rebuild_from_type" | "torch._tensor._rebuild_from_type_v2" | "torch.tensor._rebuild_from_type" => {
                (called, arguments) = (*parts.first()?, *parts.get(2)?);
                continue;
            }
            "torch._utils._rebuild_parameter"
            | "torch._utils._rebuild_parameter_with_state"
            | "torch.nn.parameter.Parameter"
            | "torch.nn.parameter.Buffer"
            | "torch.autograd.variable.Variable" => *parts.first()?,
            _ => return None,
        };
        let Node::Object(object) = pickle.node(inner) else { return None };
        (called, arguments) = (object.called, object.arguments);
    }
    None
}

/// A view by the arguments of a rebuilding call, (storage, offset, shape, strides, …).
fn view(pickle: &Pickle, parts: &[Id], stated: Option<Element>) -> Option<View> {
    let &[storage, offset, shape, strides] = parts.first_chunk::<4>()?;
    let Node::Persistent(storage) = pickle.node(storage) else { return None };
    let (name, key, first) = storage_of(pickle, *storage)?;
    let offset = usize::try_from(pickle.int(offset)?).ok()?.checked_add(first)?;
    let (shape, strides) = (sizes(pickle, shape)?, sizes(pickle, strides)?);
    let element = stated.unwrap_or_else(|| element(name));
    (shape.len() == strides.len()).then(|| View { element, key: key.into(), storage: name.into(), offset, shape, strides })
}

/// Class, key and first element of a storage: ('storage', class, key, location, elements), and in the layout before 1.6 also
/// `None` or (key, offset, elements) of a view of it.
pub(super) fn storage_of(pickle: &Pickle, id: Id) -> Option<(&str, &str, usize)> {
    let parts = pickle.items(id)?;
    if pickle.text(*parts.first()?)? != "storage" {
        return None;
    }
    let first = match parts.get(5).and_then(|&view| pickle.items(view)) {
        Some(view) => usize::try_from(pickle.int(*view.get(1)?)?).ok()?,
        None => 0,
    };
    let key = pickle.text(*parts.get(2)?).filter(|key| key.len() <= LONGEST)?;
    Some((class(pickle.text(*parts.get(1)?)?)?, key, first))
}

/// The numbers of a tuple, or of a `torch.Size` of one.
fn sizes(pickle: &Pickle, id: Id) -> Option<Vec<usize>> {
    let tuple = match pickle.node(id) {
        Node::Object(object) => *pickle.items(object.arguments)?.first()?,
        _ => id,
    };
    let items = pickle.items(tuple).filter(|items| items.len() <= AXES)?;
    items.iter().map(|&i| usize::try_from(pickle.int(i)?).ok()).collect()
}

impl View {
    /// The elements in the order of the shape, whatever the strides; their bytes are counted against `left`.
    ///
    /// # Errors
    /// A phrase for a view that reaches beyond its storage, elements that are no floats, and more than is left.
    pub(super) fn read(&self, storage: &[u8], left: &mut usize) -> Result<Tensor, String> {
        let float = match &self.element {
            Element::Float(float) => *float,
            Element::Integer => return Err("holds integers; floats are needed".into()),
            Element::Other(other) => return Err(format!("is a {other}; floats are needed")),
        };
        let (shape, stored) = (&self.shape, storage.len() / float.bytes());
        let misfit = || format!("of shape {shape:?} does not fit its storage of {stored} elements");
        let len = count(shape).ok_or_else(misfit)?;
        let reach =
            shape.iter().zip(&self.strides).try_fold(self.offset, |at, (&d, &s)| d.saturating_sub(1).checked_mul(s)?.checked_add(at));
        if len > 0 && reach.is_none_or(|last| last >= stored) {
            return Err(misfit());
        }
        let bytes = len.checked_mul(4).filter(|bytes| bytes <= left);
        *left -= bytes.ok_or_else(|| format!("of shape {shape:?} is out of proportion to the file"))?;
        let elements = if len == 0 || self.is_contiguous() {
            let bytes = storage.get(self.offset * float.bytes()..).and_then(|rest| rest.get(..len * float.bytes()));
            float.decode(bytes.unwrap_or_default())
        } else {
            self.gathered(len, |at| float.at(storage, at))
        };
        Tensor::new(shape.clone(), elements).ok_or_else(misfit)
    }

    fn is_contiguous(&self) -> bool {
        let mut next = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&d, &s)| {
            let fits = d <= 1 || s == next;
            next *= d.max(1);
            fits
        })
    }

    /// The `len` elements that the strides lead to.
    fn gathered(&self, len: usize, element: impl Fn(usize) -> f32) -> Vec<f32> {
        let (mut at, mut index) = (self.offset, vec![0; self.shape.len()]);
        let mut elements = Vec::with_capacity(len);
        for _ in 0..len {
            elements.push(element(at));
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                // An axis of one element may have any stride.
                at = at.wrapping_add(self.strides[axis]);
                if index[axis] < self.shape[axis] {
                    break;
                }
                at = at.wrapping_sub(self.strides[axis].wrapping_mul(self.shape[axis]));
                index[axis] = 0;
            }
        }
        elements
    }
}
