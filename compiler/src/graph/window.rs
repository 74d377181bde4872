//! How a kernel moves over an image, and the size of the output.

use serde::{Deserialize, Serialize};

/// How a kernel moves: height first, width second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Its size.
    pub kernel: [usize; 2],
    /// Steps from one output to the next.
    pub stride: [usize; 2],
    /// Rows and columns of zeros around the image: top, left, bottom, right.
    pub padding: [usize; 4],
    /// Distance between the kernel's elements: the dilation.
    pub dilation: [usize; 2],
}

impl Window {
    /// A square kernel with the same stride and padding on both axes.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4], dilation: [1; 2] }
    }

    /// Height and width of the output for an image of `size`, by PyTorch's formula: ⌊(size + padding − extent) / stride⌋ + 1.
    ///
    /// # Errors
    /// A phrase for a setting of 0, for a kernel that reaches beyond the padded image, and for sizes that overflow.
    pub fn output_size(&self, size: [usize; 2]) -> Result<[usize; 2], String> {
        let mut output = [0; 2];
        for (axis, out) in output.iter_mut().enumerate() {
            let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
            if kernel == 0 || stride == 0 || dilation == 0 {
                return Err(format!(
                    "has kernel {:?}, stride {:?} and dilation {:?}; none may be 0",
                    self.kernel, self.stride, self.dilation
                ));
            }
            let padded = size[axis].checked_add(self.padding[axis]).and_then(|n| n.checked_add(self.padding[axis + 2]));
            let extent = (kernel - 1).checked_mul(dilation).and_then(|n| n.checked_add(1));
            let (padded, extent) = padded.zip(extent).ok_or("has a kernel or padding beyond what can be counted")?;
            let room = padded
                .checked_sub(extent)
                .ok_or_else(|| format!("has a kernel that spans {extent} {}, its padded input only {padded}", ["rows", "columns"][axis]))?;
            *out = room / stride + 1;
        }
        Ok(output)
    }

    /// Refuses padding as large as the kernel, with which a pool's window could hold no element at all.
    ///
    /// # Errors
    /// A phrase that names the padding.
    pub fn check_pool(&self) -> Result<(), String> {
        let fits = (0..4).all(|side| self.padding[side] < self.kernel[side % 2]);
        if fits { Ok(()) } else { Err(format!("has padding {:?}, which is not below its kernel {:?}", self.padding, self.kernel)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_pytorchs_formula() {
        assert_eq!(Window::square(3, 1, 1).output_size([32, 7]), Ok([32, 7]));
        assert_eq!(Window::square(7, 2, 3).output_size([224, 225]), Ok([112, 113]));
        assert_eq!(Window::square(2, 2, 0).output_size([5, 4]), Ok([2, 2]));
        let uneven = Window { kernel: [3, 1], stride: [2, 1], padding: [0, 1, 1, 2], dilation: [2, 3] };
        // (8 + 0 + 1 − 5) / 2 + 1 and (5 + 1 + 2 − 1) / 1 + 1.
        assert_eq!(uneven.output_size([8, 5]), Ok([3, 8]));
    }

    #[test]
    fn what_has_no_size_is_refused() {
        assert!(Window::square(3, 0, 1).output_size([4, 4]).unwrap_err().contains("none may be 0"));
        assert!(Window::square(5, 1, 0).output_size([9, 4]).unwrap_err().contains("spans 5 columns"));
        let huge = Window { dilation: [usize::MAX; 2], ..Window::square(3, 1, 0) };
        assert!(huge.output_size([4, 4]).is_err());
        assert!(Window::square(3, 1, usize::MAX).output_size([4, 4]).is_err());
        assert!(Window::square(3, 2, 3).check_pool().is_err() && Window::square(3, 2, 2).check_pool().is_ok());
    }
}
