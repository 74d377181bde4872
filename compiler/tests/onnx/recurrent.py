"""Cases of LSTM, GRU and RNN: directions, states, lengths, and where the samples stand."""

import numpy as np

from kinds import case, ints
from net import Net

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(n, kind, x, features, hidden, outputs=1, bias=True, more=("", "", "", ""), **attributes):
    """A node over `x`; `more` are the lengths, the initial states and the peepholes."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[kind] * hidden
    weights = [n.draw(directions, rows, features, scale=features ** -0.5), n.draw(directions, rows, hidden, scale=hidden ** -0.5)]
    weights.append(n.draw(directions, 2 * rows, scale=0.3) if bias else "")
    inputs = [x, *weights, *more]
    while not inputs[-1]:
        inputs.pop()
    return n.op(kind, *inputs, outputs=outputs, hidden_size=hidden, **attributes)


def squeezed(n, y, axis):
    return n.op("Squeeze", y, n.const(ints(axis)))


@case
def lstm_of_samples_first():
    n = Net([5, 3])
    y = recurrent(n, "LSTM", n.op("Transpose", "x", perm=[1, 0, 2]), 3, 4)
    return n, n.op("Transpose", squeezed(n, y, 1), perm=[1, 0, 2])


@case
def lstm_both_ways_twice():
    n = Net([6, 3])
    x, features = n.op("Transpose", "x", perm=[1, 0, 2]), 3
    for _ in range(2):
        y = recurrent(n, "LSTM", x, features, 5, direction="bidirectional")
        x, features = n.op("Reshape", n.op("Transpose", y, perm=[0, 2, 1, 3]), n.const(ints(0, 0, -1))), 10
    return n, n.op("MatMul", x, n.draw(10, 3))


@case
def lstm_states_at_the_end():
    n = Net([4, 3])
    y, h, c = recurrent(n, "LSTM", n.op("Transpose", "x", perm=[1, 0, 2]), 3, 5, outputs=3, direction="bidirectional")
    ends = n.op("Concat", h, c, axis=0)
    return n, n.op("Concat", squeezed(n, n.op("ReduceMean", y, axes=[0]), 0), ends, axis=0)


@case
def lstm_peepholes_and_states():
    n = Net([5, 2])
    more = ("", n.draw(1, 1, 3), n.draw(1, 1, 3), n.draw(1, 9))
    _, h, c = recurrent(n, "LSTM", n.op("Transpose", "x", perm=[1, 0, 2]), 2, 3, outputs=3, more=more, bias=False)
    return n, n.op("Add", h, c)


@case
def lstm_coupled_with_other_activations():
    n = Net([5, 2])
    y = recurrent(n, "LSTM", n.op("Transpose", "x", perm=[1, 0, 2]), 2, 6, input_forget=1, activations=["Sigmoid", "Softsign", "Relu"])
    return n, squeezed(n, y, 1)


@case
def lstm_of_several_sequences_of_other_lengths():
    n = Net([4, 3], batch=6)
    more = (n.const(np.array([6, 2, 1, 4], np.int32)), "", "", "")
    y, h, _ = recurrent(n, "LSTM", "x", 3, 5, outputs=3, more=more, direction="bidirectional")
    return n, n.op("Concat", y, n.op("Unsqueeze", h, n.const(ints(0))), axis=0)


@case
def lstm_state_from_the_input():
    n = Net([5, 3])
    x = n.op("Transpose", "x", perm=[1, 0, 2])
    h = n.op("ReduceMax", x, axes=[0], keepdims=1)
    c = n.op("Tanh", n.op("MatMul", h, n.draw(3, 3)))
    return n, squeezed(n, recurrent(n, "LSTM", x, 3, 3, more=("", h, c, "")), 1)


@case
def gru_reset_after():
    n = Net([5, 3])
    y = recurrent(n, "GRU", n.op("Transpose", "x", perm=[1, 0, 2]), 3, 7, linear_before_reset=1, direction="reverse")
    return n, squeezed(n, y, 1)


@case
def gru_reset_before():
    n = Net([5, 3])
    more = ("", n.draw(2, 1, 4), "", "")
    y, h = recurrent(n, "GRU", n.op("Transpose", "x", perm=[1, 0, 2]), 3, 4, outputs=2, direction="bidirectional", more=more)
    return n, n.op("Add", y, n.op("Unsqueeze", h, n.const(ints(0))))


@case
def rnn_of_columns():
    n = Net([3, 4, 6])
    x = squeezed(n, n.conv("x", 3, 8, [4, 1]), 2)
    x = n.op("Transpose", x, perm=[2, 0, 1])
    y = recurrent(n, "RNN", x, 8, 5, direction="bidirectional", activations=["Relu", "LeakyRelu"], activation_alpha=[0.2])
    return n, n.op("Reshape", n.op("Transpose", y, perm=[2, 0, 1, 3]), n.const(ints(0, 0, -1)))


@case
def rnn_last_hidden_state():
    n = Net([5, 3])
    _, h = recurrent(n, "RNN", n.op("Transpose", "x", perm=[1, 0, 2]), 3, 4, outputs=2)
    return n, n.gemm(squeezed(n, h, 0), 4, 2)
