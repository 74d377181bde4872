//! Forms of a weight.

/// How a layer's weight is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// One matrix. A weight that is stored as factors is multiplied back when the session opens.
    Dense,
    /// As many steps as there are factors, the intermediates in memory.
    TwoStage,
    /// The last two factors in one step that keeps the intermediate in registers, workgroup memory or cache. A spatial
    /// pair cannot be fused; it runs two-stage.
    Fused,
}

impl Form {
    /// As messages and tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::TwoStage => "two-stage",
            Self::Fused => "fused",
        }
    }

    /// The form that [`Form::name`] calls so.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Dense, Self::TwoStage, Self::Fused].into_iter().find(|f| f.name() == name)
    }
}
