//! Elements of a view by the indices of each of its axes, in one layer.

use thinfer::artifact::{Pick, PickAxis, Primitive, Run};

use super::super::{Converter, Step};
use crate::import::onnx::node::Node;
use crate::import::onnx::view::{Atom, View};

impl<'a> Converter<'a> {
    /// For each own axis of `view` the elements at these indices, `fill` where there is none; `None` for all of an axis. The output lies in the
    /// order in which the graph value does, so that an image stays one.
    pub(in super::super) fn picked(&mut self, node: &Node, view: &View, indices: &[Option<Vec<Option<usize>>>], fill: f32) -> Step<View> {
        let mut axes = Vec::with_capacity(view.axes.len());
        for (at, atoms) in view.axes.iter().enumerate() {
            let offsets = offsets(atoms);
            let table = match indices.get(at).and_then(Option::as_ref) {
                None => offsets.iter().map(|&o| Some(o)).collect::<Vec<_>>(),
                Some(indices) => {
                    let of =
                        |i: &Option<usize>| i.map(|i| offsets.get(i).copied().ok_or("picks an element that does not exist")).transpose();
                    indices.iter().map(of).collect::<Result<_, _>>()?
                }
            };
            axes.push((atoms.first().map_or(0, |a| a.stride), table));
        }
        // The outermost steps first; axes of one element where they stand.
        let mut order: Vec<usize> = (0..axes.len()).collect();
        if view.axes.iter().all(|atoms| atoms.len() == 1) {
            order.sort_by_key(|&i| std::cmp::Reverse(axes[i].0));
        }
        let shape: Vec<usize> = order.iter().map(|&i| axes[i].1.len()).collect();
        let tables = order.iter().map(|&i| runs(&axes[i].1)).collect::<Step<Vec<_>>>()?;
        let tables = if tables.is_empty() { vec![runs(&[Some(0)])?] } else { tables };
        let base = self.primitive(format!("{}.picked", node.label()), Primitive::Pick(Pick { axes: tables, fill }), vec![view.base])?;
        let plain = View::plain(base, &shape);
        Ok(plain.restored(&order).ok_or("names no axis")?.sampled(view.sample))
    }
}

/// The place in the graph value of each element of an axis.
fn offsets(atoms: &[Atom]) -> Vec<usize> {
    let mut offsets = vec![0];
    for atom in atoms {
        offsets = offsets.iter().flat_map(|&p| (0..atom.size).map(move |i| p + i * atom.stride)).collect();
    }
    offsets
}

/// A table as the fewest runs that a walk from the front finds.
fn runs(table: &[Option<usize>]) -> Step<PickAxis> {
    let entries: Vec<i32> = table
        .iter()
        .map(|entry| entry.map_or(Ok(-1), i32::try_from))
        .collect::<Result<_, _>>()
        .map_err(|_| "picks an element beyond what can be counted")?;
    let mut runs = Vec::new();
    let mut rest = &entries[..];
    while let Some(&start) = rest.first() {
        let each = rest.iter().take_while(|&&p| p == start).count();
        let block = |i: usize| rest.get(i * each..(i + 1) * each).filter(|b| b.iter().all(|p| *p == b[0])).map(|b| b[0]);
        let step = block(1).filter(|next| start >= 0 && *next >= 0).map_or(0, |next| next - start);
        let goes_on = |i: usize| block(i).is_some_and(|p| p >= 0 && i64::from(p) == i64::from(start) + i as i64 * i64::from(step));
        let count = if step == 0 { 1 } else { 1 + (1..).take_while(|&i| goes_on(i)).count() };
        let step = if count == 1 { 0 } else { step };
        runs.push(Run { start, step, count: count as u32, each: each as u32 });
        rest = &rest[count * each..];
    }
    Ok(PickAxis { runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_survive_as_runs() {
        for table in [&[0, 1, 2][..], &[2, 1, 0, 1, 2, 3], &[-1, -1, 0, 5, 10, -1], &[0, 0, 5, 5, 5], &[7], &[3, 3, 2, 2, 1, 1, -1]] {
            let some: Vec<Option<usize>> = table.iter().map(|&n| usize::try_from(n).ok()).collect();
            let axis = runs(&some).ok().unwrap();
            assert_eq!(axis.table(), table);
            assert_eq!(axis.len(), table.len() as u64);
        }
        let twice: Vec<Option<usize>> = (0..40).map(|i| Some(i / 2 * 20)).collect();
        assert_eq!(runs(&twice).ok().unwrap().runs, [Run { start: 0, step: 20, count: 20, each: 2 }]);
    }
}
