//! Which kinds of cores this process may run on: Arm's machines mix them, and name no model for all.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The kinds of cores and how many of each, as part of what makes timings hold: " 4 of 0x41 0xd03 at 406, …". Empty on processors that
/// name their model, and where the system does not say.
pub(crate) fn cores() -> String {
    if !cfg!(target_arch = "aarch64") {
        return String::new();
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    describe(&read("/proc/cpuinfo"), allowed, |core| {
        let capacity = read(&format!("/sys/devices/system/cpu/cpu{core}/cpu_capacity"));
        capacity.trim().parse().ok()
    })
}

/// From Linux's list of processors, the numbers of those that may be used (such as `0-3,6`; empty: all), and how much each can do
/// beside the largest, which is 1024.
fn describe(cpuinfo: &str, allowed: &str, capacity: impl Fn(usize) -> Option<u32>) -> String {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for core in cpuinfo.split("\n\n") {
        let field = |name: &str| {
            let line = core.lines().find(|l| l.split(':').next().is_some_and(|n| n.trim() == name))?;
            Some(line.split_once(':')?.1.trim())
        };
        let (Some(number), Some(part)) = (field("processor").and_then(|n| n.parse().ok()), field("CPU part")) else { continue };
        if !is_listed(allowed, number) {
            continue;
        }
        let mut kind = format!("{} {part}", field("CPU implementer").unwrap_or("-"));
        if let Some(capacity) = capacity(number) {
            // Writing to a string cannot fail.
            let _ = write!(kind, " at {capacity}");
        }
        *kinds.entry(kind).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} of {kind}")).collect();
    if kinds.is_empty() { String::new() } else { format!(" {}", kinds.join(", ")) }
}

/// Whether `number` is in a list such as `0-3,6`; everything is in an empty one.
fn is_listed(list: &str, number: usize) -> bool {
    let within = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((first.trim().parse::<usize>(), last.trim().parse::<usize>()), (Ok(a), Ok(b)) if (a..=b).contains(&number))
    };
    list.trim().is_empty() || list.split(',').any(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four small cores and two large ones.
    fn big_little() -> String {
        let core = |number: usize, part: &str| {
            format!(
                "processor\t: {number}\nBogoMIPS\t: 48.00\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: {part}\nCPU revision\t: 4"
            )
        };
        let cores: Vec<String> = (0..6).map(|n| core(n, if n < 4 { "0xd03" } else { "0xd09" })).collect();
        cores.join("\n\n") + "\n\nHardware\t: a board\n"
    }

    #[test]
    fn the_cores_that_may_be_used_are_counted_by_kind() {
        let capacity = |core: usize| Some(if core < 4 { 406 } else { 1024 });
        assert_eq!(describe(&big_little(), "0-5", capacity), " 4 of 0x41 0xd03 at 406, 2 of 0x41 0xd09 at 1024");
        assert_eq!(describe(&big_little(), "\t4-5\n", capacity), " 2 of 0x41 0xd09 at 1024");
        assert_eq!(describe(&big_little(), "1,3,5", |_| None), " 2 of 0x41 0xd03, 1 of 0x41 0xd09");
        assert_eq!(describe(&big_little(), "", |_| None), " 4 of 0x41 0xd03, 2 of 0x41 0xd09");
        assert_eq!(describe("processor : 0\nmodel name : a PC\n", "0", |_| None), "");
    }
}
