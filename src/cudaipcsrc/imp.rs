// SPDX-License-Identifier: MPL-2.0

use std::sync::{Arc, LazyLock, Mutex, atomic::Ordering};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::base_src::CreateSuccess, subclass::prelude::*};
use gst_video::VideoInfo;
use tdlink_core::segment::{SegmentName, wait::Waiter};

use super::{feed::CudaFeed, settings::Settings, shared::Shared};
use crate::{
    gstcuda,
    live::{self, Base, Changes, Engine, FeedDesc, Host, LiveSettings, Negotiated},
    run::Run,
    uri::{self, Properties},
    video,
};

#[derive(Debug, Default)]
pub struct CudaIpcSrc {
    /// The application's.
    settings: Mutex<Settings>,
    /// Names of the properties that the last URI set.
    set_by_uri: Mutex<Vec<String>>,
    /// The streaming thread's.
    run: Run<(Engine, CudaFeed)>,
    base: Base,
    /// What element and feed both know of the GPU.
    shared: Arc<Shared>,
}

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("tdcudaipcsrc", gst::DebugColorFlags::empty(), Some("Shared GPU buffer source"))
});

#[glib::object_subclass]
impl ObjectSubclass for CudaIpcSrc {
    const NAME: &'static str = "GstTdCudaIpcSrc";
    type Type = super::CudaIpcSrc;
    type ParentType = gst_base::BaseSrc;
    type Interfaces = (gst::URIHandler,);
}

impl ObjectImpl for CudaIpcSrc {
    fn constructed(&self) {
        self.parent_constructed();
        let src = self.obj();
        src.set_live(true);
        src.set_format(gst::Format::Time);
        src.set_element_flags(gst::ElementFlags::PROVIDE_CLOCK | gst::ElementFlags::REQUIRE_CLOCK);
        live::Announcer::watch(src.upcast_ref());
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
            "connected" => self.base.stats.connected.load(Ordering::Relaxed).to_value(),
            "stats" => self.base.stats.structure("tdcudaipcsrc-stats").to_value(),
            name => self.settings.lock().unwrap().get(name).unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for CudaIpcSrc {}

impl ElementImpl for CudaIpcSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "TouchDesigner CUDA IPC source",
                "Source/Video/Hardware",
                "Reads shared GPU memory that TouchDesigner or Python writes by cuda-link, as live video",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = video::template_caps_with_device();
            let src = gst::PadTemplate::new("src", gst::PadDirection::Src, gst::PadPresence::Always, &caps);
            vec![src.expect("a template of valid caps")]
        });
        &TEMPLATES
    }

    fn set_clock(&self, clock: Option<&gst::Clock>) -> bool {
        self.base.set_clock(clock);
        self.parent_set_clock(clock)
    }

    fn provide_clock(&self) -> Option<gst::Clock> {
        Some(gst::SystemClock::obtain())
    }

    fn set_context(&self, context: &gst::Context) {
        let device = self.settings.lock().unwrap().device;
        self.shared.context.offer(context, device);
        self.parent_set_context(context);
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        let changed = self.parent_change_state(transition);
        if transition == gst::StateChange::ReadyToNull {
            self.shared.context.clear();
        }
        changed
    }
}

impl BaseSrcImpl for CudaIpcSrc {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let name = SegmentName::new(&settings.shm_name).map_err(|err| {
            gst::error_msg!(gst::ResourceError::Settings, ("shm-name={:?}: {err}", settings.shm_name))
        })?;
        settings.live.check()?;
        self.base.begin();
        // Nothing is locked: an answer may come through `set_context`.
        self.shared.begin(self.obj().upcast_ref(), settings.device)?;
        let engine = Engine::new(settings.live.clone(), Changes::default(), self.base.stats.clone());
        let interrupt = self.base.interrupt.clone();
        let feed = CudaFeed::new(name, settings, &self.obj(), self.shared.clone(), self.base.stats.clone(), interrupt);
        self.run.begin((engine, feed));
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        self.run.end();
        self.shared.end();
        self.base.stats.connected.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        self.base.unlock();
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        self.base.unlock_stop();
        Ok(())
    }

    // Caps come with the producer, inside `create`, which is told here that downstream wants others. Each call makes
    // the base class ask for a pool again under the caps that stand.
    fn negotiate(&self) -> Result<(), gst::LoggableError> {
        self.base.ask_again();
        Ok(())
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryView::Context(_) = query.view()
            && self.shared.context.answer(self.obj().upcast_ref(), query)
        {
            return true;
        }
        if let gst::QueryViewMut::Latency(query) = query.view_mut() {
            return self.base.latency(query);
        }
        BaseSrcImplExt::parent_query(self, query)
    }

    fn decide_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
        let (caps, _) = query.get();
        // The base class asks once before there are caps.
        let Some(caps) = caps else { return self.parent_decide_allocation(query) };
        let info = VideoInfo::from_caps(caps).map_err(|err| gst::loggable_error!(CAT, "{caps}: {err}"))?;
        let caps = caps.to_owned();
        if video::is_device(&caps) {
            let gpu = self.shared.gpu().ok_or_else(|| gst::loggable_error!(CAT, "{caps} without a GPU"))?;
            let context = gpu.gst().ok_or_else(|| gst::loggable_error!(CAT, "{caps} without GStreamer's library"))?;
            let stream = gstcuda::choose(query, &caps, &info, context, gpu.gst_stream())
                .map_err(|err| gst::loggable_error!(CAT, "{err}"))?;
            // Its buffers say where their rows are. The base class would take the pool for one of system memory.
            self.base.set_padding(true);
            self.shared.agree(true, stream);
            return Ok(());
        }
        let padding = live::choose_pool(query, &caps, &info).map_err(|text| gst::loggable_error!(CAT, "{text}"))?;
        self.base.set_padding(padding);
        self.shared.agree(false, None);
        self.parent_decide_allocation(query)
    }

    fn create(
        &self,
        _offset: u64,
        _buffer: Option<&mut gst::BufferRef>,
        _length: u32,
    ) -> Result<CreateSuccess, gst::FlowError> {
        let next = self.run.with(|(engine, feed)| engine.next(feed, self)).unwrap_or(Err(gst::FlowError::Flushing));
        next.map(|buffer| {
            self.base.announcer.buffer(self.obj().upcast_ref());
            CreateSuccess::NewBuffer(buffer)
        })
    }
}

impl Host for CudaIpcSrc {
    fn negotiate(&self, feed: &FeedDesc, settings: &LiveSettings) -> Result<Negotiated, gst::FlowError> {
        let pad = self.obj().static_pad("src").ok_or(gst::FlowError::Error)?;
        let (caps, negotiated) = live::negotiate(&pad, feed, settings).map_err(|message| {
            self.post_error_message(message);
            gst::FlowError::NotNegotiated
        })?;
        gst::info!(CAT, imp = self, "{caps}");
        self.base.settle(self.obj().upcast_ref(), &caps, &negotiated)?;
        Ok(negotiated)
    }

    fn take_reconfigure(&self) -> bool {
        self.base.take_reconfigure(self.obj().upcast_ref())
    }

    fn alloc(&self, info: &VideoInfo) -> Result<gst::Buffer, gst::FlowError> {
        let size = u32::try_from(info.size()).map_err(|_| gst::FlowError::Error)?;
        self.parent_alloc(0, size)
    }

    fn running_time(&self) -> Result<gst::ClockTime, gst::FlowError> {
        self.base.running_time(self.obj().upcast_ref(), |message| self.fail(message))
    }

    fn running_time_at(&self, ns: u64) -> Result<gst::ClockTime, gst::FlowError> {
        self.base.running_time_at(self.obj().upcast_ref(), ns, |message| self.fail(message))
    }

    fn flushing(&self) -> bool {
        self.base.flushing()
    }

    fn waiter(&self) -> &Waiter {
        self.base.interrupt.waiter()
    }

    fn takes_padding(&self) -> bool {
        self.base.takes_padding()
    }

    fn post(&self, structure: gst::Structure) {
        self.base.post(*CAT, self.obj().upcast_ref(), structure);
    }

    // Hashes are of bytes that a CPU sees: this source makes none.
    fn image_changed(&self, _hash: &str) {}

    fn warn(&self, text: &str) {
        gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{text}"));
    }

    fn fail(&self, message: gst::ErrorMessage) -> gst::FlowError {
        self.post_error_message(message);
        gst::FlowError::Error
    }

    fn connected_changed(&self) {
        self.obj().notify("connected");
    }
}

impl URIHandlerImpl for CudaIpcSrc {
    const URI_TYPE: gst::URIType = gst::URIType::Src;

    fn protocols() -> &'static [&'static str] {
        &[Settings::SCHEME]
    }

    fn uri(&self) -> Option<String> {
        uri::of(&*self.settings.lock().unwrap())
    }

    fn set_uri(&self, text: &str) -> Result<(), glib::Error> {
        if self.obj().current_state() > gst::State::Ready {
            return Err(glib::Error::new(gst::URIError::BadState, "the URI can be set in NULL and READY only"));
        }
        let changed = {
            let mut settings = self.settings.lock().unwrap();
            let mut set_by_uri = self.set_by_uri.lock().unwrap();
            let (applied, set) = uri::apply(&*settings, &set_by_uri, text)?;
            *settings = applied;
            let mut changed = std::mem::replace(&mut *set_by_uri, set.clone());
            changed.extend(set);
            changed
        };
        let src = self.obj();
        src.notify("shm-name");
        changed.iter().for_each(|name| src.notify(name));
        Ok(())
    }
}
