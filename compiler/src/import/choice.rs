//! What a user says of a file beyond its name.

/// What a user says of a file beyond its name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// The architecture, by one of [`crate::zoo`]'s names; without it the file or its tensors tell it.
    pub model: Option<&'a str>,
    /// Where in the file the network's tensors are: keys of dicts, then what names begin with, all with dots between. Needed where
    /// the file has several networks.
    pub state_dict: Option<&'a str>,
}
