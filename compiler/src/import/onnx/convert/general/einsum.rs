//! Einsum of one or two values.

use thinfer::artifact::ReduceKind;

use super::super::reduce::without;
use super::super::{Converter, Step};
use super::matmul::Product;
use crate::import::onnx::node::Node;
use crate::import::onnx::view::View;

/// The letters of each input and of the output.
#[derive(Debug, PartialEq)]
struct Equation {
    inputs: Vec<Vec<char>>,
    output: Vec<char>,
}

/// Reads an equation; `...` and repeated letters of one input are refused.
fn equation(text: &str) -> Result<Equation, String> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let unsupported = || format!("has the equation '{text}', which is not supported");
    let (left, right) = match bare.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (bare.as_str(), None),
    };
    let inputs: Vec<Vec<char>> = left.split(',').map(|part| part.chars().collect()).collect();
    let letters = || inputs.iter().flatten().copied();
    let output = match right {
        Some(right) => right.chars().collect(),
        // All letters that stand once, in the order of the alphabet.
        None => {
            let mut once: Vec<char> = letters().filter(|c| letters().filter(|o| o == c).count() == 1).collect();
            once.sort_unstable();
            once
        }
    };
    let repeats = |part: &Vec<char>| part.iter().enumerate().any(|(i, c)| part[..i].contains(c));
    let known = letters().chain(output.iter().copied()).all(|c| c.is_ascii_alphabetic());
    if !known || inputs.iter().any(repeats) || repeats(&output) || output.iter().any(|c| !letters().any(|l| l == *c)) {
        return Err(unsupported());
    }
    Ok(Equation { inputs, output })
}

impl<'a> Converter<'a> {
    pub(super) fn einsum(&mut self, node: &'a Node) -> Step<View> {
        let Equation { inputs, output } = equation(node.text("equation").ok_or("has no equation")?)?;
        if inputs.len() != node.inputs.len() || inputs.len() > 2 {
            return Err(format!("is of {} values by an equation of {}; one or two are supported", node.inputs.len(), inputs.len()).into());
        }
        let mut views = (0..inputs.len()).map(|i| self.operand(node, i)).collect::<Step<Vec<_>>>()?;
        if views.iter().zip(&inputs).any(|(v, letters)| v.rank() != letters.len()) {
            return Err("has an equation of other axes than its values have".into());
        }
        // The letter of the samples stands in front of the others of each value that has it.
        let sample = views.iter().zip(&inputs).find_map(|(v, l)| v.sample.map(|at| l[at]));
        let mut letters: Vec<Vec<char>> = inputs.clone();
        for (view, letters) in views.iter().zip(&mut letters) {
            match (view.sample, sample) {
                (Some(at), Some(s)) if letters[at] == s => _ = letters.remove(at),
                (None, Some(s)) if letters.contains(&s) => {
                    return Err("has samples along one value's axis and not along the other's".into());
                }
                (Some(_), _) => return Err("has samples along axes of different letters".into()),
                _ => {}
            }
        }
        let at = match sample {
            Some(s) => Some(output.iter().position(|c| *c == s).ok_or("sums over the samples")?),
            None => None,
        };
        let wanted: Vec<char> = output.iter().copied().filter(|c| Some(*c) != sample).collect();
        for (view, letters) in views.iter_mut().zip(&mut letters) {
            *view = view.clone().sampled(None);
            let others: Vec<char> = inputs.iter().flatten().copied().collect();
            // What one value alone has, and nobody wants, is summed first.
            let alone: Vec<usize> = (0..letters.len())
                .filter(|&i| !wanted.contains(&letters[i]) && others.iter().filter(|o| **o == letters[i]).count() == 1)
                .collect();
            if !alone.is_empty() {
                let sum = self.reduced_over(node, view, &alone, ReduceKind::Sum)?;
                *view = without(sum, &alone);
                *letters = (0..letters.len()).filter(|i| !alone.contains(i)).map(|i| letters[i]).collect();
            }
        }
        let (y, order) = match (&views[..], &letters[..]) {
            ([one], [letters]) => (one.clone(), letters.clone()),
            ([a, b], [left, right]) => self.contracted(node, (a, left), (b, right), &wanted)?,
            _ => return Err("is of more than two values".into()),
        };
        let turned = wanted.iter().map(|c| order.iter().position(|o| o == c)).collect::<Option<Vec<_>>>();
        let turned = turned.and_then(|order| y.permuted(&order)).ok_or("has an output of other axes")?;
        Ok(turned.sampled(at))
    }

    /// The sum over letters that both values have and nobody wants, and the letters of its axes.
    fn contracted(&mut self, node: &Node, a: (&View, &Vec<char>), b: (&View, &Vec<char>), wanted: &[char]) -> Step<(View, Vec<char>)> {
        let (left, right) = (a.1, b.1);
        let all = |from: &[char], keep: &dyn Fn(char) -> bool| from.iter().copied().filter(|c| keep(*c)).collect::<Vec<char>>();
        let batch = all(left, &|c| right.contains(&c) && wanted.contains(&c));
        let inner = all(left, &|c| right.contains(&c) && !wanted.contains(&c));
        let rows = all(left, &|c| !right.contains(&c));
        let columns = all(right, &|c| !left.contains(&c));
        let size = |letters: &[char]| -> usize {
            let of = |c: &char| match (left.iter().position(|l| l == c), right.iter().position(|r| r == c)) {
                (Some(i), _) => a.0.sizes()[i],
                (None, Some(i)) => b.0.sizes()[i],
                _ => 1,
            };
            letters.iter().map(of).product()
        };
        for c in &[&batch[..], &inner].concat() {
            let of = |view: &View, letters: &[char]| letters.iter().position(|l| l == c).map(|i| view.sizes()[i]);
            if of(a.0, left) != of(b.0, right) {
                return Err(format!("has axes of different lengths for '{c}'").into());
            }
        }
        // Each value as [batch…, first, second], letters of a kind as one axis.
        let sizes: Vec<usize> = batch.iter().map(|&c| size(&[c])).collect();
        let as_matrices = |this: &mut Self, (view, letters): (&View, &Vec<char>), first: &[char], second: &[char]| -> Step<View> {
            let order: Option<Vec<usize>> = batch.iter().chain(first).chain(second).map(|c| letters.iter().position(|l| l == c)).collect();
            let turned = order.and_then(|o| view.permuted(&o)).ok_or("names an axis twice")?;
            let shape = [&sizes[..], &[size(first), size(second)]].concat();
            this.reordered(node, &turned, &shape)
        };
        let (a, b) = (as_matrices(self, a, &rows, &inner)?, as_matrices(self, b, &inner, &columns)?);
        let (m, n, k) = (size(&rows), size(&columns), size(&inner));
        let y = self.matrices(node, Product { a, b, batch: sizes.clone(), rows: m, columns: n, inner: k })?;
        let order = [&batch[..], &rows, &columns].concat();
        let shape: Vec<usize> = order.iter().map(|&c| size(&[c])).collect();
        Ok((View::plain(y, &shape), order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_read_and_odd_ones_refused() {
        let e = equation("bij, bjk -> bik").unwrap();
        assert_eq!((e.inputs, e.output), (vec![vec!['b', 'i', 'j'], vec!['b', 'j', 'k']], vec!['b', 'i', 'k']));
        assert_eq!(equation("ij,jk").unwrap().output, ['i', 'k']);
        for odd in ["...i,i->...", "ii->i", "ij->ijj", "ij->k", "i1->i"] {
            assert!(equation(odd).unwrap_err().contains(odd), "{odd}");
        }
    }
}
