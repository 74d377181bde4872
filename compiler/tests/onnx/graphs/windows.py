"""Windows over one, two or three axes, transposed ones, resizing in every way, and images read at computed places."""

import math

import numpy as np

from . import layers


def on_a_line(d, x):
    """A convolution or a pool over one axis, of tokens whose channels are brought in front."""
    shape = d.shape(x)
    if len(shape) == 2:
        x = d.node("Unsqueeze", [x], [shape[0], 1, shape[1]], axes=[1]) if d.opset < 13 else d.node("Unsqueeze", [x, d.ints([1])], [shape[0], 1, shape[1]])
    elif len(shape) == 3:
        x = d.node("Transpose", [x], [shape[0], shape[2], shape[1]], perm=[0, 2, 1]) if d.chance(0.5) else x
    elif len(shape) == 4:
        out = [shape[0], shape[1] * shape[2], shape[3]]
        x = d.node("Reshape", [x, d.ints([0 if d.net.free else shape[0], out[1], -1])], out)
    if not x or d.rank(x) != 3:
        return None
    return d.r.choice([layers.conv, layers.conv, layers.pool, transposed_conv, power_pool])(d, x)


def transposed_conv(d, x):
    shape = d.shape(x)
    if len(shape) < 3 or len(shape) > 4:
        return None
    n, channels = len(shape) - 2, shape[1]
    each = (lambda f: [f()] * n) if d.chance(0.6) else (lambda f: [f() for _ in range(n)])
    kernel = each(lambda: d.r.choice([1, 2, 3, 3, 4]))
    strides = each(lambda: d.r.choice([1, 2, 2, 3]))
    dilations = each(lambda: d.r.choice([1, 1, 1, 2]))
    groups = d.r.choice([g for g in range(1, channels + 1) if channels % g == 0]) if d.chance(0.3) else 1
    outputs = d.r.randint(1, max(1, 6 // groups))
    extent = [(k - 1) * s + 1 for k, s in zip(kernel, dilations)]
    attributes = {"strides": strides if strides != [1] * n or d.chance(0.5) else None,
                  "dilations": dilations if dilations != [1] * n or d.chance(0.2) else None,
                  "group": groups if groups > 1 or d.chance(0.2) else None, "kernel_shape": kernel if d.chance(0.8) else None}
    more = [d.r.randint(0, s - 1) if d.chance(0.4) else 0 for s in strides]
    kind = d.r.choices(["none", "pads", "uneven", "SAME_UPPER", "SAME_LOWER", "VALID", "shape"], [4, 3, 2, 0.7, 0.7, 0.5, 0.7])[0]
    full = [s * (i - 1) + o + e for s, i, o, e in zip(strides, shape[2:], more, extent)]
    out = full
    if kind in ("pads", "uneven"):
        before = [d.r.randint(0, min(2, e - 1)) for e in extent]
        behind = before if kind == "pads" else [d.r.randint(0, min(2, e - 1)) for e in extent]
        attributes["pads"] = [*before, *behind]
        out = [f - a - b for f, a, b in zip(full, before, behind)]
    elif kind.startswith("SAME"):
        attributes["auto_pad"] = kind
        out = [i * s for i, s in zip(shape[2:], strides)]
        more = [0] * n
        if any(f < o for f, o in zip([s * (i - 1) + e for s, i, e in zip(strides, shape[2:], extent)], out)):
            # The padding would be negative.
            return None
    elif kind == "VALID":
        attributes["auto_pad"] = kind
    elif kind == "shape":
        out = [f - d.r.randint(0, min(2, e - 1)) for f, e in zip(full, extent)]
        attributes["output_shape"] = out
    if any(more) or d.chance(0.1):
        attributes["output_padding"] = more
    if any(o < 1 for o in out):
        return None
    weight = d.weight(channels, outputs, *kernel, fan=channels * math.prod(kernel))
    bias = [d.floats(outputs * groups)] if d.chance(0.6) else []
    return d.node("ConvTranspose", [x, weight, *bias], [shape[0], outputs * groups, *out], **attributes)


def power_pool(d, x):
    shape = d.shape(x)
    if len(shape) < 3 or d.opset < 11:
        return None
    found = layers.window(d, shape[2:], dilate=d.opset >= 18 and d.chance(0.3), inside=True)
    if not found:
        return None
    attributes, out, extent, pads = found
    if pads is None and any((o - 1) * s + e < size for o, s, e, size in zip(out, attributes.get("strides", [1] * len(out)), extent, shape[2:])):
        return None
    return d.node("LpPool", [x], [*shape[:2], *out], p=d.r.choice([None, 1, 2, 3]), **attributes)


PLACES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]


def resize(d, x):
    """Every mode, place of pixels, filter and cut that ONNX Runtime takes."""
    shape, rank = d.shape(x), d.rank(x)
    if d.opset < 11 or rank < 3 or rank > 4:
        return None
    mode = d.pick("nearest", "linear", "linear", "cubic")
    if mode == "cubic" and rank != 4:
        return None
    places = PLACES + ["half_pixel_symmetric"] * (d.opset >= 19) + ["tf_crop_and_resize"] * 2
    place = d.r.choice([None, *places])
    attributes = {"mode": mode, "coordinate_transformation_mode": place}
    if mode == "nearest":
        attributes["nearest_mode"] = d.r.choice([None, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
    space = shape[2:]
    out = [d.r.choice([s, s * 2, s * 3, max(1, s // 2), s + 1, max(1, s - 1), s + 3]) for s in space]
    if mode == "cubic":
        attributes["cubic_coeff_a"] = d.r.choice([None, -0.5, -0.75])
        attributes["exclude_outside"] = d.r.choice([None, 0, 1])
    if d.opset >= 18 and mode != "nearest" and rank == 4 and place != "tf_crop_and_resize" and d.chance(0.3):
        attributes["antialias"] = 1
        if mode == "linear" and d.chance(0.3):
            attributes["exclude_outside"] = 1
    use_axes = d.opset >= 18 and d.chance(0.3)
    # Quotients that floats hold, so that both runtimes count as many pixels.
    # The nearest element of a place that is half-way is found by other roundings with 1.25.
    scales = [d.r.choice([1.0, 2.0, 0.5, 1.5, 3.0, 0.75, 1.0 if mode == "nearest" else 1.25]) for _ in space]
    by_sizes = d.chance(0.5)
    if not by_sizes:
        out = [math.floor(s * f) for s, f in zip(space, scales)]
        # ONNX Runtime copies what keeps its size, whatever the scale.
        scales = [1.0 if o == s else f for o, s, f in zip(out, space, scales)]
    if any(o < 1 for o in out):
        return None
    empty = lambda: d.constant(np.zeros(0, np.float32), plain=True)
    roi = d.pick("", empty()) if d.opset >= 13 else empty()
    if place == "tf_crop_and_resize":
        # ONNX Runtime cuts nothing from an axis that keeps its length.
        cut = [d.chance(0.6) and o != s for o, s in zip(out, space)]
        low = [d.pick(0.0, 0.2, 0.25) if c else 0.0 for c in cut]
        # The last place is the last element to the digit, or far from it: beyond it nothing is read.
        high = [d.pick(0.75, 0.8, 1.0 if low_ != 0.2 else 0.8) if c else 1.0 for c, low_ in zip(cut, low)]
        others = 0 if use_axes else 2
        roi = d.constant(np.array([0.0] * others + low + [1.0] * others + high, np.float32), plain=True)
        if d.chance(0.3):
            attributes["extrapolation_value"] = 2.0
    if use_axes:
        attributes["axes"] = [a - rank if d.chance(0.3) else a for a in range(2, rank)]
    none = "" if d.opset >= 13 else empty()
    if by_sizes:
        sizes = out if use_axes else [*shape[:2], *out]
        if use_axes and place != "tf_crop_and_resize" and d.chance(0.3):
            policy = d.pick("not_larger", "not_smaller")
            # ONNX Runtime loses axes that are counted from the end with it.
            attributes.update(keep_aspect_ratio_policy=policy, axes=list(range(2, rank)))
            by = (min if policy == "not_larger" else max)(np.float32(o) / np.float32(s) for o, s in zip(out, space))
            out = [max(1, math.floor(float(np.float32(by) * np.float32(s)) + 0.5)) for s in space]
        return d.node("Resize", [x, roi, none, d.ints(sizes)], [*shape[:2], *out], **attributes)
    scales = scales if use_axes else [1.0, 1.0, *scales]
    return d.node("Resize", [x, roi, d.constant(np.array(scales, np.float32), plain=True)], [*shape[:2], *out], **attributes)


def pad(d, x):
    """Reflected, repeated, wrapped or filled, along any axes, also by less than nothing."""
    shape, rank = d.shape(x), d.rank(x)
    start = 0 if rank == 1 or d.net.x.shape[0] == 1 and not d.net.free and d.chance(0.05) else 1
    mode = d.r.choice(["constant", "reflect", "edge", "edge"] + ["wrap"] * 2 * (d.opset >= 19))
    before, after = [0] * rank, [0] * rank
    for a in range(start, rank):
        # ONNX Runtime's reflection goes once; its wrapping, too.
        most = min(3, shape[a] - 1) if mode in ("reflect", "wrap") else 3
        before[a], after[a] = d.r.randint(0, most), d.r.randint(0, most)
    if mode == "constant" and rank > 1 and shape[-1] > 2 and d.chance(0.2):
        before[-1] = -1
    out = [s + b + a for s, b, a in zip(shape, before, after)]
    value = d.r.choice([None, 0.0, 1.5, -2.0]) if mode == "constant" else None
    if d.opset < 11:
        return d.node("Pad", [x], out, pads=before + after, mode=mode, value=value)
    if d.opset >= 18 and d.chance(0.3):
        axes = [a for a in range(rank) if before[a] or after[a]] or [rank - 1]
        named = d.ints([d.axis(a, rank) for a in axes])
        pads = d.ints([before[a] for a in axes] + [after[a] for a in axes])
        return d.node("Pad", [x, pads, "" if value is None else d.number(value, ()), named], out, mode=mode)
    return d.node("Pad", [x, d.ints(before + after), *([] if value is None else [d.number(value, ())])], out, mode=mode)


def grid_sample(d, x):
    """An image read at places that are stated, computed, or an affine map's."""
    shape = d.shape(x)
    if d.opset < 16 or len(shape) != 4:
        return None
    b, c, h, w = shape
    out = [d.r.randint(1, 4), d.r.randint(1, 4)]
    mode = d.pick("linear", "nearest", "cubic") if d.opset >= 20 else d.pick("bilinear", "nearest", "bicubic")
    # Beyond the border ONNX Runtime, as PyTorch, keeps the place of a cubic and repeats elements; ONNX moves the place to the border.
    padding = d.r.choice([None, "zeros", "reflection"] + ["border"] * ("cubic" not in mode))
    if "cubic" in mode and padding == "reflection" and min(h, w) < 2:
        return None
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": d.r.choice([None, 0, 1])}
    if attributes["align_corners"] == 1 and padding == "reflection" and min(h, w) < 2:
        # Reflected within nothing.
        return None
    kind = d.r.choice(["stated", "computed", "affine"])
    if kind == "affine" and d.opset >= 20 and min(out) > 1:
        theta = np.repeat([[[1, 0.2, 0.1], [-0.3, 0.8, 0]]], b, 0) + 0.1 * d.rng.standard_normal((b, 2, 3))
        grid = d.node("AffineGrid", [d.constant(theta.astype(np.float32)), d.ints([b, c, *out])], [b, *out, 2], align_corners=d.r.choice([None, 0, 1]))
    elif kind == "computed":
        flat = d.node("ReduceMean", [x], [b, c], axes=[2, 3], keepdims=0) if d.opset < 18 else d.node("ReduceMean", [x, d.ints([2, 3])], [b, c], keepdims=0)
        n = out[0] * out[1] * 2
        grid = d.node("MatMul", [flat, d.weight(c, n, fan=c)], [b, n])
        grid = d.node("Reshape", [d.same("Mul", d.same("Tanh", grid), d.number(1.3, ())), d.ints([-1, *out, 2])], [b, *out, 2])
    else:
        grid = d.constant(np.repeat(d.rng.uniform(-1.4, 1.4, (1, *out, 2)), b, 0).astype(np.float32))
    return d.node("GridSample", [x, grid], [b, c, *out], **attributes) if grid else None


def affine_grid(d, x):
    """The places of an affine map that is computed."""
    shape = d.shape(x)
    if d.opset < 20 or len(shape) != 2:
        return None
    b = shape[0]
    theta = d.node("MatMul", [x, d.weight(shape[1], 6, fan=shape[1])], [b, 6])
    theta = d.node("Reshape", [theta, d.ints([-1, 2, 3])], [b, 2, 3]) if theta else None
    out = [d.r.randint(2, 4), d.r.randint(2, 4)]
    return d.node("AffineGrid", [theta, d.ints([b, 1, *out])], [b, *out, 2], align_corners=d.r.choice([None, 0, 1])) if theta else None


def patches(d, x):
    """Col2Im: an image put together from its patches."""
    shape = d.shape(x)
    if d.opset < 18 or len(shape) != 3:
        return None
    b, rows, _ = shape
    kernels = [(i, j) for i in (1, 2, 3) for j in (1, 2, 3) if rows % (i * j) == 0]
    kernel = d.r.choice(kernels)
    strides = [d.r.choice([1, 1, 2]) for _ in range(2)]
    dilations = [d.r.choice([1, 1, 2]) for _ in range(2)]
    size = [d.r.randint(3, 6) for _ in range(2)]
    pads = [d.r.choice([0, 0, 1]) for _ in range(4)]
    blocks = [(s + pads[i] + pads[i + 2] - ((k - 1) * dl + 1)) // st + 1 for i, (s, k, dl, st) in enumerate(zip(size, kernel, dilations, strides))]
    if min(blocks) < 1:
        return None
    n = blocks[0] * blocks[1]
    y = d.node("MatMul", [x, d.weight(shape[2], n, fan=shape[2])], [b, rows, n])
    out = [b, rows // (kernel[0] * kernel[1]), *size]
    return d.node("Col2Im", [y, d.ints(size), d.ints(list(kernel))], out, strides=strides, dilations=dilations, pads=pads) if y else None


def about_the_centre(d, x):
    shape, rank = d.shape(x), d.rank(x)
    if d.opset < 18 or rank < 2:
        return None
    axes = sorted(d.r.sample(range(1, rank), d.r.randint(1, rank - 1)))
    sizes = [max(1, shape[a] + d.r.randint(-2, 2)) for a in axes]
    out = list(shape)
    for a, s in zip(axes, sizes):
        out[a] = s
    return d.node("CenterCropPad", [x, d.ints(sizes)], out, axes=[d.axis(a, rank) for a in axes])


def blocks(d, x):
    """Blocks of pixels as channels, also of several images."""
    if d.rank(x) != 4:
        return None
    b, c, h, w = d.shape(x)
    s = d.pick(2, 2, 3)
    if c % (s * s):
        x = d.node("Conv", [x, d.weight(s * s, c, 1, 1, fan=c)], [b, s * s, h, w])
        c = s * s
    mode = d.r.choice([None, "DCR", "CRD"]) if d.opset >= 11 else None
    return d.node("DepthToSpace", [x], [b, c // (s * s), h * s, w * s], blocksize=s, mode=mode) if x else None


STEPS = [(on_a_line, 3), (transposed_conv, 4), (power_pool, 1), (resize, 3.5), (pad, 2), (grid_sample, 1.5), (affine_grid, 0.3), (patches, 0.5),
         (about_the_centre, 0.6), (blocks, 0.7)]
