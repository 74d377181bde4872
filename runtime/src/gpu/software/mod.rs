//! For software adapters (lavapipe): values in textures, and kernels by subgroups of 8 lanes that read them.

pub(super) mod attention;
pub(super) mod lanes;
pub(super) mod storage;
pub(super) mod textures;
