//! Class tokens and position embeddings of transformers.

use serde::{Deserialize, Serialize};

use super::{ParamSpec, Role};
use crate::tensor::count;

/// y = [class, zeros…, x] + positions: `first` tokens before the pixels of x, the first of which is the class token, and a
/// position on each. Tensors have full names of their own, since checkpoints keep them beside all modules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embed {
    /// Channels.
    pub channels: usize,
    /// Pixels of the input.
    pub pixels: usize,
    /// Tokens before them.
    pub first: usize,
    /// Name of the class token, [channels]; needs a first token.
    pub class: Option<String>,
    /// The position embedding, added to all tokens.
    pub positions: Positions,
    /// Whether the tensors have a batch axis, as timm writes them: [1, 1, channels] and [1, tokens, channels].
    pub batched: bool,
}

/// The position embedding of tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Positions {
    /// Nothing.
    None,
    /// The tensor of this name, [tokens, channels].
    Learned(String),
    /// Sines and cosines of row and column for patches of so many columns (Beyer et al., arXiv 2205.01580; vit-pytorch's
    /// SimpleViT): channels in four parts, sine and cosine of x, then of y, by frequencies from 1 down to nearly 1/10000.
    SinCos {
        /// Patches of a row.
        columns: usize,
    },
}

impl Embed {
    /// Tokens of the output.
    pub fn tokens(&self) -> usize {
        self.first + self.pixels
    }

    /// Its tensors, under their own names.
    pub fn params(&self) -> Vec<ParamSpec> {
        let shaped = |tokens: Option<usize>| -> Vec<usize> {
            match (self.batched, tokens) {
                (true, tokens) => vec![1, tokens.unwrap_or(1), self.channels],
                (false, Some(tokens)) => vec![tokens, self.channels],
                (false, None) => vec![self.channels],
            }
        };
        let spec = |name: &String, tokens| ParamSpec { name: name.clone(), shape: shaped(tokens), role: Role::Embedding };
        let class = self.class.iter().map(|name| spec(name, None));
        let positions = if let Positions::Learned(name) = &self.positions { Some(spec(name, Some(self.tokens()))) } else { None };
        class.chain(positions).collect()
    }

    /// The positions that are no tensor, [tokens][channels]; zeros where there are none.
    pub fn fixed(&self) -> Vec<f32> {
        let mut table = vec![0.0; self.tokens() * self.channels];
        if let Positions::SinCos { columns } = self.positions {
            let quarter = self.channels / 4;
            for (pixel, row) in table.chunks_exact_mut(self.channels.max(1)).skip(self.first).enumerate() {
                let (x, y) = ((pixel % columns.max(1)) as f64, (pixel / columns.max(1)) as f64);
                for i in 0..quarter {
                    let omega = 1e4f64.powf(-(i as f64) / (quarter as f64 - 1.0).max(1.0));
                    let values = [(x * omega).sin(), (x * omega).cos(), (y * omega).sin(), (y * omega).cos()];
                    values.iter().enumerate().for_each(|(part, v)| row[part * quarter + i] = *v as f32);
                }
            }
        }
        table
    }

    /// All that is added, [tokens][channels], of the tensors that `get` gives by name.
    ///
    /// # Errors
    /// Whatever `get` returns.
    pub fn table<E>(&self, mut get: impl FnMut(&str) -> Result<Vec<f32>, E>) -> Result<Vec<f32>, E> {
        let mut table = self.fixed();
        if let Positions::Learned(name) = &self.positions {
            table.iter_mut().zip(get(name)?).for_each(|(t, p)| *t += p);
        }
        if let Some(name) = &self.class {
            table.iter_mut().zip(get(name)?).for_each(|(t, c)| *t += c);
        }
        Ok(table)
    }

    /// The output's shape.
    ///
    /// # Errors
    /// A phrase that says what was expected and what came.
    pub fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        let &[channels, height, width] = input else { return Err(format!("takes an image, its input has shape {input:?}")) };
        if channels != self.channels || count(&[height, width]) != Some(self.pixels) {
            return Err(format!("takes {} channels of {} pixels, its input has shape {input:?}", self.channels, self.pixels));
        }
        if self.class.is_some() && self.first == 0 {
            return Err("has a class token and no place for it".into());
        }
        match &self.positions {
            Positions::SinCos { columns } if *columns == 0 || !channels.is_multiple_of(4) => {
                Err(format!("has no sines and cosines for {channels} channels in rows of {columns}; the channels must be a multiple of 4"))
            }
            _ if self.first == 0 => Ok(input.to_vec()),
            _ => Ok(vec![channels, self.tokens(), 1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embed(positions: Positions) -> Embed {
        Embed { channels: 8, pixels: 6, first: 1, class: Some("cls_token".into()), positions, batched: true }
    }

    #[test]
    fn tensors_have_timms_shapes() {
        let op = embed(Positions::Learned("pos_embed".into()));
        let specs: Vec<_> = op.params().into_iter().map(|p| (p.name, p.shape)).collect();
        assert_eq!(specs, [("cls_token".to_string(), vec![1, 1, 8]), ("pos_embed".into(), vec![1, 7, 8])]);
        assert_eq!(op.output_shape(&[8, 2, 3]).unwrap(), [8, 7, 1]);
        assert!(op.output_shape(&[8, 2, 2]).unwrap_err().contains("6 pixels"));
        assert!(Embed { first: 0, ..op }.output_shape(&[8, 2, 3]).unwrap_err().contains("no place"));
    }

    #[test]
    fn fixed_positions_are_vit_pytorchs() {
        // posemb_sincos_2d(2, 3, 8): pixel (1, 2) has x = 2, y = 1; frequencies 1 and 1e-4.
        let table = embed(Positions::SinCos { columns: 3 }).fixed();
        let want = [2f64.sin(), 2e-4f64.sin(), 2f64.cos(), 2e-4f64.cos(), 1f64.sin(), 1e-4f64.sin(), 1f64.cos(), 1e-4f64.cos()];
        assert!(table[6 * 8..].iter().zip(want).all(|(t, w)| (f64::from(*t) - w).abs() < 1e-7));
        assert!(table[..8].iter().all(|x| *x == 0.0));
    }
}
