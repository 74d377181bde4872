//! Elements that a pick moves: which channel they come from, so that a normalisation behind the pick can be folded into the layer before it;
//! and a shortcut without weights as a pick.

use thinfer::artifact::{Pick, PickAxis, Residual, Run};

/// For each channel of an image of `from` [channels, height, width], the channel of the picked image that its elements go to, `None` if
/// they go nowhere. Nothing where elements of one channel go to several, or some are made up.
pub(super) fn channels(pick: &Pick, from: &[usize]) -> Option<Vec<Option<usize>>> {
    let (&[count, height, width], [channels, rows, columns]) = (from, &pick.axes[..]) else { return None };
    if has_gaps(pick) {
        return None;
    }
    let pixels = (height * width) as i32;
    // How many channels beyond the one that a channel's table names the elements of a pixel lie.
    let [rows, columns] = [rows.table(), columns.table()];
    let mut beyond: Vec<i32> = rows.iter().flat_map(|r| columns.iter().map(move |c| (r + c).div_euclid(pixels))).collect();
    beyond.sort_unstable();
    beyond.dedup();
    let mut owners = vec![None; count];
    for (channel, first) in channels.table().into_iter().enumerate() {
        if first % pixels != 0 {
            return None;
        }
        for offset in &beyond {
            let owner = owners.get_mut(usize::try_from(first / pixels + offset).ok()?)?;
            if owner.replace(channel).is_some_and(|other| other != channel) {
                return None;
            }
        }
    }
    Some(owners)
}

/// Every so-many-th pixel of an image of `from` [channels, height, width], with channels of zeros around, which gives `to`. `None` where
/// they are more than a file counts.
pub(super) fn shortcut(from: &[usize], to: &[usize], by: Residual) -> Option<Pick> {
    let (&[inputs, height, width], &[outputs, rows, columns]) = (from, to) else { return None };
    let run = |step: usize, count: usize| {
        let step = if count > 1 { i32::try_from(step).ok()? } else { 0 };
        Some(Run { start: 0, step, count: u32::try_from(count).ok()?, each: 1 })
    };
    let zeros = |count: usize| Some(Run { start: -1, step: 0, count: 1, each: u32::try_from(count).ok()? });
    let (before, stride) = (by.offset as usize, by.stride as usize);
    let channels = [zeros(before)?, run(height.checked_mul(width)?, inputs)?, zeros(outputs.checked_sub(inputs + before)?)?];
    let channels = channels.into_iter().filter(|r| r.each > 0).collect();
    let axes = [channels, vec![run(stride.checked_mul(width)?, rows)?], vec![run(stride, columns)?]];
    Some(Pick { axes: axes.map(|runs| PickAxis { runs }).into(), fill: 0.0 })
}

/// Whether some elements are the fill.
pub(super) fn has_gaps(pick: &Pick) -> bool {
    pick.axes.iter().flat_map(|axis| &axis.runs).any(|run| run.start < 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(start: i32, step: i32, count: u32) -> Run {
        Run { start, step, count, each: 1 }
    }

    fn pick(axes: [Vec<Run>; 3]) -> Pick {
        Pick { axes: axes.map(|runs| PickAxis { runs }).into(), fill: 0.0 }
    }

    #[test]
    fn channels_of_a_block_of_pixels_belong_to_one() {
        // Depth to space of [8, 3, 5] by 2: four channels of 15 elements for each output channel.
        let rows = vec![axis(0, 30, 2), axis(5, 30, 2)];
        let columns = vec![axis(0, 15, 2), axis(1, 15, 2)];
        let owners = channels(&pick([vec![axis(0, 60, 2)], rows, columns]), &[8, 3, 5]).unwrap();
        assert_eq!(owners, [Some(0), Some(0), Some(0), Some(0), Some(1), Some(1), Some(1), Some(1)]);
    }

    #[test]
    fn a_crop_and_a_part_of_the_channels_leave_the_rest_without_one() {
        let owners = channels(&pick([vec![axis(15, 15, 2)], vec![axis(5, 5, 1)], vec![axis(1, 1, 2)]]), &[4, 3, 5]).unwrap();
        assert_eq!(owners, [None, Some(0), Some(1), None]);
    }

    #[test]
    fn what_mixes_channels_or_makes_elements_up_is_refused() {
        let whole = [vec![axis(0, 15, 4)], vec![axis(0, 5, 3)], vec![axis(0, 1, 5)]];
        assert!(channels(&pick(whole.clone()), &[4, 3, 5]).is_some());
        let [c, h, w] = whole;
        assert_eq!(channels(&pick([c.clone(), vec![axis(-1, 0, 1), axis(0, 5, 2)], w.clone()]), &[4, 3, 5]), None);
        // Channels and columns in each other's place.
        assert_eq!(channels(&pick([w, h.clone(), c.clone()]), &[4, 3, 5]), None);
        // Two outputs of one channel.
        assert_eq!(channels(&pick([vec![axis(0, 0, 2)], h, vec![axis(0, 1, 5)]]), &[4, 3, 5]), None);
    }
}
