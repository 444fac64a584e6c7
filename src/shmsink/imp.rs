// SPDX-License-Identifier: MPL-2.0

use std::sync::{
    LazyLock, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gst_video::VideoInfo;
use tdlink_core::{
    frame::FrameDesc,
    segment::{Published, SegmentName},
};

use super::{
    output::{Output, Trouble},
    settings::Settings,
};
use crate::{run::Run, video};

/// The LOP's own limit per side.
const LOP_MAX_SIDE: u32 = 4096;

#[derive(Debug, Default)]
pub struct ShmSink {
    /// The application's.
    settings: Mutex<Settings>,
    /// The streaming thread's, from PAUSED on.
    output: Run<Output>,
    frames: AtomicU64,
    frames_copied: AtomicU64,
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

    fn set_property(&self, _: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        if !self.settings.lock().unwrap().set(pspec.name(), value) {
            gst::error!(CAT, imp = self, "there is no property {} to set", pspec.name());
        }
    }

    fn property(&self, _: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.stats().to_value(),
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
            self.output.end();
        }
        changed
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
            let published = output.publish(info, from)?;
            if let Some(desc) = published {
                self.announce(output.name(), &desc);
            }
            Ok(())
        });
        published.unwrap_or(Ok(())).map_err(|trouble: Trouble| {
            let text = trouble.to_string();
            self.post_error_message(trouble.into());
            gst::loggable_error!(CAT, "{text}")
        })
    }

    fn propose_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        self.parent_propose_allocation(query)
    }

    // The first frame is shown in PAUSED already: who attaches early sees it, not zeros.
    fn prepare(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.output
            .with(|output| if output.is_blank() { output.write(buffer).map(|_| ()) } else { Ok(()) })
            .ok_or(gst::FlowError::Flushing)?
            .map_err(|trouble| self.report(trouble))?;
        Ok(gst::FlowSuccess::Ok)
    }

    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        if buffer.size() == 0 && buffer.flags().contains(gst::BufferFlags::GAP) {
            return Ok(gst::FlowSuccess::Ok);
        }
        self.output
            .with(|output| {
                let published = output.write(buffer)?;
                self.say(output, published);
                Ok(())
            })
            .ok_or(gst::FlowError::Flushing)?
            .map_err(|trouble| self.report(trouble))?;
        self.frames.fetch_add(1, Relaxed);
        self.frames_copied.fetch_add(1, Relaxed);
        Ok(gst::FlowSuccess::Ok)
    }
}

impl ShmSink {
    fn begin(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let name = SegmentName::new(&settings.shm_name).map_err(|err| {
            gst::error_msg!(gst::ResourceError::Settings, ("shm-name={:?}: {err}", settings.shm_name))
        })?;
        for counter in [&self.frames, &self.frames_copied] {
            counter.store(0, Relaxed);
        }
        self.output.begin(Output::new(name, settings));
        Ok(())
    }

    /// What has happened to the name since the last frame.
    fn say(&self, output: &Output, published: Published) {
        match published {
            Published::Republished => {
                gst::warning!(CAT, imp = self, "a reader took the name {} with it; it is back", output.name());
            }
            Published::Recreated => {
                gst::warning!(CAT, imp = self, "the buffer {} was lost; it is published anew", output.name());
                if let Some(desc) = output.desc() {
                    self.announce(output.name(), &desc);
                }
            }
            _ => {}
        }
    }

    /// Says on the bus what is there and what to type on the other side.
    fn announce(&self, name: &SegmentName, desc: &FrameDesc) {
        let structure = gst::Structure::builder("tdlink-published")
            .field("name", name.as_str())
            .field("protocol", "raw")
            .field("width", desc.width)
            .field("height", desc.height)
            .field("format", desc.format.to_string())
            .build();
        let message = gst::message::Element::builder(structure).src(&*self.obj()).build();
        if self.obj().post_message(message).is_err() {
            gst::debug!(CAT, imp = self, "no bus to announce {name} on");
        }
        gst::element_imp_info!(
            self,
            gst::ResourceError::OpenWrite,
            (
                "Shared Memory LOP: Receive, Buffer Name {name}, {}×{}×{}; Python: SharedMemory(name={:?}), {} bytes",
                desc.width,
                desc.height,
                desc.format.channels,
                name.as_str(),
                desc.bytes().unwrap_or_default()
            )
        );
        if desc.width > LOP_MAX_SIDE || desc.height > LOP_MAX_SIDE {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Settings,
                (
                    "{}×{} is more than the Shared Memory LOP takes ({LOP_MAX_SIDE} per side); Python reads it",
                    desc.width,
                    desc.height
                )
            );
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
        stats
    }
}
