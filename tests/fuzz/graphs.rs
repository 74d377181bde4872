//! Bytes into a small ONNX network whose shapes fit nearly always: what a fuzzer changes is then an operation, an axis or a
//! constant, not the file's framing.

mod protobuf;
mod steps;

use protobuf::Message;

/// The most nodes drawn, and the most elements of a value.
const NODES: usize = 14;
const MOST: usize = 1 << 11;

/// Numbers that networks hold, the ones of written-out activations among them, and bounds that mean none.
const NUMBERS: [f32; 24] = [
    0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    -0.5,
    3.0,
    6.0,
    1.0 / 6.0,
    0.25,
    std::f32::consts::SQRT_2,
    std::f32::consts::FRAC_1_SQRT_2,
    0.044715,
    0.797_884_6,
    1.0004,
    -3.0,
    0.1,
    1e-3,
    65504.0,
    -65504.0,
    f32::MAX,
    f32::MIN,
    3e38,
    1.5,
];

/// Reads choices off the bytes; zeros where there are no more.
pub(crate) struct Draw<'a> {
    bytes: &'a [u8],
}

impl Draw<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        *first
    }

    /// A number below `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Once in `n`.
    fn seldom(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    fn number(&mut self) -> f32 {
        self.one_of(&NUMBERS)
    }
}

pub(crate) enum Value {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
}

pub(crate) struct Node {
    op: &'static str,
    inputs: Vec<String>,
    outputs: Vec<String>,
    attributes: Vec<(&'static str, Value)>,
}

enum Data {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Truths(Vec<u8>),
}

/// What every computed value passes through on its way to its readers.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Between {
    Nothing,
    /// Two negations, which change nothing, but keep the importer's rules from seeing two nodes side by side.
    Negations,
    /// A product by constants near 1, as if every sum was rounded otherwise.
    Noise,
}

/// A drawn network.
pub(crate) struct Drawn {
    opset: i64,
    input: Vec<usize>,
    nodes: Vec<Node>,
    constants: Vec<(String, Vec<usize>, Data)>,
    /// Every computed value with its shape, batch first.
    values: Vec<(String, Vec<usize>)>,
}

impl Drawn {
    /// The network that `bytes` stand for; `None` for too few.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < 8 {
            return None;
        }
        let mut draw = Draw { bytes };
        let opset = draw.one_of(&[7, 9, 10, 11, 13, 14, 17, 18, 20, 23]);
        let batch = draw.one_of(&[1, 1, 1, 2]);
        let mut input = vec![batch];
        input.extend((0..1 + draw.below(4)).map(|_| 1 + draw.below(6)).collect::<Vec<_>>());
        let mut drawn = Self { opset, values: vec![("x".into(), input.clone())], input, nodes: Vec::new(), constants: Vec::new() };
        let mut at = 0;
        while !draw.bytes.is_empty() && drawn.nodes.len() < NODES {
            // Mostly what was computed last, so that chains come out.
            if draw.seldom(5) {
                at = draw.below(drawn.values.len());
            }
            if let Some(next) = drawn.step(&mut draw, at) {
                at = next;
            }
        }
        Some(drawn)
    }

    fn name(&self, hint: &str) -> String {
        format!("{hint}{}", self.nodes.len() + self.constants.len())
    }

    /// A float constant whose elements follow from one byte.
    fn floats(&mut self, draw: &mut Draw, shape: &[usize]) -> String {
        let seed = u32::from(draw.byte());
        let element = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 16) % 17;
        let data = (0..shape.iter().product()).map(|i| (element(i) as f32 - 8.0) / 8.0).collect();
        self.constant(shape, Data::Floats(data))
    }

    /// The same between 1/2 and 3/2.
    fn positive(&mut self, draw: &mut Draw, len: usize) -> String {
        let seed = usize::from(draw.byte());
        let data = (0..len).map(|i| 0.5 + ((i * 7 + seed) % 9) as f32 / 8.0).collect();
        self.constant(&[len], Data::Floats(data))
    }

    fn filled(&mut self, shape: &[usize], number: f32) -> String {
        self.constant(shape, Data::Floats(vec![number; shape.iter().product()]))
    }

    fn ints(&mut self, values: &[i64]) -> String {
        self.constant(&[values.len()], Data::Ints(values.to_vec()))
    }

    fn constant(&mut self, shape: &[usize], data: Data) -> String {
        let name = self.name("c");
        self.constants.push((name.clone(), shape.to_vec(), data));
        name
    }

    /// Appends a node of one output; the place of its value, `None` where that would be too large or empty.
    fn node(&mut self, op: &'static str, inputs: &[&str], shape: &[usize], attributes: Vec<(&'static str, Value)>) -> Option<usize> {
        let len: usize = shape.iter().product();
        if len == 0 || len > MOST || !(1..=6).contains(&shape.len()) {
            return None;
        }
        let name = self.name("v");
        let inputs = inputs.iter().map(|s| s.to_string()).collect();
        self.nodes.push(Node { op, inputs, outputs: vec![name.clone()], attributes });
        self.values.push((name, shape.to_vec()));
        Some(self.values.len() - 1)
    }

    /// The network as a file; its output is the value that was computed last.
    pub(crate) fn encoded(&self, between: Between) -> Vec<u8> {
        let mut graph = Message::default();
        for node in &self.nodes {
            if between == Between::Nothing {
                graph.message(1, node.encoded(&node.outputs));
                continue;
            }
            graph.message(1, node.encoded(&node.outputs.iter().map(|o| format!("{o}.kept")).collect::<Vec<_>>()));
            for output in &node.outputs {
                let then = |op, inputs: Vec<String>, output: String| {
                    Node { op, inputs, outputs: Vec::new(), attributes: Vec::new() }.encoded(&[output])
                };
                let (kept, name) = (format!("{output}.kept"), format!("{output}.between"));
                if between == Between::Negations {
                    graph.message(1, then("Neg", vec![kept], name.clone()));
                    graph.message(1, then("Neg", vec![name], output.clone()));
                } else {
                    graph.message(1, then("Mul", vec![kept, name.clone()], output.clone()));
                    let shape = self.values.iter().find(|v| v.0 == *output).map_or(&[][..], |v| &v.1[1..]);
                    let noise = (0..shape.iter().product()).map(|i: usize| 1.0 + 1e-6 * ((i * 7 + 3) % 11) as f32 - 5e-6).collect();
                    graph.message(5, tensor(&name, shape, &Data::Floats(noise)));
                }
            }
        }
        for (name, shape, data) in &self.constants {
            graph.message(5, tensor(name, shape, data));
        }
        graph.message(11, protobuf::value("x", &self.input));
        let last = self.values.last().map_or("x", |v| &v.0);
        graph.message(12, protobuf::value(last, &[]));
        let (mut opset, mut model) = (Message::default(), Message::default());
        opset.int(2, self.opset);
        model.int(1, 8);
        model.message(7, graph);
        model.message(8, opset);
        model.finished()
    }
}

impl Node {
    fn encoded(&self, outputs: &[String]) -> Message {
        let mut node = Message::default();
        self.inputs.iter().for_each(|i| node.text(1, i));
        outputs.iter().for_each(|o| node.text(2, o));
        node.text(4, self.op);
        for (name, value) in &self.attributes {
            let mut attribute = Message::default();
            attribute.text(1, name);
            let kind = match value {
                Value::Float(f) => {
                    attribute.float(2, *f);
                    1
                }
                Value::Int(i) => {
                    attribute.int(3, *i);
                    2
                }
                Value::Text(s) => {
                    attribute.text(4, s);
                    3
                }
                Value::Ints(v) => {
                    v.iter().for_each(|&i| attribute.int(8, i));
                    7
                }
            };
            attribute.int(20, kind);
            node.message(5, attribute);
        }
        node
    }
}

fn tensor(name: &str, shape: &[usize], data: &Data) -> Message {
    let mut tensor = Message::default();
    shape.iter().for_each(|&d| tensor.int(1, d as i64));
    let (kind, raw): (i64, Vec<u8>) = match data {
        Data::Floats(v) => (1, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::Ints(v) => (7, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Data::Truths(v) => (9, v.clone()),
    };
    tensor.int(2, kind);
    tensor.text(8, name);
    tensor.bytes(9, &raw);
    tensor
}
