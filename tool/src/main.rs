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
use failure::Failure;
use output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && wants_json() => {
            let said = error.render().to_string();
            let failure = Failure::Usage(said.trim_start_matches("error: ").trim_end().to_owned());
            Output::new(true, false).failed(&failure);
            return ExitCode::from(failure.code());
        }
        // clap itself ends with 2 for a line that it does not understand, and with 0 for help.
        Err(error) => error.exit(),
    };
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

/// Whether a line that could not be understood asks for values.
fn wants_json() -> bool {
    std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json")
}
