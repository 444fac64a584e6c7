// SPDX-License-Identifier: MPL-2.0

use std::sync::{
    Arc, LazyLock, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gst_video::VideoInfo;
use tdlink_core::{
    frame::FrameDesc,
    protocol::{
        control::{Interrupt, Stamps},
        touch::TouchNames,
    },
    segment::{Published, SegmentName},
};

use super::{
    output::{Fate, Output, Written},
    settings::Settings,
    trouble::Trouble,
    words,
};
use crate::{
    gstshm::{Ring, SlotPool},
    run::Run,
    time, video,
};

#[derive(Debug, Default)]
pub struct ShmSink {
    /// The application's.
    settings: Mutex<Settings>,
    /// The streaming thread's, from PAUSED on.
    output: Run<Output>,
    /// The same slots, for the allocation query.
    ring: Mutex<Option<Arc<Ring>>>,
    /// Ends waits of a lossless ring.
    interrupt: Interrupt,
    /// The pipeline's clock is the one whose times other processes can compare.
    on_clock: AtomicBool,
    frames: AtomicU64,
    frames_copied: AtomicU64,
    frames_zero_copy: AtomicU64,
    dropped: AtomicU64,
}

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("tdshmsink", gst::DebugColorFlags::empty(), Some("Shared buffer sink")));

#[glib::object_subclass]
impl ObjectSubclass for ShmSink {
    const NAME: &'static str = "GstTdShmSink";
    type Type = super::ShmSink;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for ShmSink {
    fn constructed(&self) {
        self.parent_constructed();
        let sink = self.obj();
        // The inherited 20 ms would show each frame a period late in a live pipeline.
        sink.set_processing_deadline(gst::ClockTime::ZERO);
        sink.set_max_lateness(-1);
        sink.set_qos(false);
        // It would keep a buffer of upstream's pool for no one.
        sink.set_enable_last_sample(false);
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(Settings::param_specs);
        &PROPERTIES
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<Vec<glib::subclass::Signal>> = LazyLock::new(|| {
            // The number of clients that there are then.
            ["client-connected", "client-disconnected"]
                .map(|name| glib::subclass::Signal::builder(name).param_types([u32::static_type()]).build())
                .into()
        });
        &SIGNALS
    }

    fn set_property(&self, _: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if !self.settings.lock().unwrap().set(pspec.name(), value) {
            gst::error!(CAT, imp = self, "there is no property {} to set", pspec.name());
        }
    }

    fn property(&self, _: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.stats().to_value(),
            "num-clients" => self.num_clients().to_value(),
            name => self.settings.lock().unwrap().get(name).unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for ShmSink {}

impl ElementImpl for ShmSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "TouchDesigner shared memory sink",
                "Sink/Video",
                "Writes video into a shared buffer that TouchDesigner or Python reads",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = video::template_caps();
            let sink = gst::PadTemplate::new("sink", gst::PadDirection::Sink, gst::PadPresence::Always, &caps);
            vec![sink.expect("a template of valid caps")]
        });
        &TEMPLATES
    }

    // The base class starts a sink in READY already, when properties may still change.
    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            self.begin().map_err(|message| {
                self.post_error_message(message);
                gst::StateChangeError
            })?;
        }
        let changed = self.parent_change_state(transition);
        if transition == gst::StateChange::PausedToReady
            || (transition == gst::StateChange::ReadyToPaused && changed.is_err())
        {
            // Takes the name away, if it is ours.
            *self.ring.lock().unwrap() = None;
            self.output.end();
        }
        changed
    }

    fn set_clock(&self, clock: Option<&gst::Clock>) -> bool {
        self.on_clock.store(clock.is_some_and(time::is_monotonic), Relaxed);
        self.parent_set_clock(clock)
    }
}

impl BaseSinkImpl for ShmSink {
    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let refused = |text: String| {
            gst::element_imp_error!(self, gst::StreamError::Format, ("{text}"));
            gst::loggable_error!(CAT, "{text}")
        };
        let info = VideoInfo::from_caps(caps).map_err(|err| refused(format!("{caps} are no video caps: {err}")))?;
        let from = video::pixel_format(info.format())
            .ok_or_else(|| refused(format!("{} is not among the template's formats", info.format())))?;
        let published = self.output.with(|output| {
            let published = output.publish(caps, info, from)?;
            *self.ring.lock().unwrap() = output.ring();
            if let Some(desc) = published {
                self.announce(output.name(), &desc);
            } else if output.is_waiting() {
                gst::element_imp_warning!(self, gst::ResourceError::Busy, ("{}", words::no_room(output.name())));
            }
            Ok(())
        });
        published.unwrap_or(Ok(())).map_err(|trouble: Trouble| {
            let text = trouble.to_string();
            if !trouble.is_interruption() {
                self.post_error_message(trouble.into());
            }
            gst::loggable_error!(CAT, "{text}")
        })
    }

    fn propose_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        let ring = self.ring.lock().unwrap().clone();
        let info = query.get().0.and_then(|caps| VideoInfo::from_caps(caps).ok());
        if let (Some(ring), Some(info)) = (ring, info)
            && query.need_pool()
            && let Some(info) = ring.direct().filter(|direct| **direct == info)
            && let Ok(size) = u32::try_from(info.size())
        {
            let pool = SlotPool::new(&ring, info);
            let mut config = pool.config();
            config.set_params(Some(&query.get_owned().0.unwrap_or_else(gst::Caps::new_empty)), size, 0, 0);
            config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
            pool.set_config(config).map_err(|err| gst::loggable_error!(CAT, "our own pool: {err}"))?;
            // No maximum: beyond the slots it hands out private memory.
            query.add_allocation_pool(Some(&pool), size, 0, 0);
        }
        self.parent_propose_allocation(query)
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        self.interrupt.raise();
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        self.interrupt.clear();
        Ok(())
    }

    // The last frame is out already: readers learn of the end at once, not after its duration.
    fn event(&self, event: gst::Event) -> bool {
        if let gst::EventView::Eos(_) = event.view()
            && let Some(Err(trouble)) = self.output.with(Output::end_of_stream)
        {
            gst::warning!(CAT, imp = self, "readers are not told of the end: {trouble}");
        }
        self.parent_event(event)
    }

    // Raw bytes show the first frame in PAUSED already: who attaches early sees it, not zeros. It is written again at
    // its time. Readers of a ring wait for frames.
    fn prepare(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if self.obj().current_state() < gst::State::Playing && !is_gap(buffer) {
            let stamps = Stamps { pts: None, ..self.stamps(buffer) };
            self.output
                .with(|output| {
                    if output.is_blank() {
                        let written = output.write(buffer, stamps)?;
                        self.say(output, &written);
                    }
                    Ok(())
                })
                .ok_or(gst::FlowError::Flushing)?
                .map_err(|trouble| self.report(trouble))?;
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if is_gap(buffer) {
            return Ok(gst::FlowSuccess::Ok);
        }
        let stamps = self.stamps(buffer);
        loop {
            let written = self
                .output
                .with(|output| {
                    let written = output.write(buffer, stamps)?;
                    self.say(output, &written);
                    Ok(written)
                })
                .ok_or(gst::FlowError::Flushing)?
                .map_err(|trouble| self.report(trouble))?;
            let counter = match written.fate {
                Fate::Interrupted => {
                    self.obj().wait_preroll()?;
                    continue;
                }
                Fate::Dropped => &self.dropped,
                Fate::GivenUp => {
                    gst::element_imp_warning!(
                        self,
                        gst::ResourceError::Write,
                        ("delivery=lossless: every slot has been in use for longer than lossless-timeout; frames are dropped until one comes back (more slots, or an element before the sink that keeps fewer frames, would help)")
                    );
                    &self.dropped
                }
                Fate::ZeroCopy => &self.frames_zero_copy,
                Fate::Copied => &self.frames_copied,
            };
            counter.fetch_add(1, Relaxed);
            self.frames.fetch_add(1, Relaxed);
            return Ok(gst::FlowSuccess::Ok);
        }
    }
}

/// Whether a buffer only says that nothing comes.
fn is_gap(buffer: &gst::Buffer) -> bool {
    buffer.size() == 0 && buffer.flags().contains(gst::BufferFlags::GAP)
}

impl ShmSink {
    fn begin(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let name = SegmentName::new(&settings.shm_name).map_err(|err| {
            gst::error_msg!(gst::ResourceError::Settings, ("shm-name={:?}: {err}", settings.shm_name))
        })?;
        settings.check()?;
        if settings.is_touch() {
            TouchNames::new(&settings.shm_name).map_err(|err| {
                gst::error_msg!(gst::ResourceError::Settings, ("shm-name={:?}: {err}", settings.shm_name))
            })?;
        }
        for counter in [&self.frames, &self.frames_copied, &self.frames_zero_copy, &self.dropped] {
            counter.store(0, Relaxed);
        }
        self.output.begin(Output::new(name, settings, self.interrupt.clone()));
        Ok(())
    }

    /// What is said of a frame beside its pixels.
    fn stamps(&self, buffer: &gst::Buffer) -> Stamps {
        let sink = self.obj();
        let sink = sink.upcast_ref::<gst_base::BaseSink>();
        let running = sink.segment().downcast_ref::<gst::ClockTime>().and_then(|segment| {
            // When it is to be seen: the pipeline's latency included, as this sink waits for it.
            segment.to_running_time(buffer.pts()).map(|running| running + sink.latency() + sink.render_delay())
        });
        let shift = |at: gst::ClockTime| at.nseconds().saturating_add_signed(sink.ts_offset());
        let pts = running.zip(sink.base_time()).map(|(running, base)| shift(running + base));
        let flags = buffer.flags();
        Stamps {
            pts,
            pts_on_clock: self.on_clock.load(Relaxed),
            duration: buffer.duration().map(gst::ClockTime::nseconds),
            offset: Some(buffer.offset()).filter(|offset| *offset != gst::ffi::GST_BUFFER_OFFSET_NONE),
            discont: flags.contains(gst::BufferFlags::DISCONT),
            gap: flags.contains(gst::BufferFlags::GAP),
            stride: None,
        }
    }

    /// What has happened to the name since the last frame, and who came and went.
    fn say(&self, output: &mut Output, written: &Written) {
        if let Some(warning) = output.other_protocol() {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{warning}"));
        }
        let tended = &written.tended;
        for (signal, times) in [("client-connected", tended.joined), ("client-disconnected", tended.left)] {
            (0..times).for_each(|_| self.obj().emit_by_name::<()>(signal, &[&tended.clients]));
        }
        if tended.let_go > 0 {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Write,
                (
                    "{} reader(s) of {} have taken no frame for lossless-timeout: going on without them",
                    tended.let_go,
                    output.name()
                )
            );
        }
        match tended.names {
            Published::Republished => {
                gst::warning!(CAT, imp = self, "a reader took the name {} with it; it is back", output.name());
            }
            Published::Recreated => {
                gst::warning!(CAT, imp = self, "the buffer {} is published anew", output.name());
                *self.ring.lock().unwrap() = output.ring();
                if let Some(desc) = output.desc() {
                    self.announce(output.name(), &desc);
                }
            }
            _ => {}
        }
    }

    /// Says on the bus what is there and what to type on the other side.
    fn announce(&self, name: &SegmentName, desc: &FrameDesc) {
        let settings = self.settings.lock().unwrap().clone();
        let message = gst::message::Element::builder(words::published(name, desc, &settings)).src(&*self.obj()).build();
        if self.obj().post_message(message).is_err() {
            gst::debug!(CAT, imp = self, "no bus to announce {name} on");
        }
        gst::element_imp_info!(self, gst::ResourceError::OpenWrite, ("{}", words::what_to_type(name, desc, &settings)));
        if let Some(warning) = words::too_large(desc, &settings) {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{warning}"));
        }
    }

    /// The one place where trouble becomes GStreamer's.
    fn report(&self, trouble: Trouble) -> gst::FlowError {
        self.post_error_message(trouble.into());
        gst::FlowError::Error
    }

    fn stats(&self) -> gst::Structure {
        let mut stats = self.obj().upcast_ref::<gst_base::BaseSink>().stats();
        stats.set_name("tdshmsink-stats");
        stats.set("frames", self.frames.load(Relaxed));
        stats.set("frames-copied", self.frames_copied.load(Relaxed));
        stats.set("frames-zero-copy", self.frames_zero_copy.load(Relaxed));
        let late = stats.get::<u64>("dropped").unwrap_or_default();
        stats.set("dropped", late + self.dropped.load(Relaxed));
        stats.set("clients", self.num_clients());
        stats
    }

    fn num_clients(&self) -> u32 {
        let ring = self.ring.lock().unwrap().clone();
        ring.map_or(0, |ring| {
            ring.producer().count_clients().unwrap_or_else(|error| {
                gst::debug!(CAT, imp = self, "clients cannot be counted: {error}");
                0
            })
        })
    }
}
