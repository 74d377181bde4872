"""Cases of transformers: layer norm, matrices over tokens, attention."""

import numpy as np

from kinds import case, f32, ints
from net import Net


def tokens(n, channels=6, patch=2):
    """An image's patches as tokens, [batch, tokens, channels], as PyTorch's flatten(2).transpose(1, 2)."""
    x = n.conv("x", n.shape[0], channels, patch, patch, name="patch_embed.proj")
    count = (n.shape[1] // patch) * (n.shape[2] // patch)
    return n.op("Transpose", n.op("Reshape", x, n.const(ints(0, channels, -1))), perm=[0, 2, 1]), count


def linear(n, x, inputs, outputs, bias=True, name=None):
    name = name or n.name("linear")
    y = n.op("MatMul", x, n.draw(inputs, outputs, scale=inputs ** -0.5, name=n.name("onnx::MatMul")), name=f"/{name}/MatMul")
    return n.op("Add", n.draw(outputs, scale=0.3, name=f"{name}.bias"), y) if bias else y


def heads(n, x, count, size):
    return n.op("Transpose", n.op("Reshape", x, n.const(ints(0, -1, count, size))), perm=[0, 2, 1, 3])


def together(n, x, channels):
    return n.op("Reshape", n.op("Transpose", x, perm=[0, 2, 1, 3]), n.const(ints(0, -1, channels)))


def written_out(n, q, k, v, scale):
    """Of heads, [batch, heads, tokens, size]."""
    scores = n.op("Div", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 1, 3, 2])), n.const(f32(scale)[0]))
    return n.op("MatMul", n.op("Softmax", scores, axis=-1), v)


@case
def layer_norm_of_tokens():
    n = Net([3, 6, 8])
    x, _ = tokens(n)
    x = n.op("LayerNormalization", x, n.draw(6, name="norm.weight"), n.draw(6, name="norm.bias"), axis=-1, epsilon=1e-6)
    return n, n.op("LayerNormalization", linear(n, x, 6, 5), n.draw(5, name="end.weight"))


@case
def layer_norm_of_vectors_and_of_whole_images():
    n = Net([3, 4, 2])
    x = n.op("LayerNormalization", n.conv("x", 3, 4, 1), n.draw(4, 4, 2), n.draw(4, 4, 2), axis=1)
    x = n.op("LayerNormalization", n.gemm(n.op("Flatten", x), 32, 7), n.draw(7), n.draw(7))
    return n, n.gemm(x, 7, 3)


@case
def layer_norm_of_the_last_axis_of_an_image():
    n = Net([3, 4, 5])
    x = n.op("LayerNormalization", n.op("Transpose", n.conv("x", 3, 6, 1), perm=[0, 2, 3, 1]), n.draw(6), n.draw(6))
    return n, n.op("LayerNormalization", n.op("Transpose", x, perm=[0, 3, 1, 2]), n.draw(5), n.draw(5))


@case
def layer_norm_written_out():
    n = Net([3, 4, 4], opset=12)
    x, _ = tokens(n)
    centred = n.op("Sub", x, n.op("ReduceMean", x, axes=[-1]))
    variance = n.op("ReduceMean", n.op("Pow", centred, n.const(f32(2)[0])), axes=[-1])
    root = n.op("Sqrt", n.op("Add", variance, n.const(f32(1e-5)[0])))
    return n, n.op("Add", n.op("Mul", n.op("Div", centred, root), n.draw(6)), n.draw(6))


@case
def layer_norm_written_out_by_reciprocals():
    n = Net([3, 4, 4], opset=18)
    x, _ = tokens(n)
    axes = n.const(ints(2))
    centred = n.op("Sub", x, n.op("ReduceMean", x, axes))
    root = n.op("Sqrt", n.op("Add", n.op("ReduceMean", n.op("Mul", centred, centred), axes), n.const(f32(1e-3)[0])))
    return n, linear(n, n.op("Mul", centred, n.op("Reciprocal", root)), 6, 4)


@case
def matrices_over_tokens_and_over_pixels():
    n = Net([3, 4, 6])
    x, _ = tokens(n)
    x = n.op("Add", x, linear(n, n.op("Gelu", linear(n, x, 6, 9)) if n.opset >= 20 else n.relu(linear(n, x, 6, 9)), 9, 6))
    # As an image with its channels last, and turned so that columns are features.
    image = linear(n, n.op("Reshape", x, n.const(ints(0, 2, 3, 6))), 6, 5)
    return n, linear(n, n.op("Transpose", image, perm=[0, 3, 1, 2]), 3, 4)


@case
def attention_of_three_weights():
    n = Net([3, 6, 8])
    x, _ = tokens(n, 8)
    q, k, v = (heads(n, linear(n, x, 8, 12), 3, 4) for _ in range(3))
    x = n.op("Add", linear(n, together(n, written_out(n, q, k, v, 2), 12), 12, 8), x)
    return n, x


@case
def attention_of_heads_that_are_no_vectors_of_four():
    n = Net([3, 6, 8])
    x, _ = tokens(n, 8)
    q, k, v = (heads(n, linear(n, x, 8, 15), 3, 5) for _ in range(3))
    return n, linear(n, together(n, written_out(n, q, k, v, 2), 15), 15, 8)


@case
def attention_of_one_head_without_its_axis():
    n = Net([3, 6, 8])
    x, _ = tokens(n, 8)
    q, k, v = (linear(n, x, 8, 8, bias=False) for _ in range(3))
    scores = n.op("Mul", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1])), n.const(f32(0.3)[0]))
    return n, n.op("MatMul", n.op("Softmax", scores, axis=2), v)


def packed(n, x, count, size):
    """timm's qkv.reshape(B, N, 3, heads, size).permute(2, 0, 3, 1, 4)."""
    qkv = linear(n, x, 8, 3 * count * size, name="blocks.0.attn.qkv")
    return n.op("Transpose", n.op("Reshape", qkv, n.const(ints(0, -1, 3, count, size))), perm=[2, 0, 3, 1, 4])


@case
def attention_packed_and_gathered():
    n = Net([3, 6, 8])
    x, _ = tokens(n, 8)
    all_three = packed(n, x, 2, 4)
    q, k, v = (n.op("Gather", all_three, n.const(np.array(i)), axis=0) for i in range(3))
    q = n.op("Mul", q, n.const(f32(0.5)[0]))
    scores = n.op("Softmax", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    return n, linear(n, together(n, n.op("MatMul", scores, v), 8), 8, 8)


@case
def attention_packed_and_split():
    n = Net([3, 6, 8], opset=12)
    x, _ = tokens(n, 8)
    parts = n.op("Split", packed(n, x, 2, 4), outputs=3, axis=0, split=[1, 1, 1])
    q, k, v = (n.op("Squeeze", p, axes=[0]) for p in parts)
    return n, linear(n, together(n, written_out(n, q, k, v, 2), 8), 8, 8)


@case
def attention_in_chunks_of_channels():
    n = Net([3, 6, 8])
    x, _ = tokens(n, 8)
    parts = n.op("Split", linear(n, x, 8, 24, bias=False), n.const(ints(8, 8, 8)), outputs=3, axis=-1)
    q, k, v = (heads(n, p, 4, 2) for p in parts)
    return n, linear(n, together(n, written_out(n, q, k, v, 2 ** 0.5), 8), 8, 8)


@case
def attention_with_scales_from_shapes():
    """As PyTorch exports scaled_dot_product_attention: the scale's root on both sides, from the last axis of the queries."""
    n = Net([3, 6, 8], batch="N")
    x, _ = tokens(n, 8)
    q, k, v = (heads(n, linear(n, x, 8, 8), 2, 4) for _ in range(3))
    size = n.op("Cast", n.op("Slice", n.op("Shape", q), n.const(ints(-1)), n.const(ints(2**62))), to=1)
    scale = n.op("Sqrt", n.op("Div", n.const(f32(1)), n.op("Sqrt", size)))
    q = n.op("Mul", q, scale)
    k = n.op("Mul", n.op("Transpose", k, perm=[0, 1, 3, 2]), scale)
    return n, linear(n, together(n, n.op("MatMul", n.op("Softmax", n.op("MatMul", q, k), axis=-1), v), 8), 8, 8)


@case
def attention_from_one_value_to_another():
    n = Net([3, 8, 8])
    x, _ = tokens(n, 8)
    q = heads(n, linear(n, n.op("Gather", x, n.const(ints(0)), axis=1), 8, 8), 2, 4)
    k, v = (heads(n, linear(n, x, 8, 8), 2, 4) for _ in range(2))
    return n, n.op("Reshape", together(n, written_out(n, q, k, v, 2), 8), n.const(ints(0, 8)))


@case
def attention_as_an_operator():
    n = Net([3, 6, 8], opset=23)
    x, _ = tokens(n, 8)
    q, k, v = (linear(n, x, 8, 12) for _ in range(3))
    x = linear(n, n.op("Attention", q, k, v, q_num_heads=3, kv_num_heads=3), 12, 8)
    q, k, v = (heads(n, linear(n, x, 8, 8), 2, 4) for _ in range(3))
    return n, linear(n, together(n, n.op("Attention", q, k, v, scale=0.7), 8), 8, 8)


@case
def class_token_and_positions():
    n = Net([3, 6, 8], batch="N")
    x, count = tokens(n, 8)
    batch = n.op("Gather", n.op("Shape", x), n.const(ints(0)), axis=0)
    shape = n.op("Concat", batch, n.const(ints(1)), n.const(ints(8)), axis=0)
    x = n.op("Concat", n.op("Expand", n.draw(1, 1, 8, name="cls_token"), shape), x, axis=1)
    x = n.op("Add", x, n.draw(1, count + 1, 8, name="pos_embed"))
    x = linear(n, x, 8, 8)
    # The class token, and all others without it.
    cls = n.op("Gather", x, n.const(np.array(0)), axis=1)
    rest = n.op("ReduceMean", n.op("Slice", x, n.const(ints(1)), n.const(ints(2**62)), n.const(ints(1))), axes=[1], keepdims=0)
    return n, n.gemm(n.op("Add", cls, rest), 8, 5)


@case
def positions_of_turned_tokens():
    n = Net([3, 4, 6])
    x = n.op("Reshape", n.conv("x", 3, 4, 1), n.const(ints(0, 4, 24)))
    x = n.op("Sub", x, n.draw(4, 24))
    x = n.op("Concat", n.draw(1, 4, 2), x, axis=2)
    return n, linear(n, n.op("Transpose", x, perm=[0, 2, 1]), 4, 3)
