// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask fuzz`: the targets of fuzz/, built for libFuzzer by the nightly compiler without further tools.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::ci::without_cargo;
use crate::fail;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup::{self, Need};

pub const MANIFEST: &str = "fuzz/Cargo.toml";

/// How long to fuzz.
#[derive(Clone, Copy)]
pub enum Span {
    /// Shared by all targets.
    Total(Duration),
    /// For each target.
    Each(Duration),
}

pub const SMOKE: Span = Span::Total(Duration::from_secs(30));

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What cargo-fuzz would pass: coverage counters for libFuzzer and AddressSanitizer.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "--cfg=fuzzing",
];

pub fn seconds(word: &str) -> Outcome<Span> {
    match word.parse() {
        Ok(seconds @ 1..) => Ok(Span::Each(Duration::from_secs(seconds))),
        _ => Err(Trouble::Usage(format!("fuzz: {} is not a number of seconds, 1 or more", run::quote(word)))),
    }
}

pub fn run(span: Span) -> Outcome {
    setup::ensure(&[Need::Build, Need::Cxx])?;
    if run::ask(Command::new("rustc").args(["+nightly", "--version"])).is_none() {
        return Err(Trouble::Machine("the fuzzer needs a nightly toolchain (rustup toolchain install nightly)".into()));
    }
    let targets = targets()?;
    let folder = run::target().join("fuzz");
    // The versions of the project's own lock file; cargo adds what the fuzzer alone needs.
    let locks = [run::root().join("Cargo.lock"), run::root().join("fuzz/Cargo.lock")];
    std::fs::copy(&locks[0], &locks[1]).map_err(|err| Trouble::Machine(format!("{}: {err}", locks[1].display())))?;
    let mut build = Command::new("cargo");
    build.args(["+nightly", "build", "--release", "--bins", "--target", TARGET, "--manifest-path", MANIFEST]);
    // Only the target is instrumented: with --target, the flags leave build scripts and macros alone.
    build.current_dir(run::root());
    without_cargo(&mut build).env("RUSTFLAGS", FLAGS.join(" ")).env("CARGO_TARGET_DIR", &folder);
    run::check(&mut build)?;

    let each = match span {
        Span::Total(total) => (total.as_secs() / targets.len() as u64).max(1),
        Span::Each(each) => each.as_secs(),
    };
    for target in &targets {
        fuzz(&folder, target, each)?;
    }
    say(format_args!("{} parsers took {each} s of hostile input each: {}", targets.len(), targets.join(", ")));
    Ok(())
}

/// The names of the fuzz targets: one file each.
fn targets() -> Outcome<Vec<String>> {
    let files = std::fs::read_dir(run::root().join("fuzz/fuzz_targets")).into_iter().flatten().flatten();
    let stems = files.filter_map(|file| Some(file.path().file_stem()?.to_string_lossy().into_owned()));
    let mut names: Vec<String> = stems.collect();
    names.sort();
    if names.is_empty() { fail!("fuzz/fuzz_targets holds no target") } else { Ok(names) }
}

fn fuzz(folder: &std::path::Path, target: &str, seconds: u64) -> Outcome {
    let program = folder.join(TARGET).join("release").join(target);
    // What is found goes to the first folder; the committed seeds are read only.
    let corpus: PathBuf = folder.join("corpus").join(target);
    let seeds = run::root().join("fuzz/seeds").join(target);
    let findings = folder.join("artifacts").join(target);
    for dir in [&corpus, &findings] {
        std::fs::create_dir_all(dir).map_err(|err| Trouble::Machine(format!("{}: {err}", dir.display())))?;
    }
    let mut command = Command::new(program);
    command.arg(format!("-max_total_time={seconds}")).args(["-timeout=5", "-rss_limit_mb=1024"]);
    command.arg("-verbosity=0").arg(format!("-artifact_prefix={}/", findings.display()));
    command.arg(&corpus).args(seeds.is_dir().then_some(&seeds)).current_dir(run::root());
    match run::status(&mut command)? {
        status if status.success() => Ok(()),
        status => fail!("fuzz target {target}: {status}; the input lies in {}", findings.display()),
    }
}
