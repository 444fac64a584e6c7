// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask bench`: what a frame costs. Numbers for people: nothing here passes or fails.

mod by_hand;
mod criterion;
mod peers;

use crate::run::{self, Outcome, Trouble};
use crate::setup::{self, Need};
use peers::Group;
pub use peers::{Options, date, measure_cuda};

const USAGE: &str = "\
bench takes one of these words, or none for all of them with `peers --quick`:
  core     criterion: copies and conversions against memcpy
  python   the elements against numpy by hand
  peers    the elements against other transports between two processes
  cuda     those for frames on a GPU against GStreamer 1.28's, on the emulated driver (as root, in a folder with a Debian)";

pub fn run(options: &[&str]) -> Outcome {
    let (core, hand, others) = match options {
        [] => (true, true, Some(peers::Options::of(Group::System, &["--quick"])?)),
        ["core"] => (true, false, None),
        ["python"] => (false, true, None),
        ["peers", options @ ..] => (false, false, Some(peers::Options::of(Group::System, options)?)),
        ["cuda", options @ ..] => (false, false, Some(peers::Options::of(Group::Device, options)?)),
        _ => return Err(Trouble::Usage(format!("{USAGE}\n\n{}", peers::USAGE))),
    };
    let mut needs = vec![Need::Build, Need::Media];
    if core || hand {
        needs.extend([Need::Python, Need::PythonGst]);
    }
    setup::ensure(&needs)?;
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
    if let Some(options) = others {
        peers::run(&options)?;
    }
    Ok(())
}
