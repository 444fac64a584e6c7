// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask ci`: the lanes. Each is run, or named as not run with the reason; each says how long it took.

pub mod deny;
mod lanes;

pub use lanes::{rustup, without_cargo};

use std::time::{Duration, Instant};

use crate::emulated;
use crate::fail;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup::{self, Need};
use crate::{dist, test, windows};

/// What became of a lane.
enum Verdict {
    Passed,
    /// It cannot run here, and why.
    NotRun(String),
    /// `cargo xtask test` has just done the same.
    RanBefore,
    Failed(String),
}

struct Lane {
    name: &'static str,
    about: &'static str,
    run: fn() -> Outcome,
    /// `cargo xtask test` does the same.
    in_test: bool,
}

const fn lane(name: &'static str, about: &'static str, run: fn() -> Outcome) -> Lane {
    Lane { name, about, run, in_test: false }
}

/// In this order: what is quick and fails most often comes first.
const LANES: &[Lane] = &[
    lane("fmt", "every file is formatted, and none too long", lanes::fmt),
    lane("clippy", "no warning, with and without default features, in tests and benches too", lanes::clippy),
    lane("macos", "the core compiles for macOS without a warning (not run there)", lanes::macos),
    lane("doc", "the documentation builds without a warning", lanes::doc),
    lane("deny", "licences, sources and bans of what we depend on", deny::run),
    Lane { name: "core", about: "the core's tests, without GStreamer", run: test::core, in_test: true },
    Lane { name: "plugin", about: "the elements in pipelines", run: test::plugin, in_test: true },
    Lane { name: "python", about: "the elements against real Python", run: test::python, in_test: true },
    lane(
        "emulated",
        "the emulated CUDA driver: its rules, through ctypes too, and GStreamer on it",
        emulated::lanes::driver,
    ),
    lane("emu-tsan", "the emulated CUDA driver under ThreadSanitizer", emulated::lanes::tsan),
    lane("cuda", "the CUDA elements and the core on the emulated driver", emulated::lanes::cuda),
    lane("cuda-1.28", "the CUDA elements, the same binaries, with GStreamer 1.28", emulated::lanes::cuda_newer),
    lane(
        "ptx",
        "the compiled kernels are those of the sources, byte for byte, and need no local memory",
        crate::ptx::check,
    ),
    lane("inspect", "docs/elements.md says what gst-inspect-1.0 does", crate::inspect::check),
    lane("windows", "built for Windows, tested and packed under Wine; checked for MSVC and macOS", windows::lane),
    lane("dist", "packages for Linux, unpacked and used", dist::lane),
    lane("examples", "the examples compile, the Python ones too", lanes::examples),
    lane("miri", "the core's tests on the heap under Miri", lanes::miri),
    lane("loom", "the ring under a model checker, as it is and broken in each way that must be found", lanes::loom),
    lane("tsan", "the ring's two ends on threads of one process under ThreadSanitizer", lanes::tsan),
    lane("kill", "producers and consumers of a ring killed at random instants, thousands of times", lanes::kill),
    lane("fuzz-smoke", "every parser under a fuzzer, 30 s in all", lanes::fuzz_smoke),
    lane("msrv", "it compiles with the oldest Rust that Cargo.toml names", lanes::msrv),
    lane("demo", "`cargo xtask demo`", || crate::demo::run(&[])),
];

pub fn describe_lanes() -> String {
    LANES.iter().map(|lane| format!("  {:<11}{}\n", lane.name, lane.about)).collect()
}

pub fn run(words: &[&str]) -> Outcome {
    let after_test = words.contains(&"--after-test");
    let names: Vec<&str> = words.iter().copied().filter(|word| *word != "--after-test").collect();
    if let Some(unknown) = names.iter().find(|name| LANES.iter().all(|lane| lane.name != **name)) {
        return Err(Trouble::Usage(format!("no such lane: {unknown}\n\nlanes:\n{}", describe_lanes())));
    }
    let mut needs = vec![Need::Build, Need::Media, Need::Python, Need::Cxx];
    if names.is_empty() {
        needs.push(Need::Pip);
    }
    setup::ensure(&needs)?;
    let spared = after_test && test::passed_on_this_tree();
    if after_test && !spared {
        say("--after-test: `cargo xtask test` has not passed on these very sources, so its lanes run again");
    }

    let chosen = LANES.iter().filter(|lane| names.is_empty() || names.contains(&lane.name));
    let mut results: Vec<(&Lane, Verdict, Duration)> = Vec::new();
    for lane in chosen {
        println!();
        say(format_args!("==== {}: {}", lane.name, lane.about));
        let start = Instant::now();
        let verdict = if spared && lane.in_test {
            Verdict::RanBefore
        } else {
            match (lane.run)() {
                Ok(()) => Verdict::Passed,
                Err(Trouble::Machine(why)) => Verdict::NotRun(why),
                Err(trouble) => Verdict::Failed(trouble.to_string()),
            }
        };
        if let Verdict::Failed(why) | Verdict::NotRun(why) = &verdict {
            println!("{why}");
        }
        results.push((lane, verdict, start.elapsed()));
        if let Some(left) = disk_left() {
            say(format_args!("{left} left on the disk"));
        }
    }
    report(&results)
}

/// As df says it. A disk that is full makes the strangest errors.
fn disk_left() -> Option<String> {
    let answer = run::ask(std::process::Command::new("df").args(["-h", "--output=avail"]).arg(run::target()))?;
    answer.lines().nth(1).map(|size| size.trim().to_owned())
}

fn report(results: &[(&Lane, Verdict, Duration)]) -> Outcome {
    println!("\nlane        minutes  verdict");
    for (lane, verdict, time) in results {
        let verdict = match verdict {
            Verdict::Passed => "passed".into(),
            Verdict::RanBefore => "passed (in `cargo xtask test`, on these sources)".into(),
            Verdict::NotRun(why) => format!("NOT RUN: {}", why.lines().next().unwrap_or_default()),
            Verdict::Failed(why) => why.lines().next().unwrap_or_default().to_string(),
        };
        println!("{:<11} {:7.1}  {verdict}", lane.name, time.as_secs_f64() / 60.0);
    }
    let total: Duration = results.iter().map(|(_, _, time)| *time).sum();
    println!("{:<11} {:7.1}", "total", total.as_secs_f64() / 60.0);
    let names = |wanted: fn(&Verdict) -> bool| {
        let names = results.iter().filter(|(_, verdict, _)| wanted(verdict)).map(|(lane, _, _)| lane.name);
        names.collect::<Vec<_>>().join(", ")
    };
    let not_run = names(|verdict| matches!(verdict, Verdict::NotRun(_)));
    if !not_run.is_empty() {
        println!("\nNOT RUN, and so neither passed nor failed: {not_run}");
    }
    let failed = names(|verdict| matches!(verdict, Verdict::Failed(_)));
    if failed.is_empty() { Ok(()) } else { fail!("lanes: {failed}") }
}
