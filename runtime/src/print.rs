//! Standard output, standard error and exit codes for command lines.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;

use crate::error::{Error, Result};

/// Writes `text` to standard output. Where the reader has gone (`… | head`) nothing is written and nothing is wrong: a
/// command goes on with what else it was asked to do.
///
/// # Errors
/// [`Error::Io`] for anything else that stops it, such as a full disk.
pub fn text(text: impl Display) -> Result<()> {
    written(write!(stdout().lock(), "{text}").and_then(|()| stdout().flush()))
}

/// [`text`] and a newline.
///
/// # Errors
/// As [`text`].
pub fn line(line: impl Display) -> Result<()> {
    text(format_args!("{line}\n"))
}

fn written(done: std::io::Result<()>) -> Result<()> {
    match done {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io("standard output")(e)),
        _ => Ok(()),
    }
}

/// Writes `text` and a newline to standard error, if it takes them: progress must not stop what it tells of.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// How a program ends: silently, or with its error on one line of standard error and exit code 1.
pub fn ended<E: Display>(done: Result<(), E>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("error: {error}"));
            ExitCode::from(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_has_gone_is_forgiven() {
        assert!(written(Ok(())).is_ok() && written(Err(ErrorKind::BrokenPipe.into())).is_ok());
        let error = written(Err(ErrorKind::StorageFull.into())).unwrap_err().to_string();
        assert!(error.contains("standard output"), "{error}");
    }
}
