//! Elements of an axis in any order: of even steps by a rearrangement, else by a table.

use super::{Converter, Step};
use crate::import::onnx::node::Node;
use crate::import::onnx::view::{Atom, View};

/// Consecutive places that are even steps: the first, how many, the step, and how often each is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: usize,
    len: usize,
    step: usize,
    each: usize,
}

impl<'a> Converter<'a> {
    /// The elements of axis `at` (of its own) of `view` at `places`, in that order.
    pub(super) fn picked_along(&mut self, node: &Node, view: &View, at: usize, places: &[usize]) -> Step<View> {
        let runs = runs(places);
        if runs.len() > 1 {
            let mut indices = vec![None; view.axes.len()];
            *indices.get_mut(at).ok_or("names no axis")? = Some(places.iter().map(|&p| Some(p)).collect());
            return self.picked(node, view, &indices, 0.0);
        }
        // With that axis in front, its step is the outermost.
        let rank = view.axes.len();
        let order: Vec<usize> = std::iter::once(at).chain((0..rank).filter(|&i| i != at)).collect();
        let mut turned = view.permuted(&order).ok_or("names no axis")?;
        if turned.axes[0].len() > 1 {
            let vector = self.moved_to(node, &turned, vec![turned.len()])?;
            turned = View::plain(vector, &turned.sizes()).sampled(view.sample);
        }
        let stride = turned.axes[0].first().map_or(0, |a| a.stride);
        let rest: Vec<Atom> = turned.axes[1..].iter().flatten().copied().collect();
        let inner: usize = rest.iter().map(|a| a.size).product();
        let Some(run) = runs.first() else { return Err("picks no elements".into()) };
        let first = [Atom { size: run.len, stride: stride * run.step }, Atom { size: run.each, stride: 0 }];
        let atoms: Vec<Atom> = first.into_iter().chain(rest.iter().copied()).filter(|a| a.size != 1).collect();
        let base = self.rearranged(node, turned.base, vec![run.len * run.each * inner], run.start * stride, &atoms)?;
        let mut sizes = turned.sizes();
        sizes[0] = places.len();
        Ok(View::plain(base, &sizes).restored(&order).ok_or("names no axis")?.sampled(view.sample))
    }
}

/// `places` as the fewest runs that a walk from the front finds.
fn runs(places: &[usize]) -> Vec<Run> {
    let mut out = Vec::new();
    let mut rest = places;
    while let Some(&start) = rest.first() {
        let each = rest.iter().take_while(|&&p| p == start).count();
        let repeated =
            |from: usize| rest.get(from).filter(|p| rest.get(from..from + each).is_some_and(|r| r.iter().all(|o| o == *p))).copied();
        let step = repeated(each).and_then(|next| next.checked_sub(start)).filter(|s| *s > 0);
        let len = step.map_or(1, |step| 1 + (1..).take_while(|&i| repeated(i * each) == Some(start + i * step)).count());
        out.push(Run { start, len, step: step.unwrap_or(1), each });
        rest = &rest[len * each..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_steps_and_repeats_are_one_run() {
        let run = |start, len, step, each| Run { start, len, step, each };
        assert_eq!(runs(&[0, 0, 1, 1, 2, 2]), [run(0, 3, 1, 2)]);
        assert_eq!(runs(&[1, 3, 5]), [run(1, 3, 2, 1)]);
        assert_eq!(runs(&[2, 1, 0]), [run(2, 1, 1, 1), run(1, 1, 1, 1), run(0, 1, 1, 1)]);
        // Two rows reflected before four.
        assert_eq!(runs(&[2, 1, 0, 1, 2, 3]).len(), 3);
        assert_eq!(runs(&[]), []);
        for places in [vec![5, 5, 5, 4, 6, 8, 8], vec![0, 0, 1, 2, 2]] {
            let walked = runs(&places).into_iter().flat_map(|r| (0..r.len).flat_map(move |i| vec![r.start + i * r.step; r.each]));
            assert_eq!(walked.collect::<Vec<_>>(), places);
        }
    }
}
