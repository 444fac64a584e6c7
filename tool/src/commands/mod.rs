// SPDX-License-Identifier: MPL-2.0
//! One file for each command: its arguments, and `run`.

pub mod list;
pub mod play;
pub mod record;
pub mod stream;
pub mod view;

use crate::cli::Command;
use crate::failure::Failure;
use crate::output::Output;

/// Does what was asked for.
pub fn run(command: Command, out: &mut Output) -> Result<(), Failure> {
    match command {
        Command::List(args) => list::run(args, out),
        Command::Record(args) => record::run(args, out),
        Command::Stream(args) => stream::run(args, out),
        Command::Play(args) => play::run(args, out),
        Command::View(args) => view::run(args, out),
    }
}
