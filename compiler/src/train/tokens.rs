//! What transformers need beside products, on batches [batch, channels, tokens], by Burn's primitives.

use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData};

use crate::error::Result;
use crate::graph::{Attention, Embed, Positions};

/// All tokens of all images beside each other, [channels, batch · tokens]: one large product is several times as fast as a
/// small one an image.
pub(super) fn columns(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.swap_dims(0, 1).reshape([channels, batch * height * width])
}

/// [`columns`] back as images of the batch, height and width of `like`.
pub(super) fn images(x: Tensor<2>, like: &Tensor<4>) -> Tensor<4> {
    let ([channels, _], [batch, _, height, width]) = (x.dims(), like.dims());
    x.reshape([channels, batch, height, width]).swap_dims(0, 1)
}

/// Each token's channels less their mean, over their deviation.
pub(super) fn layer_norm(x: Tensor<3>, eps: f64) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / variance.add_scalar(eps).sqrt()
}

/// Attention of queries `x` to the keys and values of `others`, or of one value that holds all three; `None` for another
/// number of values.
pub(super) fn attention(x: Tensor<4>, others: Vec<Tensor<4>>, attention: &Attention) -> Option<Tensor<4>> {
    let [q, k, v] = match <[Tensor<4>; 2]>::try_from(others) {
        Ok([k, v]) => [x.clone(), k, v],
        Err(others) if others.is_empty() => <[Tensor<4>; 3]>::try_from(x.clone().chunk(3, 1)).ok()?,
        Err(_) => return None,
    };
    let heads = |x: Tensor<4>| {
        let [batch, channels, height, width] = x.dims();
        x.reshape([batch, attention.heads, channels / attention.heads, height * width])
    };
    let [_, channels, ..] = q.dims();
    let (q, k, v) = (heads(q), heads(k), heads(v));
    // [queries, keys] of each head; outputs stay [channels, queries], so that nothing is transposed but the queries.
    let scores = q.transpose().mul_scalar(f64::from(attention.scale)).matmul(k);
    let y = v.matmul(softmax(scores, 3).transpose());
    let [batch, _, height, width] = x.dims();
    Some(y.reshape([batch, channels, height, width]))
}

/// Class tokens before the tokens of `x`, positions on all; `leaf` gives a tensor by its name.
///
/// # Errors
/// Whatever `leaf` returns.
pub(super) fn embed(x: Tensor<4>, embed: &Embed, leaf: &dyn Fn(&str) -> Result<Tensor<2>>) -> Result<Tensor<4>> {
    let ([batch, channels, height, width], tokens) = (x.dims(), embed.tokens());
    let fixed = Tensor::<2>::from_data(TensorData::new(embed.fixed(), [tokens, channels]), &x.device());
    let mut table = fixed;
    if let Positions::Learned(name) = &embed.positions {
        table = table + leaf(name)?.reshape([tokens, channels]);
    }
    if let Some(name) = &embed.class {
        let class = leaf(name)?.reshape([1, channels]);
        let rest = Tensor::<2>::zeros([tokens - 1, channels], &x.device());
        table = table + if tokens > 1 { Tensor::cat(vec![class, rest], 0) } else { class };
    }
    let table = table.transpose().unsqueeze::<3>();
    let x: Tensor<3> = x.flatten(2, 3);
    let all = match embed.first {
        0 => x,
        first => Tensor::cat(vec![Tensor::<3>::zeros([batch, channels, first], &x.device()), x], 2),
    };
    let shape = if embed.first == 0 { [batch, channels, height, width] } else { [batch, channels, tokens, 1] };
    Ok((all + table).reshape(shape))
}
