// SPDX-License-Identifier: MPL-2.0
//! `tdlink view`: a buffer in a window.

use std::time::Duration;

use serde_json::json;

use crate::cli::Geometry;
use crate::failure::Failure;
use crate::gstreamer::{Ended, GStreamer, Run, Trouble, Wire, hear_stop, missing, package, shown};
use crate::output::Output;
use crate::seconds::whole_seconds;

/// What shows pictures under X.
const OF_X: [&str; 3] = ["glimagesink", "xvimagesink", "ximagesink"];

/// Arguments of `view`
#[derive(Debug, clap::Args)]
#[command(after_help = "The window stays while the producer is away, and goes on when it comes back.")]
pub struct Args {
    /// The buffer
    pub name: String,
    /// Gives up after this many seconds without a producer; 0 waits for ever
    #[arg(long, default_value_t = 0, value_name = "SECONDS", value_parser = whole_seconds)]
    pub timeout: u32,
    /// Of a raw buffer
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Shows it.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    let gstreamer = GStreamer::with_plugin()?;
    if !gstreamer.elements.has("autovideosink") {
        return Err(Trouble::Lacks { what: "autovideosink".into(), package: package("autovideosink") }.into());
    }
    hear_stop()?;
    let patience = (args.timeout > 0).then(|| Duration::from_secs(args.timeout.into()));
    let wire = if out.is_print() {
        Wire::look(&args.name, &args.geometry)?.ok_or_else(|| Failure::NotFound(missing(&args.name)))?
    } else {
        let Some(wire) = Wire::await_one(&args.name, &args.geometry, patience, out)? else { return Ok(()) };
        wire
    };
    let line = wire.source(&args.geometry).then("queue").set("leaky", "downstream").set("max-size-buffers", 2);
    // A frame is shown when it comes.
    let line = line.then("videoconvert").then("autovideosink").set("sync", false);
    if out.is_print() {
        return out.pipeline(&shown(&gstreamer.settings(), "gst-launch-1.0", line.words()));
    }
    out.note(format_args!(
        "{}: {}x{} ({}); close the window or press Ctrl-C",
        wire.name,
        wire.width,
        wire.height,
        wire.protocol.word()
    ));
    let run = Run { gstreamer: &gstreamer, line: &line, names: &[], address: None, frames: None, lasts: None };
    let outcome = run.run(out, |_, _| None)?;
    let counts = outcome.counts.values().next().copied().unwrap_or_default();
    out.value(&json!({ "name": wire.name, "counts": counts.value() }))?;
    match outcome.ended {
        // That is how a window says that it was closed.
        Ended::Badly(why) if why.contains("window was closed") => Ok(()),
        // Without a sink for this screen autovideosink goes on to one that has nothing to show on, and may crash with it.
        Ended::Badly(why) if cfg!(target_os = "linux") && gstreamer.elements.first(&OF_X).is_none() => {
            Err(Failure::Failed(format!(
                "{why}; under X there is no {}: it comes with {}",
                OF_X.join(" or "),
                package(OF_X[2])
            )))
        }
        Ended::Badly(why) => Err(Failure::Failed(why)),
        Ended::Well | Ended::Killed => Ok(()),
    }
}
