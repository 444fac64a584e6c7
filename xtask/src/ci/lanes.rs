// SPDX-License-Identifier: MPL-2.0
//! The lanes that are little more than one command. A tool that cannot be had is `Trouble::Machine`: not run.

use std::path::Path;
use std::process::Command;

use crate::run::{self, Outcome, Trouble};
use crate::{fuzz, setup, test};

pub fn fmt() -> Outcome {
    if run::ask(run::cargo().args(["fmt", "--version"])).is_none() {
        return Err(Trouble::Machine("rustfmt is not installed (rustup component add rustfmt)".into()));
    }
    run::check(run::cargo().args(["fmt", "--all", "--check"]))?;
    run::check(run::cargo().args(["fmt", "--manifest-path", fuzz::MANIFEST, "--check"]))?;
    lengths()
}

/// Files that one can read in one go.
fn lengths() -> Outcome {
    let listed = run::ask(Command::new("git").args(["ls-files", "*.rs"]).current_dir(run::root()));
    let listed = listed.ok_or_else(|| Trouble::Machine("git does not list the files of the project".into()))?;
    let too_long: Vec<_> = listed
        .lines()
        .filter_map(|file| {
            // One that is about to be deleted has no text.
            let lines = std::fs::read_to_string(run::root().join(file)).ok()?.lines().count();
            (lines >= limit(file))
                .then(|| format!("{file} has {lines} lines, and must have fewer than {}", limit(file)))
        })
        .collect();
    if too_long.is_empty() { Ok(()) } else { Err(Trouble::Failed(too_long.join("; "))) }
}

/// So many lines a file must not have.
fn limit(file: &str) -> usize {
    if Path::new(file).file_name() == Some("imp.rs".as_ref()) { 400 } else { 600 }
}

fn lint(arguments: &[&str]) -> Outcome {
    if run::ask(run::cargo().args(["clippy", "--version"])).is_none() {
        return Err(Trouble::Machine("clippy is not installed (rustup component add clippy)".into()));
    }
    run::check(run::cargo().args(["clippy", "--locked"]).args(arguments).args(["--", "-D", "warnings"]))
}

pub fn clippy() -> Outcome {
    lint(&["--workspace", "--all-targets", "--features", "tdlink-core/test-util"])?;
    lint(&["--workspace", "--no-default-features"])
}

pub fn macos() -> Outcome {
    other_target("aarch64-apple-darwin")
}

/// Lints the core for a system that this machine is not.
fn other_target(target: &str) -> Outcome {
    rustup(&["target", "add", target])?;
    lint(&["--package", "tdlink-core", "--features", "test-util", "--lib", "--target", target])
}

/// Asks rustup for a part of the toolchain; it downloads it if it is not there.
pub fn rustup(arguments: &[&str]) -> Outcome {
    let what = format!("`rustup {}`", arguments.join(" "));
    if run::which("rustup").is_none() {
        return Err(Trouble::Machine(format!("{what}: rustup is not installed")));
    }
    match run::status(Command::new("rustup").args(arguments))? {
        status if status.success() => Ok(()),
        status => Err(Trouble::Machine(format!("{what}: {status}"))),
    }
}

pub fn doc() -> Outcome {
    let mut command = run::cargo();
    command.args(["doc", "--locked", "--workspace", "--no-deps", "--features", "tdlink-core/test-util"]);
    run::check(command.env("RUSTDOCFLAGS", "-D warnings"))
}

pub fn examples() -> Outcome {
    run::check(run::cargo().args(["build", "--locked", "--examples"]).args(test::EVERYTHING))?;
    let python = setup::python().ok_or_else(|| Trouble::Machine("no python3 with numpy".into()))?;
    let folder = Path::new("examples/python");
    let scripts = std::fs::read_dir(run::root().join(folder)).into_iter().flatten().flatten();
    for script in scripts.filter(|file| file.path().extension().is_some_and(|extension| extension == "py")) {
        run::check(Command::new(&python).arg("-B").arg(script.path()).arg("--help"))?;
    }
    Ok(())
}

/// Everything that touches memory by hand is in `segment`; `pixels` has no unsafe code, and its exhaustive tests would
/// take Miri hours.
pub fn miri() -> Outcome {
    rustup(&["component", "add", "miri", "rust-src", "--toolchain", "nightly"])?;
    let mut command = Command::new("cargo");
    command.args([
        "+nightly",
        "miri",
        "test",
        "--locked",
        "--package",
        "tdlink-core",
        "--features",
        "test-util",
        "--lib",
    ]);
    // Minutes of looking at a clock that is a number, and no memory by hand.
    command.args(["--", "--skip", "pixels::", "--skip", "looks::"]);
    // cargo itself would hand our own toolchain's RUSTC and the like down to the nightly one.
    without_cargo(&mut command).current_dir(run::root()).env("CARGO_TARGET_DIR", run::target().join("miri"));
    run::check(&mut command)
}

/// Our own algorithms over shared words are modelled in `protocol/control/model.rs`.
pub fn loom() -> Outcome {
    let mut command = run::cargo();
    command.args(["test", "--locked", "--package", "tdlink-core", "--release", "--lib", "--", "loom_"]);
    // Other flags than everybody's: a folder of its own, or all else would be built anew each time. No model needs
    // optimisation across crates.
    command.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", run::target().join("loom"));
    command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "8");
    run::check(&mut command)
}

/// The ignored test of `core/tests/control/kill.rs`.
pub fn kill() -> Outcome {
    let mut command = run::cargo();
    command.args(["test", "--locked", "--test", "control"]).args(test::EVERYTHING);
    run::check(command.args(["--", "--ignored", "--exact", "kill::hundreds_of_kills"]))
}

/// Both ends of a ring on threads of one process. Each maps the memory for itself, at another address, so the sanitiser
/// does not see whose slot is whose (`loom` does that); it sees what the ends share beside it: locks, switches, leases
/// that are given back on other threads.
pub fn tsan() -> Outcome {
    rustup(&["component", "add", "rust-src", "--toolchain", "nightly"])?;
    let target = "x86_64-unknown-linux-gnu";
    let mut command = Command::new("cargo");
    command.args(["+nightly", "test", "--locked", "-Zbuild-std", "--target", target]);
    command.args(["--package", "tdlink-core", "--features", "test-util", "--lib", "--test", "control", "--"]);
    command.args(["control::", "words::", "wait::", "bell::", "ends::", "pace::"]);
    // A child of a sanitised process with threads cannot be followed, and sanitised code takes its time.
    command.args(["--skip", "fork", "--skip", "child", "--skip", "dies", "--skip", "waiting_uses_no_processor"]);
    // It copies what may be written meanwhile, and looks twice: a race by intent, which Miri judges.
    command.args(["--skip", "over_plain_memory"]);
    // One test after the other: the sanitiser does not see our calls that unmap, and took a mapping of one test at the
    // address that another's had just left for the same memory.
    command.arg("--test-threads=1");
    without_cargo(&mut command).current_dir(run::root()).env("CARGO_TARGET_DIR", run::target().join("tsan"));
    command.env("RUSTFLAGS", "-Zsanitizer=thread");
    run::check(&mut command)
}

pub fn fuzz_smoke() -> Outcome {
    fuzz::run(fuzz::SMOKE)
}

/// Takes away what cargo sets for its children, so that another toolchain's cargo starts afresh.
pub fn without_cargo(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO") && name != "CARGO_HOME"
            || name == "RUSTUP_TOOLCHAIN"
            || name.starts_with("RUST_RECURSION")
        {
            command.env_remove(name);
        }
    }
    command
}

pub fn msrv() -> Outcome {
    let manifest = std::fs::read_to_string(run::root().join("Cargo.toml")).unwrap_or_default();
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let version = version.ok_or_else(|| Trouble::Failed("Cargo.toml has no rust-version".into()))?;
    // A name without a patch level is the newest of its line.
    rustup(&["toolchain", "install", version, "--profile", "minimal"])?;
    let mut command = Command::new("cargo");
    command.arg(format!("+{version}")).args(["check", "--locked", "--workspace"]);
    without_cargo(&mut command).current_dir(run::root()).env("CARGO_TARGET_DIR", run::target().join("msrv"));
    run::check(&mut command)
}
