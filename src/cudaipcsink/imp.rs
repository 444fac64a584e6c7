// SPDX-License-Identifier: MPL-2.0

use std::sync::{
    Arc, LazyLock, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use gst_video::VideoInfo;
use tdlink_core::{
    frame::{ChannelOrder, FrameDesc, Origin, SampleType},
    pixels::ChromaSite,
    segment::{Published, SegmentName},
};

use super::{output::Output, settings::Settings, trouble::Trouble};
use crate::{
    device,
    gstcuda::{self, ContextSlot, Gpu},
    run::Run,
    video,
};

#[derive(Debug, Default)]
pub struct CudaIpcSink {
    /// The application's.
    settings: Mutex<Settings>,
    /// What the pipeline shares, from NULL on.
    context: ContextSlot,
    /// The streaming thread's, from PAUSED on.
    output: Run<Output>,
    /// The same GPU, for the allocation query.
    gpu: Mutex<Option<Arc<Gpu>>>,
    frames: AtomicU64,
    frames_copied: AtomicU64,
}

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("tdcudaipcsink", gst::DebugColorFlags::empty(), Some("Shared GPU buffer sink"))
});

#[glib::object_subclass]
impl ObjectSubclass for CudaIpcSink {
    const NAME: &'static str = "GstTdCudaIpcSink";
    type Type = super::CudaIpcSink;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for CudaIpcSink {
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

impl GstObjectImpl for CudaIpcSink {}

impl ElementImpl for CudaIpcSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "TouchDesigner CUDA IPC sink",
                "Sink/Video/Hardware",
                "Writes video into shared GPU memory that TouchDesigner or Python reads by cuda-link",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = video::template_caps_with_device();
            let sink = gst::PadTemplate::new("sink", gst::PadDirection::Sink, gst::PadPresence::Always, &caps);
            vec![sink.expect("a template of valid caps")]
        });
        &TEMPLATES
    }

    fn set_context(&self, context: &gst::Context) {
        let device = self.settings.lock().unwrap().device;
        self.context.offer(context, device);
        self.parent_set_context(context);
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
            *self.gpu.lock().unwrap() = None;
        }
        if transition == gst::StateChange::ReadyToNull {
            self.context.clear();
        }
        changed
    }
}

impl BaseSinkImpl for CudaIpcSink {
    fn query(&self, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryView::Context(_) = query.view()
            && self.context.answer(self.obj().upcast_ref(), query)
        {
            return true;
        }
        BaseSinkImplExt::parent_query(self, query)
    }

    fn event(&self, event: gst::Event) -> bool {
        if let gst::EventView::Eos(_) = event.view()
            && let Some(Err(trouble)) = self.output.with(Output::end_of_stream)
        {
            gst::warning!(CAT, imp = self, "readers are not told of the end: {trouble}");
        }
        self.parent_event(event)
    }

    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let refused = |text: String| {
            gst::element_imp_error!(self, gst::StreamError::Format, ("{text}"));
            gst::loggable_error!(CAT, "{text}")
        };
        let info = video::info(caps).map_err(|err| refused(format!("{caps} are no video caps: {err}")))?;
        let on_device = video::is_device(caps);
        if on_device && device::picture(&info).is_none() || !on_device && video::pixel_format(info.format()).is_none() {
            return Err(refused(format!("{caps}: neither this format nor this colorimetry can be read")));
        }
        if on_device && video::has_chroma_aside(info.format()) && !device::is_at_its_site(&info) {
            let site = info.chroma_site().to_str();
            gst::element_imp_warning!(
                self,
                gst::StreamError::Format,
                [
                    "chroma-site={site} is read as {}, up to half a pixel beside it",
                    match device::chroma_site(&info) {
                        ChromaSite::Left => "mpeg2",
                        ChromaSite::Middle => "jpeg",
                    }
                ]
            );
        }
        let published = self.output.with(|output| {
            if let Some(desc) = output.publish(info)? {
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
        let gpu = self.gpu.lock().unwrap().clone();
        let (caps, need_pool) = query.get_owned();
        if let (Some(caps), true, Some(gpu)) = (caps, need_pool, gpu)
            && video::is_device(&caps)
            && let Some(context) = gpu.gst()
        {
            let info = VideoInfo::from_caps(&caps).map_err(|err| gst::loggable_error!(CAT, "{caps}: {err}"))?;
            gstcuda::propose(query, &caps, &info, context, gpu.gst_stream())
                .map_err(|err| gst::loggable_error!(CAT, "{err}"))?;
        }
        self.parent_propose_allocation(query)
    }

    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        // Such a buffer only says that nothing comes.
        if buffer.size() == 0 && buffer.flags().contains(gst::BufferFlags::GAP) {
            return Ok(gst::FlowSuccess::Ok);
        }
        self.output
            .with(|output| {
                let published = output.write(buffer)?;
                self.say(output, published);
                if output.has_new_rival() {
                    let name = output.name().as_str();
                    gst::element_imp_warning!(
                        self,
                        gst::ResourceError::Busy,
                        ("{name:?} seems to have two producers, whose frames alternate: stop one of them or give it another name")
                    );
                }
                Ok(())
            })
            .ok_or(gst::FlowError::Flushing)?
            .map_err(|trouble| self.report(trouble))?;
        self.frames_copied.fetch_add(1, Relaxed);
        self.frames.fetch_add(1, Relaxed);
        Ok(gst::FlowSuccess::Ok)
    }
}

impl CudaIpcSink {
    fn begin(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let name = SegmentName::new(&settings.shm_name).map_err(|err| {
            gst::error_msg!(gst::ResourceError::Settings, ("shm-name={:?}: {err}", settings.shm_name))
        })?;
        // Nothing is locked: the answer may come through `set_context`.
        let gpu = Arc::new(Gpu::shared(&self.context, self.obj().upcast_ref(), settings.device)?);
        for counter in [&self.frames, &self.frames_copied] {
            counter.store(0, Relaxed);
        }
        *self.gpu.lock().unwrap() = Some(gpu.clone());
        self.output.begin(Output::new(name, settings, gpu));
        Ok(())
    }

    /// What has happened to the name since the last frame.
    fn say(&self, output: &Output, published: Published) {
        match published {
            Published::Republished => {
                gst::warning!(CAT, imp = self, "a reader took the name {} with it; it is back", output.name());
            }
            Published::Recreated => {
                gst::warning!(CAT, imp = self, "the segment {} was lost; it is published anew", output.name());
                if let Some(desc) = output.desc() {
                    self.announce(output.name(), &desc);
                }
            }
            _ => {}
        }
    }

    /// Says on the bus what is there and what to type on the other side.
    fn announce(&self, name: &SegmentName, desc: &FrameDesc) {
        let published = gst::Structure::builder("tdlink-published")
            .field("name", name.as_str())
            .field("protocol", "cuda-link")
            .field("width", desc.width)
            .field("height", desc.height)
            .field("format", desc.format.to_string())
            .build();
        let message = gst::message::Element::builder(published).src(&*self.obj()).build();
        if self.obj().post_message(message).is_err() {
            gst::debug!(CAT, imp = self, "no bus to announce {name} on");
        }
        let quoted = name.as_str();
        // The segment says neither.
        let origin = if desc.origin == Origin::TopLeft { " origin=top-left" } else { "" };
        let order = order_option(desc);
        gst::element_imp_info!(
            self,
            gst::ResourceError::OpenWrite,
            ("TouchDesigner: cuda-link's receiver, Ipcmemname {quoted}; GStreamer: tdcudaipcsrc shm-name={quoted:?}{origin}{order}; Python: ImportSpec(shm_name={quoted:?}); {desc}")
        );
    }

    /// The one place where trouble becomes GStreamer's.
    fn report(&self, trouble: Trouble) -> gst::FlowError {
        self.post_error_message(trouble.into());
        gst::FlowError::Error
    }

    fn stats(&self) -> gst::Structure {
        let mut stats = self.obj().upcast_ref::<gst_base::BaseSink>().stats();
        stats.set_name("tdcudaipcsink-stats");
        stats.set("frames", self.frames.load(Relaxed));
        stats.set("frames-copied", self.frames_copied.load(Relaxed));
        // There is no way around the copy: readers never say that they are done with a slot.
        stats.set("frames-zero-copy", 0u64);
        // cuda-link's readers do not say that they are there.
        stats.set("clients", 0u32);
        stats
    }
}

/// What a source must be told of the order of colours, where it would take another one.
fn order_option(desc: &FrameDesc) -> &'static str {
    let format = desc.format;
    let usual =
        if (format.channels, format.sample) == (4, SampleType::U8) { ChannelOrder::Bgra } else { ChannelOrder::Rgba };
    match format.order {
        order if order == usual || format.channels < 3 => "",
        ChannelOrder::Rgba => " channel-order=rgba",
        ChannelOrder::Bgra => " channel-order=bgra",
    }
}
