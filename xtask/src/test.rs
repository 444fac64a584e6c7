// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask test`: every test of this machine.

use std::path::PathBuf;
use std::process::Command;

use crate::fail;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup::{self, Need};

/// What cargo is asked for wherever tests are built: with one choice everywhere, what is built once serves every lane.
pub const EVERYTHING: [&str; 3] = ["--workspace", "--features", "tdlink-core/test-util"];

/// How many tests passed, failed and were skipped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The numbers in a closing line of `cargo test` or of nextest; `None` for any other line. nextest repeats the output
    /// of failed tests, closing lines included, further to the right.
    fn of_line(line: &str) -> Option<Count> {
        let counts = match line.strip_prefix("test result: ") {
            Some(counts) => counts,
            None => line.trim_start().strip_prefix("Summary [")?.split_once("run: ")?.1,
        };
        let number = |word: &str| {
            let before = counts.split([',', ';', '.']).find_map(|part| part.trim().strip_suffix(word))?;
            before.trim().rsplit(' ').next()?.parse::<u32>().ok()
        };
        // nextest counts "3 passed (1 slow)".
        let passed = number("passed").or_else(|| {
            let part = counts.split([',', ';', '.']).find(|part| part.contains(" passed ("))?;
            part.trim().split(' ').next()?.parse().ok()
        });
        let failed = number("failed").unwrap_or(0) + number("timed out").unwrap_or(0);
        let skipped = number("skipped").unwrap_or(0) + number("ignored").unwrap_or(0);
        Some(Count { passed: passed.unwrap_or(0), failed, skipped })
    }
}

/// Runs one group of tests; adds to `total`. A group that fails is an error after it has been counted.
fn group(command: &mut Command, total: &mut Count) -> Outcome {
    // A warning of GLib is a fault of ours: let it end the test that caused it.
    command.env("G_DEBUG", "fatal_warnings");
    let (status, lines) = run::tee(command)?;
    let mut count = Count::default();
    lines.iter().filter_map(|line| Count::of_line(line)).for_each(|line| count.add(line));
    total.add(count);
    if status.success() { Ok(()) } else { fail!("{}: {status}", run::shown(command)) }
}

/// The test runner with `arguments` that choose packages and features: nextest, which gives each test a process of its
/// own, or else cargo's.
fn unit_tests(arguments: &[&str], filter: Option<&str>, total: &mut Count) -> Outcome {
    if run::which("cargo-nextest").is_some() {
        let mut command = run::cargo();
        command.args(["nextest", "run", "--locked", "--no-fail-fast", "--no-tests=pass"]).args(arguments);
        if let Some(filter) = filter {
            command.args(["-E", filter]);
        }
        return group(&mut command, total);
    }
    if filter.is_some() {
        return Err(Trouble::Machine("this choice of tests needs cargo-nextest, which is not installed".into()));
    }
    say("cargo-nextest is not installed: the tests of one binary share a process and run one after the other");
    let mut command = run::cargo();
    command.args(["test", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"]).args(arguments);
    group(command.args(["--", "--test-threads=1"]), total)
}

/// The core alone, which knows no GStreamer.
pub fn core() -> Outcome {
    let mut total = Count::default();
    unit_tests(&["--package", "tdlink-core", "--features", "test-util"], None, &mut total)?;
    doc_tests(&["--package", "tdlink-core", "--features", "test-util"], &mut total)
}

/// The plugin in pipelines, without the tests that need Python.
pub fn plugin() -> Outcome {
    unit_tests(&["--package", "gst-plugin-tdlink"], Some("not binary(~python)"), &mut Count::default())
}

/// The tests in which a real Python is the other side.
pub fn python() -> Outcome {
    unit_tests(&["--package", "gst-plugin-tdlink"], Some("binary(~python)"), &mut Count::default())
}

fn doc_tests(arguments: &[&str], total: &mut Count) -> Outcome {
    group(run::cargo().args(["test", "--doc", "--locked", "--no-fail-fast"]).args(arguments), total)
}

pub fn run() -> Outcome {
    setup::ensure(&[Need::Build, Need::Media, Need::Python, Need::Cxx])?;
    let _ = std::fs::remove_file(stamp());
    let mut total = Count::default();
    let tests = unit_tests(&EVERYTHING, None, &mut total);
    let documents = doc_tests(&EVERYTHING, &mut total);
    println!("\n{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    tests.and(documents)?;
    if total.passed == 0 {
        fail!("no test ran");
    }
    let _ = std::fs::write(stamp(), tree()?);
    Ok(())
}

/// Says which state of the sources `cargo xtask test` last passed on.
fn stamp() -> PathBuf {
    run::target().join("tests-passed")
}

/// Whether `cargo xtask test` passed on exactly these sources.
pub fn passed_on_this_tree() -> bool {
    tree().is_ok_and(|tree| std::fs::read_to_string(stamp()).is_ok_and(|stamp| stamp == tree))
}

fn tree() -> Outcome<String> {
    let git = |arguments: &[&str]| {
        let answer = run::ask(Command::new("git").args(arguments).current_dir(run::root()));
        answer.ok_or_else(|| Trouble::Machine(format!("git {} failed", arguments.join(" "))))
    };
    Ok([git(&["rev-parse", "HEAD"])?, git(&["status", "--porcelain"])?, git(&["diff", "HEAD"])?].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_counted() {
        let count = |passed, failed, skipped| Some(Count { passed, failed, skipped });
        let line = "test result: FAILED. 12 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(Count::of_line(line), count(12, 1, 3));
        let line = "     Summary [   1.204s] 41 tests run: 40 passed (2 slow), 1 failed, 3 skipped";
        assert_eq!(Count::of_line(line), count(40, 1, 3));
        let line = "     Summary [   0.006s] 3 tests run: 3 passed, 0 skipped";
        assert_eq!(Count::of_line(line), count(3, 0, 0));
        let line = "     Summary [ 300.006s] 5 tests run: 3 passed, 1 failed, 1 timed out, 0 skipped";
        assert_eq!(Count::of_line(line), count(3, 2, 0));
        assert_eq!(
            Count::of_line("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 8 filtered out"),
            None
        );
        assert_eq!(Count::of_line("        PASS [   0.004s] xtask tests::x"), None);
    }
}
