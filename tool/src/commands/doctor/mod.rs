// SPDX-License-Identifier: MPL-2.0
//! `tdlink doctor`: what is wrong, and what mends it.

mod card;
mod machine;

use crate::cli::Geometry;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `doctor`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A buffer that holds the test card (`tdlink testcard`); without it the machine is looked at: GStreamer, encoders, cards,
    /// memory, session
    pub name: Option<String>,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Reads the card, or looks at the machine.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    if out.is_print() {
        return Err(Failure::Usage("no pipeline looks for what is wrong; leave --print out".to_owned()));
    }
    match args.name {
        Some(name) => card::run(&name, &args.geometry, out),
        None => machine::examine(out),
    }
}
