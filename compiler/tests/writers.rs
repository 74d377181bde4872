//! Files appear whole or not at all: full disks and folders that cannot be written to, on file systems made for it (Linux, where
//! user namespaces are allowed; else the tests say that they were skipped).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

/// Runs `script` where it may mount file systems; `$thinferc` is the program. `None` where that is not allowed.
fn in_a_namespace(script: &str) -> Option<Output> {
    let script = format!("set -e; cd \"$folder\"; mkdir disk; mount -t tmpfs -o size=64k none disk; echo mounted; {script}");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .env("folder", folder.path())
        .env("thinferc", env!("CARGO_BIN_EXE_thinferc"))
        .output();
    match output {
        Ok(output) if output.stdout.starts_with(b"mounted") => Some(output),
        _ => {
            println!("skipped: no namespace to mount a file system in");
            None
        }
    }
}

/// Standard output behind the first line, which says that the disk is there, and the one line on standard error.
fn told(output: &Output) -> (String, String) {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(error.lines().count(), 1, "{error}");
    (out.lines().skip(1).collect::<Vec<_>>().join("\n"), error.into_owned())
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    // 8 kB fit, the 500 kB of an fcn8 do not.
    let script = "\"$thinferc\" init --model mlp:8-4-2 -o disk/a.safetensors > /dev/null; before=$(cksum < disk/a.safetensors); \
                  code=0; \"$thinferc\" init --model fcn8 -o disk/a.safetensors > /dev/null || code=$?; \
                  [ \"$before\" = \"$(cksum < disk/a.safetensors)\" ] && echo same; echo $code; ls -A disk";
    let Some(output) = in_a_namespace(script) else { return };
    let (out, error) = told(&output);
    assert_eq!(out, "same\n1\na.safetensors");
    assert!(error.starts_with("error: disk/a.safetensors") && error.contains("space"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let script = "mount -o remount,ro disk; code=0; \"$thinferc\" init --model mlp:8-4-2 -o disk/a.safetensors > /dev/null || code=$?; \
                  echo $code; ls -A disk";
    let Some(output) = in_a_namespace(script) else { return };
    let (out, error) = told(&output);
    assert_eq!(out, "1");
    assert!(error.starts_with("error: disk/a.safetensors"), "{error}");
}

#[test]
fn a_run_that_fills_the_disk_can_go_on_with_more_room() {
    // A run's checkpoint holds weights and moments: it does not fit, then it does.
    let train = "\"$thinferc\" train --model mlp:784-16-10 --data glyphs --method dense --epochs 1 --limit 600 -o disk/run";
    let script = format!(
        "head -c 60000 /dev/zero > disk/filler; code=0; {train} > /dev/null 2> error || code=$?; echo $code; rm disk/filler; mount -o remount,size=4m disk; \
         rm -rf disk/run; {train} > /dev/null 2>&1; cat error >&2; ls disk/run/model.safetensors"
    );
    let Some(output) = in_a_namespace(&script) else { return };
    let (out, error) = told(&output);
    assert_eq!(out, "1\ndisk/run/model.safetensors");
    assert!(error.starts_with("error: disk/run"), "{error}");
}
