// SPDX-License-Identifier: MPL-2.0
//! The commands of the repository: `cargo xtask WORD`. Standard library only, so that a fresh machine builds it in
//! seconds, before anything else is installed.

mod bench;
mod ci;
mod demo;
mod dist;
mod emulated;
mod fuzz;
mod gpu;
mod inspect;
mod ptx;
mod run;
mod setup;
mod test;
mod windows;

use std::process::ExitCode;

use run::Trouble;

const USAGE: &str = "\
usage: cargo xtask WORD

  demo     record a stand-in for TouchDesigner to target/demo/, check the file, and do the reverse
  test     every test of this machine
  ci       every lane, with the minutes of each; `ci LANE...` runs only these
  bench    what a frame costs: `bench core` against memcpy, `bench python` against numpy, `bench peers` against other
           transports between processes; none of these words: all, the last one in short
  fuzz     every parser under a fuzzer, 30 seconds in all; `fuzz SECONDS` so long each
  emulated run a command on the emulated CUDA driver: `emulated -- gst-inspect-1.0 nvcodec`; without a command, say what
           to set so that a program finds it
  ptx      compile the GPU kernels anew, by a pinned NVRTC; `ptx --check` only compares,
           `ptx --registers` says what GPUs need for them
  inspect  write docs/elements.md anew, from what gst-inspect-1.0 says of the plugin
  windows  build for Windows and run it under Wine: tests, GStreamer's own programs, CPython; `windows STEP...` only these
           of setup, lint, core, plugin, tool, dist, check; --debian-rust: not with rustup's compiler
  dist     packages for users, in target/dist/; `dist linux`, `dist windows` only these
  gpu      pack a kit that tests and measures on a machine with an NVIDIA card: target/gpu/ (as root; see docs/gpu.md)
  setup    only install what the words above need

Each word installs what it needs and is missing (apt, on Debian 12 and 13 and Ubuntu 24.04; elsewhere it says what to
install and stops). Exit status: 0 fine, 1 the project failed, 2 usage, 3 the machine or the network failed.

lanes of ci:
";

fn usage() -> String {
    format!("{USAGE}{}", ci::describe_lanes())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] | ["help" | "-h" | "--help", ..] | [_, "-h" | "--help", ..] => {
            print!("{}", usage());
            Ok(())
        }
        ["setup"] => setup::ensure(&[setup::Need::Build, setup::Need::Media, setup::Need::Python]),
        ["demo", options @ ..] => demo::run(options),
        ["test"] => test::run(),
        ["ci", lanes @ ..] => ci::run(lanes),
        ["bench", options @ ..] => bench::run(options),
        ["emulated", words @ ..] => emulated::run(words),
        ["windows", options @ ..] => windows::run(options),
        ["dist", options @ ..] => dist::run(options),
        ["gpu", options @ ..] => gpu::run(options),
        ["fuzz"] => fuzz::run(fuzz::SMOKE),
        ["fuzz", seconds] => fuzz::seconds(seconds).and_then(fuzz::run),
        ["ptx", options @ ..] => ptx::run(options),
        ["inspect"] => inspect::write(),
        // What the deny lane puts in cargo's place; see ci/deny.rs.
        ["metadata-with-old-ids", arguments @ ..] => ci::deny::metadata_with_old_ids(arguments),
        [word, ..] => Err(Trouble::Usage(format!("no such command: {}\n\n{}", run::quote(word), usage()))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("\n{trouble}");
            ExitCode::from(trouble.status())
        }
    }
}
