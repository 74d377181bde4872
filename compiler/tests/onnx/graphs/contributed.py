"""Operations that ONNX Runtime writes into files when it fuses others, Fourier transforms and losses."""

import math

import numpy as np

from . import layers

MICROSOFT = "com.microsoft"


def fused_activation(d, x):
    op = d.pick("Gelu", "FastGelu", "QuickGelu", "BiasGelu")
    shape = d.shape(x)
    more = [d.floats(shape[-1])] if op == "BiasGelu" or op == "FastGelu" and d.chance(0.5) else []
    return d.same(op, x, *more, domain=MICROSOFT, alpha=d.r.choice([None, 1.0, 1.702]) if op == "QuickGelu" else None)


def fused_norm(d, x):
    """Normalisations with a shortcut that is added before."""
    shape = d.shape(x)
    if len(shape) != 3:
        return None
    op = d.pick("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "SimplifiedLayerNormalization")
    f = shape[-1]
    if op == "SimplifiedLayerNormalization":
        return d.same(op, x, d.floats(f), axis=-1, epsilon=d.r.choice([None, 1e-3]))
    found = d.fitting(x, same=True)
    skip = found[0] if found and d.chance(0.8) else d.floats(*shape)
    more = [d.floats(f)]
    if op == "SkipLayerNormalization" and d.chance(0.7):
        more.append(d.floats(f))
    if d.chance(0.3):
        more += [""] * ((2 if op == "SkipLayerNormalization" else 1) - len(more)) + [d.floats(f)]
    return d.same(op, x, skip, *more, domain=MICROSOFT, epsilon=d.r.choice([None, 1e-3]))


def fused_product(d, x):
    shape = d.shape(x)
    if len(shape) < 2:
        return None
    alpha = d.r.choice([None, 0.5])
    k = d.r.randint(1, 5)
    if len(shape) == 2 and d.chance(0.4):
        act = d.pick("Relu", "Tanh", "Sigmoid")
        return d.node("FusedGemm", [x, d.weight(shape[1], k, fan=shape[1]), d.floats(k)], [shape[0], k], domain=MICROSOFT, activation=act, alpha=alpha)
    if d.chance(0.3):
        return d.node("FusedMatMul", [x, x], [*shape[:-1], shape[-2]], domain=MICROSOFT, transB=1, alpha=alpha)
    turned = d.pick(0, 1)
    w = d.weight(*((k, shape[-1]) if turned else (shape[-1], k)), fan=shape[-1])
    return d.node("FusedMatMul", [x, w], [*shape[:-1], k], domain=MICROSOFT, transB=turned or None, alpha=alpha)


def fused_conv(d, x):
    shape = d.shape(x)
    if len(shape) != 4:
        return None
    found = layers.window(d, shape[2:])
    if not found:
        return None
    attributes, out, _, _ = found
    k = d.r.randint(1, 5)
    w = d.weight(k, shape[1], *attributes["kernel_shape"], fan=shape[1] * math.prod(attributes["kernel_shape"]))
    act = d.r.choice([("Relu", None), ("Tanh", None), ("Sigmoid", None), ("LeakyRelu", [0.2]), ("Clip", [0.0, 6.0]), ("HardSigmoid", [0.2, 0.5])])
    more = [d.floats(k)]
    if d.chance(0.2):
        more.append(d.floats(shape[0], k, *out))
    return d.node("FusedConv", [x, w, *more], [shape[0], k, *out], domain=MICROSOFT, activation=act[0], activation_params=act[1], **attributes)


def fused_attention(d, x):
    shape = d.shape(x)
    if len(shape) != 3:
        return None
    b, t, f = shape
    heads, size = d.r.choice([1, 2]), d.r.choice([1, 2, 4])
    q, k, v = (d.node("MatMul", [x, d.weight(f, heads * size, fan=f)], [b, t, heads * size]) for _ in range(3))
    more = [d.floats(3 * heads * size, scale=0.3)] if d.chance(0.3) else []
    if not (q and k and v):
        return None
    return d.node("MultiHeadAttention", [q, k, v, *more], [b, t, heads * size], domain=MICROSOFT, num_heads=heads, scale=d.r.choice([None, 0.5]))


def fourier(d, x):
    """DFT of an axis, of real or complex numbers, whole or half of the frequencies."""
    shape = d.shape(x)
    if d.opset < 17 or len(shape) < 2 or len(shape) > 3:
        return None
    parts = shape[-1] if shape[-1] in (1, 2) and len(shape) == 3 else 1
    if parts == 1 and not (len(shape) == 3 and shape[-1] == 1):
        shape = (*shape, 1)
        x = d.node("Reshape", [x, d.ints([0, *shape[1:]])], shape)
    rank = len(shape)
    axis = d.r.randrange(1, rank - 1)
    n = shape[axis]
    length = d.r.choice([n, n, n, max(1, n - 1), n + 2])
    one_sided = parts == 1 and d.chance(0.4)
    inverse = not one_sided and d.chance(0.3)
    out = [*shape[:axis], length // 2 + 1 if one_sided else length, *shape[axis + 1:-1], 2]
    attributes = {"onesided": 1 if one_sided else None, "inverse": 1 if inverse else None}
    more = [d.ints(length)] if length != n or d.chance(0.3) else []
    if d.opset < 20:
        attributes["axis"] = axis
    else:
        more = [*(more or [""]), d.ints(axis)]
    return d.node("DFT", [x, *more], out, **attributes)


def short_time(d, x):
    """STFT of a line of numbers."""
    shape = d.shape(x)
    if d.opset < 17 or len(shape) != 2 or shape[1] < 4:
        return None
    b, n = shape
    length, step = d.r.randint(2, min(n, 6)), d.r.randint(1, 3)
    frames = (n - length) // step + 1
    one_sided = d.r.choice([None, 0, 1])
    x = d.node("Reshape", [x, d.ints([0, n, 1])], [b, n, 1])
    window = d.positive(length) if d.chance(0.6) else ""
    out = [b, frames, length if one_sided == 0 else length // 2 + 1, 2]
    return d.node("STFT", [x, d.ints(step), window, *([] if window and d.chance(0.3) else [d.ints(length)])], out, onesided=one_sided)


def loss(d, x):
    """The loss of each sample, by labels that are stated."""
    shape = d.shape(x)
    if d.opset < 12 or len(shape) < 2:
        return None
    op = d.pick("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")
    own = [shape[0], *shape[2:]]
    labels = np.repeat(d.rng.integers(0, shape[1], (1, *own[1:])), own[0], 0)
    ignored = d.chance(0.2)
    if op == "NegativeLogLikelihoodLoss":
        x = d.same("LogSoftmax", x, axis=1)
    more = [d.constant(labels.astype(np.int64), "i")] + ([d.positive(shape[1])] if d.chance(0.3) else [])
    reduction = d.r.choice(["none", "none", "sum", "mean", None])
    return d.node(op, [x, *more], own if reduction == "none" else [], reduction=reduction, ignore_index=0 if ignored else None)


STEPS = [(fused_activation, 0.7), (fused_norm, 0.7), (fused_product, 0.7), (fused_conv, 0.5), (fused_attention, 0.5), (fourier, 1), (short_time, 0.5),
         (loss, 0.5)]
