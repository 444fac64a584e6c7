// SPDX-License-Identifier: MPL-2.0
//! `tdlink`: finds, shows and checks the shared buffers of this machine. It links no GStreamer.
//!
//! Exit codes: 0 fine, 1 not found, 2 usage, 3 failure.

mod address;
mod buffer;
mod card;
mod cli;
mod commands;
mod failure;
mod gstreamer;
mod measure;
mod output;
mod seconds;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use output::Output;

fn main() -> ExitCode {
    // clap itself ends with 2 for a line that it does not understand.
    let cli = Cli::parse();
    let mut out = Output::new(cli.json, cli.print);
    match commands::run(cli.command, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our lines has had enough.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            out.failed(&failure);
            ExitCode::from(failure.code())
        }
    }
}
