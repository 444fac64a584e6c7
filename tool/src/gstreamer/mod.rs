// SPDX-License-Identifier: MPL-2.0
//! GStreamer, driven from outside: found on this machine, asked what it has, run as a child process.
//!
//! Nothing here links a library of GStreamer, so that this program starts without one and can say what is missing.

mod child;
mod elements;
mod encoders;
mod find;
mod leash;
mod line;
mod messages;
mod numbers;
mod places;
mod run;
mod sound;
mod stop;
mod wire;

use std::path::PathBuf;

use thiserror::Error;

pub use child::{Child, Ended};
pub use elements::package;
pub use encoders::{Codec, Encoder, Wish, encoders};
pub use find::{GStreamer, OURS, program};
pub use line::{Line, shown};
pub use messages::{Fields, Said};
pub use numbers::{rate, size};
pub use places::{PLUGIN, plugins_beside_us, users_plugins, whole};
pub use run::{Counts, Run, Why};
pub use sound::{Sound, audio, audio_encoder, sound};
pub use stop::{hear_stop, stopped};
pub use wire::{Wire, missing};

use crate::failure::Failure;

/// What stands between us and a running pipeline.
#[derive(Debug, Error)]
pub enum Trouble {
    /// There is no GStreamer.
    #[error(
        "there is no GStreamer here: no gst-launch-1.0 that answers in {} folders; install it ({}), then run \
         \"tdlink doctor\"{}", looked.len(), way_to_gstreamer(), also(passed_over)
    )]
    NoGStreamer {
        /// Folders that were looked into.
        looked: Vec<PathBuf>,
        /// Programs that did not answer.
        passed_over: Vec<String>,
    },
    /// It does not know our elements.
    #[error(
        "GStreamer {version} in {} does not know tdshmsrc: its plugin is neither where GStreamer looks nor beside \
         tdlink; run \"tdlink setup\" from the folder of the package, or set GST_PLUGIN_PATH to the folder of {PLUGIN}",
        gstreamer.display()
    )]
    NoPlugin {
        /// The folder of its programs.
        gstreamer: PathBuf,
        /// What it says of itself.
        version: String,
    },
    /// An element is not there.
    #[error("GStreamer has no {what}: it comes with {package}")]
    Lacks {
        /// The element, or what several of them would do.
        what: String,
        /// Who has it.
        package: &'static str,
    },
    /// What is wished for cannot be.
    #[error("{0}")]
    Wish(String),
    /// A program of it does not start.
    #[error("{program} does not start: {source}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match &trouble {
            Trouble::Wish(_) => Self::Usage(trouble.to_string()),
            _ => Self::failed(trouble),
        }
    }
}

fn way_to_gstreamer() -> &'static str {
    if cfg!(windows) {
        "the installer gstreamer-1.0-msvc-x86_64 from gstreamer.freedesktop.org, or pip install gstreamer-bundle"
    } else if cfg!(target_os = "macos") {
        "the runtime package from gstreamer.freedesktop.org"
    } else {
        "sudo apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
         gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"
    }
}

fn also(passed_over: &[String]) -> String {
    passed_over.iter().map(|line| format!("\n  passed over: {line}")).collect()
}
