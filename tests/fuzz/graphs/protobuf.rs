//! As much of protobuf's wire format as an ONNX file is written with.

/// A message under construction.
#[derive(Default)]
pub(crate) struct Message {
    out: Vec<u8>,
}

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    pub(crate) fn int(&mut self, tag: u32, value: i64) {
        self.varint(u64::from(tag) << 3);
        self.varint(value as u64);
    }

    pub(crate) fn float(&mut self, tag: u32, value: f32) {
        self.varint(u64::from(tag) << 3 | 5);
        self.out.extend(value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, tag: u32, value: &[u8]) {
        self.varint(u64::from(tag) << 3 | 2);
        self.varint(value.len() as u64);
        self.out.extend(value);
    }

    pub(crate) fn text(&mut self, tag: u32, value: &str) {
        self.bytes(tag, value.as_bytes());
    }

    pub(crate) fn message(&mut self, tag: u32, value: Self) {
        self.bytes(tag, &value.out);
    }

    pub(crate) fn finished(self) -> Vec<u8> {
        self.out
    }
}

/// A float value that is the network's input or output; no shape where `shape` is empty.
pub(crate) fn value(name: &str, shape: &[usize]) -> Message {
    let (mut tensor, mut kind, mut value) = (Message::default(), Message::default(), Message::default());
    tensor.int(1, 1);
    if !shape.is_empty() {
        let mut dims = Message::default();
        for &d in shape {
            let mut dim = Message::default();
            dim.int(1, d as i64);
            dims.message(1, dim);
        }
        tensor.message(2, dims);
    }
    kind.message(1, tensor);
    value.text(1, name);
    value.message(2, kind);
    value
}
