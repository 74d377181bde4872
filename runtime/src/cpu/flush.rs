//! Denormal numbers count as zero while the executor computes. They are below 1.2e-38 and change no result that anybody reads, but many
//! processors take ten to a hundred times as long for each, so that a layer's time would depend on the values that it meets.

/// Flush-to-zero, and denormals-are-zero for what is read, on the thread that made it, until it is dropped: also when the work in between
/// panics. Nested ones are allowed. On processors without such a mode it does nothing.
#[derive(Debug)]
pub(super) struct FlushToZero {
    before: register::Word,
    /// The register belongs to a thread, so this must be dropped on the one that made it.
    _stays: std::marker::PhantomData<*const ()>,
}

impl FlushToZero {
    /// Switches this thread to it.
    #[inline]
    pub(super) fn on() -> Self {
        let before = register::read();
        let wanted = before | register::flush();
        // Writing waits for the processor's pipeline: nested scopes need not.
        if wanted != before {
            register::write(wanted);
        }
        Self { before, _stays: std::marker::PhantomData }
    }
}

impl Drop for FlushToZero {
    #[inline]
    fn drop(&mut self) {
        if self.before | register::flush() != self.before {
            register::write(self.before);
        }
    }
}

/// SSE's control and status register.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod register {
    use std::arch::asm;

    pub(super) type Word = u32;

    /// FTZ, which every SSE has, and DAZ, which came to Intel's and AMD's processors before SSE3 did: to set a bit that is reserved would be
    /// a fault.
    #[inline]
    pub(super) fn flush() -> Word {
        const FTZ: u32 = 1 << 15;
        const DAZ: u32 = 1 << 6;
        if is_x86_feature_detected!("sse3") { FTZ | DAZ } else { FTZ }
    }

    #[inline]
    pub(super) fn read() -> Word {
        let mut word: u32 = 0;
        // SAFETY: the instruction writes 4 bytes, which are `word`'s.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
        word
    }

    #[inline]
    pub(super) fn write(word: Word) {
        // SAFETY: the instruction reads 4 bytes, which are `word`'s. They were read from the register but for bits that it has (`flush`), so
        // nothing is reserved, no exception is unmasked and rounding stays. The block counts as reading and writing memory, so what is
        // loaded or stored around it stays on its side; arithmetic that the compiler moves past it differs by denormals alone.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack)) };
    }
}

/// Arm's floating-point control register.
#[cfg(all(target_arch = "aarch64", not(miri)))]
mod register {
    use std::arch::asm;

    pub(super) type Word = u64;

    /// FZ: for what is read and what is written.
    #[inline]
    pub(super) fn flush() -> Word {
        1 << 24
    }

    #[inline]
    pub(super) fn read() -> Word {
        let word: u64;
        // SAFETY: the register may be read by every program, and reading changes nothing.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    #[inline]
    pub(super) fn write(word: Word) {
        // SAFETY: the register may be written by every program. The word was read from it but for FZ, so no exception is unmasked and
        // rounding stays. The block counts as reading and writing memory, so what is loaded or stored around it stays on its side;
        // arithmetic that the compiler moves past it differs by denormals alone.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nostack)) };
    }
}

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod register {
    pub(super) type Word = u32;

    pub(super) fn flush() -> Word {
        0
    }

    pub(super) fn read() -> Word {
        0
    }

    pub(super) fn write(_: Word) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    /// Whether a product whose result is denormal, and one that reads a denormal, are zero.
    fn flushes() -> [bool; 2] {
        [black_box(1e-20f32) * black_box(1e-20), black_box(1e-40f32) * black_box(1e10)].map(|x| black_box(x) == 0.0)
    }

    #[test]
    fn a_scope_flushes_and_puts_back_what_was() {
        let works = cfg!(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)));
        assert_eq!(flushes(), [false; 2]);
        {
            let _outer = FlushToZero::on();
            assert_eq!(flushes(), [works; 2]);
            drop(FlushToZero::on());
            assert_eq!(flushes(), [works; 2], "the inner scope must not end the outer one");
        }
        assert_eq!(flushes(), [false; 2]);
    }

    #[test]
    fn a_panic_puts_it_back_too() {
        let failing = || {
            let _flush = FlushToZero::on();
            panic!("expected by this test");
        };
        assert!(std::panic::catch_unwind(failing).is_err());
        assert_eq!(flushes(), [false; 2]);
    }
}
