"""LSTM, GRU and RNN: directions, states, lengths, peepholes, activations."""

import numpy as np

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# Activations of one direction.
CELLS = {"LSTM": [["Sigmoid", "Tanh", "Tanh"], ["Sigmoid", "Softsign", "Relu"], ["HardSigmoid", "Tanh", "Tanh"]],
         "GRU": [["Sigmoid", "Tanh"], ["HardSigmoid", "Softsign"], ["Sigmoid", "Relu"]], "RNN": [["Tanh"], ["Relu"], ["Sigmoid"], ["Softsign"]]}


def recurrent(d, x):
    shape = d.shape(x)
    if len(shape) != 3:
        return None
    if d.chance(0.85):
        x = d.node("Transpose", [x], [shape[1], shape[0], shape[2]], perm=[1, 0, 2])
        shape = d.shape(x)
    elif shape[0] > 1 and d.net.free:
        return None
    steps, sequences, features = shape
    op = d.pick("LSTM", "LSTM", "GRU", "RNN")
    hidden = d.r.randint(1, 5)
    direction = d.r.choice([None, "forward", "reverse", "bidirectional", "bidirectional"])
    count = 2 if direction == "bidirectional" else 1
    outputs = GATES[op] * hidden
    attributes = {"hidden_size": hidden, "direction": direction}
    if d.chance(0.15):
        attributes["activations"] = [a for _ in range(count) for a in d.r.choice(CELLS[op])]
    if op == "GRU" and d.chance(0.5):
        attributes["linear_before_reset"] = d.pick(0, 1)
    if op == "LSTM" and d.chance(0.1):
        attributes["input_forget"] = 1
    read = [x, d.weight(count, outputs, features, fan=features), d.weight(count, outputs, hidden, fan=hidden)]
    more = [d.floats(count, 2 * outputs, scale=0.3) if d.chance(0.7) else ""]
    more.append(d.constant(d.rng.integers(1, steps + 1, sequences).astype(np.int32), "i") if d.chance(0.15) else "")
    states = 2 if op == "LSTM" else 1
    for _ in range(states):
        more.append(state(d, x, (count, sequences, hidden)) if d.chance(0.3) else "")
    if op == "LSTM" and d.chance(0.2):
        more.append(d.floats(count, 3 * hidden, scale=0.3))
    while more and more[-1] == "":
        more.pop()
    last = [[count, sequences, hidden]] * states
    made = d.node(op, read + more, [[steps, count, sequences, hidden], *last], outputs=1 + states, **attributes)
    if not made:
        return None
    return read_out(d, made, (steps, count, sequences, hidden))


def state(d, x, shape):
    """What a cell begins with: stated, zeros, or computed from the input."""
    count, sequences, hidden = shape
    kind = d.r.choice(["stated", "zeros", "computed"])
    if kind == "zeros":
        return d.constant(np.zeros(shape, np.float32))
    if kind == "stated":
        return d.constant(np.repeat(d.rng.standard_normal((count, 1, hidden)), sequences, 1).astype(np.float32))
    steps, _, features = d.shape(x)
    out = [1, sequences, features]
    h = d.node("ReduceMax", [x], out, axes=[0]) if d.opset < 18 else d.node("ReduceMax", [x, d.ints([0])], out)
    h = d.node("Tanh", [d.node("MatMul", [h, d.weight(features, hidden, fan=features)], [1, sequences, hidden])], [1, sequences, hidden])
    return h if count == 1 else d.node("Concat", [h, d.node("Neg", [h], [1, sequences, hidden])], [2, sequences, hidden], axis=0)


def read_out(d, made, shape):
    """The states of all steps with the batch in front again, or the last ones."""
    steps, count, sequences, hidden = shape
    y = made[0]
    kind = d.r.choice(["all", "all", "all", "last", "both", "as it is"])
    if kind == "last":
        last = d.r.choice(made[1:])
        if d.chance(0.3) and len(made) > 2:
            last = d.node("Add", [made[1], made[2]], d.shape(last))
        y = d.node("Transpose", [last], [sequences, count, hidden], perm=[1, 0, 2])
        return d.node("Reshape", [y, d.ints([-1, count * hidden])], [sequences, count * hidden]) if y and d.chance(0.5) else y
    if kind == "both":
        first = d.node("Unsqueeze", [made[1]], [1, *d.shape(made[1])], axes=[0]) if d.opset < 13 else d.node("Unsqueeze", [made[1], d.ints([0])], [1, *d.shape(made[1])])
        y = d.node("Add", [y, first], shape)
    if kind == "as it is":
        return y
    if count == 1 and d.chance(0.5):
        gone = [steps, sequences, hidden]
        y = d.node("Squeeze", [y], gone, axes=[1]) if d.opset < 13 else d.node("Squeeze", [y, d.ints([1])], gone)
        return d.node("Transpose", [y], [sequences, steps, hidden], perm=[1, 0, 2])
    y = d.node("Transpose", [y], [sequences, steps, count, hidden], perm=[2, 0, 1, 3])
    return d.node("Reshape", [y, d.ints([0, 0, -1])], [sequences, steps, count * hidden])


STEPS = [(recurrent, 5)]
