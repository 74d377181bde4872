//! How messages name the parts of a file.

/// What the file's own dict is called, without those in it.
pub(in crate::import) const OWN: &str = ".";

/// The most that a message lists.
pub(super) const LISTED: usize = 8;

/// What the user can do about several.
pub(super) const CHOOSE: &str = "--state-dict with one of them says which";

/// Where a part of the file is, as `--state-dict` takes it.
pub(super) fn joined(base: &str, path: &str) -> String {
    match (base, path.trim_end_matches('.')) {
        ("" | OWN, "") => OWN.into(),
        ("" | OWN, path) => path.into(),
        (base, "") => base.into(),
        (base, path) => format!("{base}.{path}"),
    }
}

/// The first of `names`, in quotes, and how many more there are.
pub(super) fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    let shown = names[..names.len().min(LISTED)].join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
