"""Integers that stand for floats: quantised and back, products and convolutions of them. ONNX Runtime 1.32 has no QuantizeLinear and no
DequantizeLinear of operator set 28."""

import math

import numpy as np

from . import layers


def scale_of(d, x, axis=None, block=0):
    """Scale and zero point for values near 1: of one number, along an axis or of blocks along it."""
    kinds = [np.uint8, np.int8] + [np.int16, np.uint16] * (d.opset >= 21)
    dtype = d.r.choice(kinds)
    shape = d.shape(x)
    if axis is None:
        own = d.pick((), (1,)) if d.opset >= 13 else ()
    elif block:
        own = tuple(s // block if i == axis else s for i, s in enumerate(shape))
    else:
        own = (shape[axis],)
    scale = ((0.5 + d.rng.random(own)) * (0.02 if dtype in (np.uint8, np.int8) else 2e-4)).astype(np.float32)
    middle = {np.uint8: 128, np.int8: 0, np.int16: 0, np.uint16: 32768}[dtype]
    zero = (middle + d.rng.integers(-20, 20, own)).astype(dtype)
    return np.asarray(scale), np.asarray(zero), dtype


def there_and_back(d, x):
    """QuantizeLinear and DequantizeLinear, of one number, an axis or blocks."""
    if d.opset < 10 or d.opset > 27:
        return None
    shape = d.shape(x)
    axis = block = None
    if d.opset >= 13 and d.chance(0.4):
        axis = d.any_axis(x)
        if d.opset >= 21 and d.chance(0.4) and shape[axis] % 2 == 0:
            block = 2
    scale, zero, dtype = scale_of(d, x, axis, block or 0)
    attributes = {"axis": None if axis is None else axis - len(shape) if d.chance(0.3) else axis, "block_size": block}
    bare = dtype == np.uint8 and d.chance(0.1)
    zero = np.zeros_like(zero) if bare else zero
    more = lambda: [d.constant(scale, plain=True)] + ([] if bare else [d.constant(zero, "i", plain=True)])
    source = d.same("Tanh", x) if d.chance(0.7) else x
    q = d.node("QuantizeLinear", [source, *more()], shape, of="int", **attributes)
    if not q:
        return None
    if d.chance(0.2):
        q = d.node("Identity", [q], shape, of="int") if d.chance(0.5) or len(shape) < 2 or axis is not None else \
            d.node("Transpose", [q], [shape[0], *shape[:0:-1]], of="int", perm=[0, *range(len(shape) - 1, 0, -1)])
    return d.node("DequantizeLinear", [q, *more()], d.shape(q), **attributes)


def weight(d, shape, dtype=None):
    """A weight of 8-bit integers in half of their range: products of two whole ranges saturate in ONNX Runtime on some processors."""
    dtype = dtype or d.pick(np.int8, np.uint8)
    low, high = (-63, 64) if dtype == np.int8 else (0, 128)
    return d.rng.integers(low, high, shape).astype(dtype)


def stored(d, x):
    """A layer whose weight is kept as integers."""
    shape = d.shape(x)
    if d.opset < 10 or d.opset > 27 or len(shape) < 2:
        return None
    k = d.r.randint(1, 6)
    w = weight(d, (shape[-1], k))
    by_column = d.opset >= 13 and d.chance(0.5)
    own = (k,) if by_column else ()
    scale = ((0.5 + d.rng.random(own)) * 0.02).astype(np.float32)
    zero = d.rng.integers(0, 20, own).astype(w.dtype)
    real = d.node("DequantizeLinear", [d.constant(w, "i", plain=True), d.constant(scale, plain=True), d.constant(np.asarray(zero), "i", plain=True)],
                  [shape[-1], k], of="int", axis=1 if by_column else None)
    return d.node("MatMul", [x, real], [*shape[:-1], k]) if real else None


def number(d, value, dtype):
    return d.constant(np.array(value, dtype), "i", plain=True)


def kernel(d, shape):
    """A convolution of integers over an image: its attributes, the size of its output, its channels and its weight."""
    found = layers.window(d, shape[2:])
    if not found:
        return None
    attributes, out, _, _ = found
    k = d.r.randint(1, 4)
    return attributes, out, k, weight(d, (k, shape[1], *attributes["kernel_shape"]))


def dynamic(d, x):
    """Quantised by its own range, and a product or a convolution of integers."""
    if d.opset < 11 or d.opset > 27:
        return None
    shape = d.shape(x)
    if d.net.x.shape[0] > 1 and d.chance(0.8):
        # The range is of all samples.
        return None
    q, scale, zero = d.node("DynamicQuantizeLinear", [x], [shape, (), ()], outputs=3, of="int")
    if d.chance(0.3):
        return d.node("DequantizeLinear", [q, scale, zero], shape)
    if len(shape) == 4 and d.chance(0.6):
        found = kernel(d, shape)
        if not found:
            return None
        attributes, out, k, w = found
        more = [zero] + ([number(d, d.r.randint(0, 9), w.dtype)] if d.chance(0.5) else [])
        y, out = d.node("ConvInteger", [q, d.constant(w, "i", plain=True), *more], [shape[0], k, *out], of="int", **attributes), [shape[0], k, *out]
    elif len(shape) > 1:
        k = d.r.randint(1, 5)
        w = weight(d, (shape[-1], k))
        more = [zero] + ([number(d, d.r.randint(0, 9), w.dtype)] if d.chance(0.5) else [])
        out = [*shape[:-1], k]
        y = d.node("MatMulInteger", [q, d.constant(w, "i", plain=True), *more], out, of="int")
    else:
        return None
    if not y:
        return None
    real = d.node("Cast", [y], out, to=1)
    return d.node("Mul", [real, d.node("Mul", [scale, d.number(0.02, ())], (), of="int")], out)


def in_integers(d, x):
    """QLinearMatMul or QLinearConv between QuantizeLinear and DequantizeLinear."""
    if d.opset < 10 or d.opset > 27:
        return None
    shape = d.shape(x)
    zero = d.r.randint(100, 150)
    q = d.node("QuantizeLinear", [d.same("Tanh", x), d.number(0.01, ()), number(d, zero, np.uint8)], shape, of="int")
    ends = [number(d, d.r.randint(100, 150), np.uint8)]
    if not q:
        return None
    of_x = [q, d.number(0.01, ()), number(d, zero, np.uint8)]
    if len(shape) == 4:
        found = kernel(d, shape)
        if not found:
            return None
        attributes, out, k, w = found
        many = d.chance(0.4)
        scale = d.constant(((0.5 + d.rng.random(k if many else ())) * 0.01).astype(np.float32), plain=True)
        fan = shape[1] * math.prod(attributes["kernel_shape"])
        zero_w = np.zeros(k, w.dtype) if many else np.array(0 if w.dtype == np.int8 else 64, w.dtype)
        of_y = [d.number(0.01 * math.sqrt(fan), ()), *ends]
        bias = [d.constant(d.rng.integers(-200, 200, k).astype(np.int32), "i", plain=True)] if d.chance(0.5) else []
        out = [shape[0], k, *out]
        y = d.node("QLinearConv", [*of_x, d.constant(w, "i", plain=True), scale, d.constant(zero_w, "i", plain=True), *of_y, *bias], out, of="int", **attributes)
    elif len(shape) > 1:
        k = d.r.randint(1, 5)
        w = weight(d, (shape[-1], k))
        of_y = [d.number(0.01 * math.sqrt(shape[-1]), ()), *ends]
        out = [*shape[:-1], k]
        y = d.node("QLinearMatMul", [*of_x, d.constant(w, "i", plain=True), d.number(0.01, ()), number(d, 0 if w.dtype == np.int8 else 64, w.dtype), *of_y], out, of="int")
    else:
        return None
    return d.node("DequantizeLinear", [y, *of_y], out) if y else None


STEPS = [(there_and_back, 2), (stored, 1), (dynamic, 0.8), (in_integers, 0.8)]
