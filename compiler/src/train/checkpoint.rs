//! Where a run stands, on disk, bit for bit. RUN_DIR/checkpoint/ holds two files that are written in turn, so that there
//! is a whole one whatever happens; a checksum tells a torn one.
//!
//! A file: the magic `THINRUN1`; the header's length (u64); the header, JSON; the tensors' f32 elements in the order of the
//! header's table; CRC-32 of all before (u32). Little-endian throughout.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thinfer::artifact::Preprocess;

use super::report::EpochRecord;
use crate::error::{Error, Result};
use crate::files::{make_dir, write_atomic};
use crate::tensor::{Params, Tensor, count};

const MAGIC: &[u8; 8] = b"THINRUN1";
const FILES: [&str; 2] = ["state-A", "state-B"];

/// Everything but tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The configuration, for comparing.
    pub(super) config: serde_json::Value,
    /// CRC-32 of the training images and labels.
    pub(super) data: u32,
    /// CRC-32 of the tensors of the checkpoint that the run started from, if it started from one; absent in runs of earlier
    /// versions.
    #[serde(default)]
    pub(super) start: Option<u32>,
    /// How pixels become inputs; absent in runs of earlier versions.
    #[serde(default)]
    pub(super) preprocess: Option<Preprocess>,
    /// How many checkpoints this run has written; the largest number is the latest.
    pub(super) serial: u64,
    /// Epochs that are over.
    pub(super) epoch: usize,
    /// Steps of the next epoch that are over.
    pub(super) step: usize,
    /// Steps of the whole run that are over.
    pub(super) total_steps: u64,
    /// Sum over images of the loss in the epoch under way: the bits of an f64, which JSON's decimals might change.
    pub(super) loss_bits: u64,
    /// Images of the epoch under way that were classified rightly.
    pub(super) correct: usize,
    /// Images of the epoch under way that were seen.
    pub(super) seen: usize,
    /// Seconds spent in the epoch under way.
    pub(super) seconds: f32,
    /// Those of them that the method took before steps.
    #[serde(default)]
    pub(super) method_seconds: f32,
    /// The epochs that are over.
    pub(super) history: Vec<EpochRecord>,
}

/// A run's whole state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) position: Position,
    /// What the optimiser moves.
    pub(super) trained: Params,
    /// Running statistics.
    pub(super) running: Params,
    /// The optimiser's moments.
    pub(super) moments: Vec<Params>,
    /// Moving averages of what is trained and of the running statistics, where they are kept; else empty.
    pub(super) averages: Vec<Params>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    position: Position,
    /// The groups of tensors in order: trained, running, moments, averages.
    groups: Vec<Vec<(String, Vec<usize>)>>,
    /// How many of the groups are averages.
    #[serde(default)]
    averages: usize,
}

/// The folder of a run's checkpoints.
pub(super) fn folder(run_dir: &Path) -> PathBuf {
    run_dir.join("checkpoint")
}

/// Writes `state`, giving it the next serial number.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn save(run_dir: &Path, state: &mut State) -> Result<()> {
    let folder = folder(run_dir);
    make_dir(&folder)?;
    state.position.serial += 1;
    let path = folder.join(FILES[(state.position.serial % 2) as usize]);
    let groups: Vec<&Params> = [&state.trained, &state.running].into_iter().chain(&state.moments).chain(&state.averages).collect();
    let table = |p: &&Params| p.iter().map(|(name, t)| (name.clone(), t.shape().to_vec())).collect();
    let header = Header { position: state.position.clone(), groups: groups.iter().map(table).collect(), averages: state.averages.len() };
    let header = serde_json::to_vec(&header).map_err(|e| Error::Run { path: path.clone(), why: e.to_string() })?;
    let mut file = MAGIC.to_vec();
    file.extend((header.len() as u64).to_le_bytes());
    file.extend(header);
    for tensor in groups.iter().flat_map(|p| p.values()) {
        file.extend(tensor.data().iter().flat_map(|x| x.to_le_bytes()));
    }
    file.extend(crc32fast::hash(&file).to_le_bytes());
    write_atomic(&path, &file)
}

/// The latest whole state of a run; files that are torn or missing are passed over.
///
/// # Errors
/// [`Error::Run`] naming the folder when there is none.
pub(super) fn load_latest(run_dir: &Path) -> Result<State> {
    let folder = folder(run_dir);
    let states = FILES.iter().filter_map(|name| decode(&std::fs::read(folder.join(name)).ok()?));
    states
        .max_by_key(|s| s.position.serial)
        .ok_or_else(|| Error::Run { path: folder.clone(), why: "holds no whole checkpoint to go on from".into() })
}

/// Whether a run got as far as its first checkpoint in `run_dir`, or ended there.
pub(super) fn holds_run(run_dir: &Path) -> bool {
    FILES.iter().any(|f| folder(run_dir).join(f).exists())
        || ["run.json", "model.safetensors", "factors.safetensors"].iter().any(|f| run_dir.join(f).exists())
}

/// Keeps other processes out of `run_dir` until the file is dropped, also by a kill. Where the file system knows no locks, nothing is kept out.
///
/// # Errors
/// [`Error::Run`] when another process trains there, [`Error::Io`].
pub(super) fn lock(run_dir: &Path) -> Result<File> {
    let folder = folder(run_dir);
    make_dir(&folder)?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Run { path: run_dir.into(), why: "another process trains in this folder".into() }),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Removes what a killed process may have left half-written in `run_dir` and its checkpoints.
pub(super) fn sweep(run_dir: &Path) {
    for dir in [run_dir.to_path_buf(), folder(run_dir)] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = [".state-", ".run.json.", ".model.safetensors.", ".factors.safetensors."].iter().any(|p| name.starts_with(p));
            if ours && name.ends_with(".tmp") {
                // A left-over that cannot be removed harms nothing.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// The state in `bytes`, or `None` unless every byte is as it was written.
fn decode(bytes: &[u8]) -> Option<State> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (length, rest) = body.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    let (header, mut data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let Header { position, groups, averages } = serde_json::from_slice(header).ok()?;
    let mut params = Vec::with_capacity(groups.len());
    for group in groups {
        let mut tensors = Params::new();
        for (name, shape) in group {
            let (elements, rest) = data.split_at_checked(count(&shape)?.checked_mul(4)?)?;
            let elements = elements.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
            tensors.insert(name, Tensor::new(shape, elements)?);
            data = rest;
        }
        params.push(tensors);
    }
    let averages = params.split_off(params.len().checked_sub(averages)?);
    let mut params = params.into_iter();
    Some(State { position, trained: params.next()?, running: params.next()?, moments: params.collect(), averages })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(value: f32) -> State {
        let tensors = |n: usize| Params::from([("a".to_string(), Tensor::full([n, 2], value)), ("b".into(), Tensor::full([3], -value))]);
        let position = Position { loss_bits: (0.1f64 + 0.2).to_bits(), epoch: 3, ..Position::default() };
        State { position, trained: tensors(2), running: Params::new(), moments: vec![tensors(2), tensors(1)], averages: vec![tensors(3)] }
    }

    #[test]
    fn the_latest_whole_file_is_read_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (state(f32::MIN_POSITIVE / 2.0), state(0.1));
        save(dir.path(), &mut first).unwrap();
        second.position.serial = first.position.serial;
        save(dir.path(), &mut second).unwrap();
        assert_eq!(load_latest(dir.path()).unwrap(), second);

        let latest = folder(dir.path()).join(FILES[0]);
        let whole = std::fs::read(&latest).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [&whole[..0], &whole[..40], &whole[..whole.len() - 1], &flipped] {
            std::fs::write(&latest, damaged).unwrap();
            assert_eq!(load_latest(dir.path()).unwrap(), first);
        }
        std::fs::remove_file(folder(dir.path()).join(FILES[1])).unwrap();
        let error = load_latest(dir.path()).unwrap_err().to_string();
        assert!(error.contains("checkpoint"), "{error}");
    }

    #[test]
    fn left_overs_of_a_killed_process_are_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &mut state(1.0)).unwrap();
        std::fs::write(folder(dir.path()).join(".state-A.1.0.tmp"), "x").unwrap();
        std::fs::write(dir.path().join(".hidden"), "x").unwrap();
        sweep(dir.path());
        assert!(holds_run(dir.path()));
        assert_eq!(std::fs::read_dir(folder(dir.path())).unwrap().count(), 1);
        assert!(dir.path().join(".hidden").exists());

        // A process killed before its first checkpoint was whole leaves nothing to resume, and nothing in a new run's way.
        let dir = tempfile::tempdir().unwrap();
        make_dir(&folder(dir.path())).unwrap();
        std::fs::write(folder(dir.path()).join(".state-B.1.0.tmp"), "x").unwrap();
        assert!(!holds_run(dir.path()));
    }

    #[test]
    fn one_process_at_a_time_trains_in_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).unwrap_err().to_string().contains("another process"));
        drop(held);
        lock(dir.path()).unwrap();
    }
}
