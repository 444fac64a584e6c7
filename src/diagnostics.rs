// SPDX-License-Identifier: MPL-2.0
//! What the core and the elements say by `tracing` becomes GStreamer's debug log, category `tdlink`: events, and spans
//! when they are over. (`GST_DEBUG=tdlink:5` has what happens now and then, attach, resize, detach; `tdlink:6` each wait,
//! copy and publication, too.)

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use gst::prelude::*;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::Interest,
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

/// Spans that are open, by their identity. Only those that somebody listens to.
static SPANS: Mutex<BTreeMap<u64, Open>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A span, and since when it is one.
struct Open {
    metadata: &'static Metadata<'static>,
    text: Text,
    begun: Instant,
    handles: usize,
}

struct Forward;

/// LOG is the category's level 6, and has what each frame goes through.
fn level(metadata: &Metadata<'_>) -> gst::DebugLevel {
    match *metadata.level() {
        Level::ERROR => gst::DebugLevel::Error,
        Level::WARN => gst::DebugLevel::Warning,
        Level::INFO => gst::DebugLevel::Info,
        Level::DEBUG => gst::DebugLevel::Debug,
        Level::TRACE => gst::DebugLevel::Log,
    }
}

/// The core's, or the elements' own, whose crate is named after the plugin's file.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target.starts_with("tdlink") || target.starts_with(env!("CARGO_CRATE_NAME"))
}

fn open(id: &span::Id, change: impl FnOnce(&mut Open)) {
    let mut spans = SPANS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(span) = spans.get_mut(&id.into_u64()) {
        change(span);
    }
}

impl Subscriber for Forward {
    /// Asked each time: the category's level may change while the program runs.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        CAT.above_threshold(level(metadata)) && is_ours(metadata)
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut text = Text::default();
        attributes.record(&mut text);
        let open = Open { metadata: attributes.metadata(), text, begun: Instant::now(), handles: 1 };
        SPANS.lock().unwrap_or_else(PoisonError::into_inner).insert(id, open);
        span::Id::from_u64(id)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        open(id, |span| values.record(&mut span.text));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}

    fn clone_span(&self, id: &span::Id) -> span::Id {
        open(id, |span| span.handles += 1);
        id.clone()
    }

    /// A span is told of when it is over: what it was about, what came of it, and what it took.
    fn try_close(&self, id: span::Id) -> bool {
        let mut spans = SPANS.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(span) = spans.get_mut(&id.into_u64()) else { return false };
        span.handles -= 1;
        if span.handles > 0 {
            return false;
        }
        let Some(Open { metadata, text, begun, .. }) = spans.remove(&id.into_u64()) else { return false };
        // A log function of the application's may do what it likes.
        drop(spans);
        let took = begun.elapsed().as_micros();
        gst::log_with_level!(CAT, level(metadata), "{}{} took-us={took}", metadata.name(), text.0);
        true
    }

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
