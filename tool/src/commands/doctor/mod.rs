// SPDX-License-Identifier: MPL-2.0
//! `tdlink doctor`: what is wrong, and what mends it.

mod card;

use crate::cli::Geometry;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `doctor`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A buffer that holds the test card (`tdlink testcard`)
    pub name: String,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Reads the card.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    if out.is_print() {
        return Err(Failure::Usage("no pipeline reads the test card; leave --print out".to_owned()));
    }
    card::run(&args.name, &args.geometry, out)
}
