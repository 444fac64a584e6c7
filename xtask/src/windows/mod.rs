// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask windows`: builds for Windows and runs it under Wine, with the programs of GStreamer's own Windows build and
//! CPython for Windows as the other side. What is needed comes from `.ci/windows-setup`, once, into `target/windows/`.

mod kit;
mod packages;
mod tests;

pub use kit::Kit;

use crate::run::{self, Outcome, Trouble, say};
use crate::{dist, fail};

/// What is built for others than the machine that builds: all but the commands of the repository.
const SHIPPED: [&str; 6] = ["--package", "tdlink-core", "--package", "gst-plugin-tdlink", "--package", "tdlink"];
/// The same with what tests need: one choice everywhere, so that nothing is compiled twice.
const TESTED: [&str; 8] = [
    "--package",
    "tdlink-core",
    "--package",
    "gst-plugin-tdlink",
    "--package",
    "tdlink",
    "--features",
    "tdlink-core/test-util",
];
/// What is checked, but not linked.
const CHECKED: [&str; 2] = ["x86_64-pc-windows-msvc", "aarch64-apple-darwin"];
/// Steps whose packages have tests.
const TESTS: [&str; 3] = ["core", "plugin", "tool"];

pub fn run(words: &[&str]) -> Outcome {
    let (options, steps): (Vec<&str>, Vec<&str>) = words.iter().copied().partition(|word| word.starts_with("--"));
    if let Some(unknown) = options.iter().find(|option| **option != Kit::DEBIAN) {
        return Err(Trouble::Usage(format!("no such option: {unknown}")));
    }
    if let Some(unknown) =
        steps.iter().find(|step| !TESTS.contains(step) && !["setup", "lint", "dist", "check"].contains(step))
    {
        return Err(Trouble::Usage(format!("no such step of windows: {unknown}")));
    }
    let kit = Kit::set_up(&options)?;
    let ran = work(&kit, &|step| steps.is_empty() || steps.contains(&step));
    // Nothing of Windows stays behind, whatever happened.
    ran.and(kit.end())
}

/// Tests wait most of the time; meanwhile the compiler has the processor.
fn work(kit: &Kit, wants: &dyn Fn(&str) -> bool) -> Outcome {
    let mut programs = Vec::new();
    if TESTS.iter().any(|step| wants(step)) {
        programs = tests::build(kit)?;
        programs.retain(|program| TESTS.iter().any(|step| wants(step) && program.is_of(step)));
    }
    let (tested, compiled) = std::thread::scope(|scope| {
        let tested = scope.spawn(|| if programs.is_empty() { Ok(()) } else { tests::run(kit, &programs) });
        let compiled = compile(kit, wants);
        (tested.join(), compiled)
    });
    let Ok(tested) = tested else { fail!("running the tests ended in a panic") };
    tested?;
    // The packages meet a Windows that has just started.
    kit.end()?;
    compiled?.map_or(Ok(()), |packages| packages::work(kit, &packages))
}

fn compile(kit: &Kit, wants: &dyn Fn(&str) -> bool) -> Outcome<Option<dist::WindowsPackages>> {
    if wants("lint") {
        lint(kit)?;
    }
    let packages = if wants("dist") { Some(dist::build_for_windows(kit)?) } else { None };
    if wants("check") {
        CHECKED.iter().try_for_each(|target| check_for(kit, target))?;
    }
    Ok(packages)
}

/// The lane of `cargo xtask ci`.
pub fn lane() -> Outcome {
    run(&[])
}

/// Tests and benches, too, whose libraries have parts in C: for the other compiler of Windows there is none here.
fn lint(kit: &Kit) -> Outcome {
    let mut cargo = kit.cargo(Kit::TARGET);
    if kit.has_clippy() {
        cargo.args(["clippy", "--locked"]).args(TESTED).args(["--all-targets", "--", "-D", "warnings"]);
        return run::check(&mut cargo);
    }
    say("Debian's compiler comes without clippy: warnings of rustc alone are looked for");
    run::check(cargo.args(["check", "--locked"]).args(TESTED).arg("--all-targets").env("RUSTFLAGS", "-D warnings"))
}

/// The lane `macos`, and half of this one.
pub fn check_for(kit: &Kit, target: &str) -> Outcome {
    let mut cargo = kit.cargo_to_check(target)?;
    run::check(cargo.args(["check", "--locked"]).args(SHIPPED).env("RUSTFLAGS", "-D warnings"))
}
