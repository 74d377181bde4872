//! Options of a session.

use std::path::PathBuf;
use std::time::Duration;

use crate::plan::Form;

/// How the form of each factored layer is chosen. A form that the device cannot run becomes two-stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forms {
    /// Each layer's forms, and on a GPU its kernels, are timed when the session opens, and the fastest are taken; what was
    /// timed is kept in [`Options::cache`]. As [`Forms::Ruled`] on a browser's GPU, which cannot be timed.
    #[default]
    Timed,
    /// A fixed rule for the class of device decides: opening is fast and deterministic.
    Ruled,
    /// The same form for all layers.
    All(Form),
    /// One for each layer of the model, such as an earlier session chose; [`Form::Dense`] for a layer that it leaves out.
    Each(Vec<Form>),
}

/// How a session is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The most samples that go through the device at once; larger inputs are cut, smaller ones cost what they need.
    pub batch: usize,
    /// How the form of each factored layer is chosen.
    pub forms: Forms,
    /// The share (0…1) of each factored layer's components that is loaded, the most important ones: the same file made
    /// thinner ([`Artifact::with_ranks`]).
    pub ranks: f64,
    /// Never multiply a factored layer back to its dense form, even where dense is faster; [`Forms`] that say a layer's form
    /// by name come first.
    pub keep_factors: bool,
    /// Give every value a buffer of its own, so that [`Session::value`] can be read after a run; on the CPU only.
    pub keep_values: bool,
    /// The most bytes that weights, activations, staging buffers and tables may take on the device together, also while
    /// layers are timed. To stay within it, layers get smaller forms than the fastest, unless [`Forms`] name one. A network
    /// that needs more is refused before anything is allocated. `None`: no limit but the device's.
    pub memory: Option<u64>,
    /// The timeout of a run on a GPU; a session whose run exceeds it cannot be used any more. It does not apply in a browser.
    /// `None` waits for ever.
    pub patience: Option<Duration>,
    /// The folder where the choices of [`Forms::Timed`] are kept between sessions, so that the next one opens at once and
    /// chooses the same; `None` times anew and keeps nothing. By default a folder of the user's, as the system has it.
    pub cache: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch: 1,
            forms: Forms::Timed,
            ranks: 1.0,
            keep_factors: false,
            keep_values: false,
            memory: None,
            patience: None,
            cache: user_folder(),
        }
    }
}

/// This user's cache folder; `None` where the system names none.
fn user_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = if cfg!(target_os = "windows") {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Caches"))
    } else {
        folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))
    };
    base.map(|base| base.join("thinfer"))
}
