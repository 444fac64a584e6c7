// SPDX-License-Identifier: MPL-2.0
//! One file for each command: its arguments, and `run`.

pub mod bench;
pub mod clean;
pub mod demo;
pub mod doctor;
pub mod info;
pub mod list;
pub mod manual;
pub mod play;
pub mod rates;
pub mod record;
pub mod setup;
pub mod snapshot;
pub mod stream;
pub mod testcard;
pub mod view;
pub mod watch;

use crate::cli::Command;
use crate::failure::Failure;
use crate::output::Output;

/// Does what was asked for.
pub fn run(command: Command, out: &mut Output) -> Result<(), Failure> {
    match command {
        Command::List(args) => list::run(args, out),
        Command::Info(args) => info::run(args, out),
        Command::Hz(args) => rates::run(args, rates::What::Rate, out),
        Command::Bw(args) => rates::run(args, rates::What::Bytes, out),
        Command::Snapshot(args) => snapshot::run(args, out),
        Command::Watch(args) => watch::run(args, out),
        Command::Testcard(args) => testcard::run(args, out),
        Command::Doctor(args) => doctor::run(args, out),
        Command::Clean(args) => clean::run(args, out),
        Command::Completions(args) => manual::completions(args, out),
        Command::Man(args) => manual::man(args, out),
        Command::Record(args) => record::run(args, out),
        Command::Stream(args) => stream::run(args, out),
        Command::Play(args) => play::run(args, out),
        Command::View(args) => view::run(args, out),
        Command::Setup(args) => setup::run(args, out),
        Command::Demo(args) => demo::run(args, out),
        Command::Bench(args) => bench::run(args, out),
    }
}
