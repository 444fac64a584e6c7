// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask bench`: what a frame costs. Numbers for people: nothing here passes or fails.

mod by_hand;
mod criterion;

use crate::run::{self, Outcome, Trouble};
use crate::setup::{self, Need};

pub fn run(options: &[&str]) -> Outcome {
    let (core, hand) = match options {
        [] => (true, true),
        ["core"] => (true, false),
        ["python"] => (false, true),
        _ => {
            return Err(Trouble::Usage(
                "bench takes one word or none: core (criterion) or python (against Python)".into(),
            ));
        }
    };
    setup::ensure(&[Need::Build, Need::Media, Need::Python, Need::PythonGst])?;
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    run::say(format_args!(
        "on {} with a load of {load}; other work on the machine shows in the numbers",
        model.unwrap_or("?")
    ));
    if core {
        criterion::run()?;
    }
    if hand {
        by_hand::run()?;
    }
    Ok(())
}
