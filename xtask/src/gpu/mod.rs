// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask gpu`: a kit that tests and measures the CUDA side on a machine with a card, where there is nothing but
//! NVIDIA's driver. See `docs/gpu.md`.

mod card;
mod closure;
mod needs;
mod pack;
mod report;

use std::path::Path;

use crate::run::{Outcome, Trouble};

/// Name of the kit, of its folder and its archive.
const KIT: &str = "tdlink-gpu-kit";
/// Bytes that the archive may have: it is carried to machines by all kinds of ways.
const MOST: u64 = 60 << 20;

/// The GStreamers of the kit: this machine's, and a newer one with a loader of its own.
const HERE: &str = "1.22";
const NEWER: &str = "1.28";

const USAGE: &str = "\
gpu takes no word: it packs target/gpu/tdlink-gpu-kit.tar.gz, whose ./run tests and measures on a machine with a card.
  card FOLDER   what ./run starts there";

pub fn run(words: &[&str]) -> Outcome {
    match words {
        [] => pack::run(),
        ["card", folder] => card::run(Path::new(folder)),
        _ => Err(Trouble::Usage(USAGE.into())),
    }
}

fn failed(path: &Path, err: &std::io::Error) -> Trouble {
    Trouble::Machine(format!("{}: {err}", path.display()))
}

/// Copies a file, its permissions too, to a place whose folder is made.
fn copy(from: &Path, to: &Path) -> Outcome {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(|err| failed(folder, &err))?;
    }
    std::fs::copy(from, to).map(drop).map_err(|err| failed(from, &err))
}
