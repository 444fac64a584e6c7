// SPDX-License-Identifier: MPL-2.0
//! What the core says by `tracing` becomes GStreamer's debug log, category `tdlink`.

use std::{
    fmt::{self, Write},
    sync::LazyLock,
};

use gst::prelude::*;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("tdlink", gst::DebugColorFlags::empty(), Some("Shared buffers, below the elements"))
});

/// Sends the core's events to GStreamer's log. A subscriber that the application has set is left alone.
pub fn forward_to_gstreamer() {
    LazyLock::force(&CAT);
    if tracing::subscriber::set_global_default(Forward).is_err() {
        gst::debug!(CAT, "the application has its own tracing subscriber");
    }
}

struct Forward;

fn level(metadata: &Metadata<'_>) -> gst::DebugLevel {
    match *metadata.level() {
        Level::ERROR => gst::DebugLevel::Error,
        Level::WARN => gst::DebugLevel::Warning,
        Level::INFO => gst::DebugLevel::Info,
        Level::DEBUG => gst::DebugLevel::Debug,
        Level::TRACE => gst::DebugLevel::Trace,
    }
}

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tdlink") && CAT.above_threshold(level(metadata))
    }

    // The core uses events alone: spans need an identity and nothing more.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = level(event.metadata());
        gst::log_with_level!(CAT, level, "{}", text.0);
    }
}

/// The message of an event, with its fields after it.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
