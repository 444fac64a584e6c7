// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask windows`: builds for Windows and runs it under Wine, with the programs of GStreamer's own Windows build and
//! CPython for Windows as the other side. What is needed comes from `.ci/windows-setup`, once, into `target/windows/`.

mod kit;
mod packages;

pub use kit::Kit;

use std::process::Command;

use crate::run::{self, Outcome, Trouble, say};
use crate::{dist, fail};

/// Both systems whose compilers we have not: the code is checked for them, not linked.
const CHECKED: [&str; 2] = ["x86_64-pc-windows-msvc", "aarch64-apple-darwin"];
/// What is built for others than the machine that builds: all but the commands of the repository.
const SHIPPED: [&str; 6] = ["--package", "tdlink-core", "--package", "gst-plugin-tdlink", "--package", "tdlink"];

pub fn run(words: &[&str]) -> Outcome {
    let (options, steps): (Vec<&str>, Vec<&str>) = words.iter().copied().partition(|word| word.starts_with("--"));
    if let Some(unknown) = options.iter().find(|option| **option != Kit::DEBIAN) {
        return Err(Trouble::Usage(format!("no such option: {unknown}")));
    }
    if let Some(unknown) =
        steps.iter().find(|step| !["setup", "lint", "core", "plugin", "dist", "check"].contains(step))
    {
        return Err(Trouble::Usage(format!("no such step of windows: {unknown}")));
    }
    let wants = |step: &str| steps.is_empty() || steps.contains(&step);
    let kit = Kit::set_up(&options)?;
    let ran = (|| {
        if wants("lint") {
            lint(&kit)?;
        }
        if wants("core") {
            core(&kit)?;
        }
        if wants("plugin") {
            plugin(&kit)?;
        }
        if wants("dist") {
            packages::work(&kit, &dist::build_for_windows(&kit)?)?;
        }
        if wants("check") { check(&kit) } else { Ok(()) }
    })();
    // Nothing of Windows stays behind, whatever happened.
    ran.and(kit.end())
}

/// The lane of `cargo xtask ci`.
pub fn lane() -> Outcome {
    run(&[])
}

fn lint(kit: &Kit) -> Outcome {
    let mut cargo = kit.cargo(Kit::TARGET);
    let lints = ["--all-targets", "--features", "tdlink-core/test-util"];
    if kit.has_clippy() {
        return run::check(cargo.args(["clippy", "--locked"]).args(SHIPPED).args(lints).args(["--", "-D", "warnings"]));
    }
    say("Debian's compiler comes without clippy: warnings of rustc alone are looked for");
    run::check(cargo.args(["check", "--locked"]).args(SHIPPED).args(lints).env("RUSTFLAGS", "-D warnings"))
}

fn core(kit: &Kit) -> Outcome {
    let mut cargo = kit.cargo(Kit::TARGET);
    cargo.args(["test", "--locked", "--no-fail-fast", "--package", "tdlink-core", "--features", "test-util"]);
    tests(cargo.args(["--lib", "--tests"]))
}

/// One test after the other: each starts programs of its own, and a Wine process is a heavy one.
fn plugin(kit: &Kit) -> Outcome {
    // The tests load the plugin as a file, which only a build of the whole package makes.
    run::check(kit.cargo(Kit::TARGET).args(["build", "--locked", "--package", "gst-plugin-tdlink"]))?;
    let mut cargo = kit.cargo(Kit::TARGET);
    cargo.args(["test", "--locked", "--no-fail-fast", "--package", "gst-plugin-tdlink", "--lib", "--tests"]);
    cargo.env("G_DEBUG", "fatal_warnings");
    tests(cargo.args(["--", "--test-threads=1"]))
}

/// Runs tests, and fails if none ran.
fn tests(command: &mut Command) -> Outcome {
    let (status, lines) = run::tee(command)?;
    let passed: u32 = lines.iter().filter_map(|line| passed(line)).sum();
    say(format_args!("{passed} tests passed under Wine"));
    if !status.success() {
        fail!("{}: {status}", run::shown(command));
    }
    if passed == 0 {
        fail!("{}: no test ran", run::shown(command));
    }
    Ok(())
}

fn passed(line: &str) -> Option<u32> {
    line.strip_prefix("test result: ")?.split_once(". ")?.1.split_once(" passed")?.0.parse().ok()
}

/// The lane `macos`, and half of this one.
pub fn check_for(kit: &Kit, target: &str) -> Outcome {
    let mut cargo = kit.cargo_to_check(target)?;
    run::check(cargo.args(["check", "--locked"]).args(SHIPPED).env("RUSTFLAGS", "-D warnings"))
}

fn check(kit: &Kit) -> Outcome {
    CHECKED.iter().try_for_each(|target| check_for(kit, target))
}

#[cfg(test)]
mod tests_of_this {
    use super::*;

    #[test]
    fn passed_tests_are_counted() {
        assert_eq!(passed("test result: ok. 12 passed; 0 failed; 1 ignored"), Some(12));
        assert_eq!(passed("test result: FAILED. 3 passed; 2 failed"), Some(3));
        assert_eq!(passed("test a ... ok"), None);
    }
}
