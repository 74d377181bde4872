//! Vectors of floats for the kernels: what a tile needs, for each level of instructions that a machine may have. A
//! kernel is generic over [`Vector`] and inlined whole into one function a level that enables its features.

/// Instructions that this machine has, the best that there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// 512 and 256 bits, 32 registers.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256 bits with fused multiply–add, 16 registers.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever every machine of this architecture has.
    Base,
}

/// The level of this machine, or a lower one that `THINFER_CPU` names (`avx2`, `base`).
pub(super) fn level() -> Level {
    static LEVEL: std::sync::OnceLock<Level> = std::sync::OnceLock::new();
    *LEVEL.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            let asked = std::env::var("THINFER_CPU").unwrap_or_default();
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && asked != "base";
            // All that `vectorized` and the tiles are compiled for: some machines have the first two alone.
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            if avx2 && avx512 && asked != "avx2" {
                return Level::Avx512;
            }
            if avx2 {
                return Level::Avx2;
            }
        }
        Level::Base
    })
}

/// Does `work` compiled for this machine's level: loops in what is inlined into it become vectors of that width.
#[inline(always)]
pub(super) fn vectorized<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
    fn avx512<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    match level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level says that the features were found.
        Level::Avx512 => unsafe { avx512(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2(work) },
        Level::Base => work(),
    }
}

impl Level {
    /// As reports call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            Self::Base if cfg!(target_arch = "aarch64") => "neon",
            Self::Base if cfg!(target_feature = "simd128") => "simd128",
            Self::Base => "portable",
        }
    }
}

/// A few floats in a register.
pub(super) trait Vector: Copy {
    const LANES: usize;
    /// `x` in every lane.
    fn splat(x: f32) -> Self;
    /// The first [`Self::LANES`] of `from`.
    fn load(from: &[f32]) -> Self;
    /// Writes the lanes to the first of `to`.
    fn store(self, to: &mut [f32]);
    /// `self`·`by` + `sum` in each lane.
    fn mul_add(self, by: Self, sum: Self) -> Self;
}

/// Four lanes of plain Rust, which the SSE that every x86-64 has holds in one register. Not fused: where that is no
/// instruction, it would be a call to a library.
#[cfg(not(target_arch = "aarch64"))]
#[derive(Clone, Copy)]
pub(super) struct Base([f32; 4]);

#[cfg(not(target_arch = "aarch64"))]
impl Vector for Base {
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 4])
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        Self([from[0], from[1], from[2], from[3]])
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..4].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn mul_add(self, by: Self, sum: Self) -> Self {
        let one = |i: usize| self.0[i] * by.0[i] + sum.0[i];
        Self([one(0), one(1), one(2), one(3)])
    }
}

/// Four lanes of NEON, which every 64-bit Arm has.
#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy)]
pub(super) struct Base(std::arch::aarch64::float32x4_t);

#[cfg(target_arch = "aarch64")]
impl Vector for Base {
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: NEON is part of the architecture.
        Self(unsafe { std::arch::aarch64::vdupq_n_f32(x) })
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        let from = &from[..4];
        // SAFETY: as above, and the slice holds as many floats as are read.
        Self(unsafe { std::arch::aarch64::vld1q_f32(from.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..4];
        // SAFETY: as above, and the slice holds as many floats as are written.
        unsafe { std::arch::aarch64::vst1q_f32(to.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn mul_add(self, by: Self, sum: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { std::arch::aarch64::vfmaq_f32(sum.0, self.0, by.0) })
    }
}

/// A vector over x86's intrinsics.
#[cfg(target_arch = "x86_64")]
macro_rules! vector {
    ($name:ident, $raw:ident, $lanes:literal, $level:literal, $splat:ident, $load:ident, $store:ident, $mul_add:ident) => {
        #[doc = concat!(stringify!($lanes), " lanes; to be used only in functions that enable ", $level, ".")]
        #[derive(Clone, Copy)]
        pub(super) struct $name(std::arch::x86_64::$raw);

        impl Vector for $name {
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(x: f32) -> Self {
                // SAFETY: only functions that enable the feature use this type, and they are called where it was found.
                Self(unsafe { std::arch::x86_64::$splat(x) })
            }

            #[inline(always)]
            fn load(from: &[f32]) -> Self {
                let from = &from[..$lanes];
                // SAFETY: as above, and the slice holds as many floats as are read.
                Self(unsafe { std::arch::x86_64::$load(from.as_ptr()) })
            }

            #[inline(always)]
            fn store(self, to: &mut [f32]) {
                let to = &mut to[..$lanes];
                // SAFETY: as above, and the slice holds as many floats as are written.
                unsafe { std::arch::x86_64::$store(to.as_mut_ptr(), self.0) }
            }

            #[inline(always)]
            fn mul_add(self, by: Self, sum: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { std::arch::x86_64::$mul_add(self.0, by.0, sum.0) })
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector!(Avx2, __m256, 8, "AVX2 and FMA", _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps);
#[cfg(target_arch = "x86_64")]
vector!(Avx512, __m512, 16, "AVX-512F", _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps);
