// SPDX-License-Identifier: MPL-2.0

use std::sync::{
    LazyLock, Mutex,
    atomic::{AtomicBool, Ordering},
};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::base_src::CreateSuccess, subclass::prelude::*};
use gst_video::VideoInfo;
use tdlink_core::{
    protocol::touch::{PREFIX, TouchNames},
    segment::{SegmentName, wait::Waiter},
};

use super::{
    choice::{ShmFeed, Ways},
    control::ControlFeed,
    feed::RawFeed,
    settings::Settings,
    touch::TouchFeed,
};
use crate::{
    enums::{ChangeDetection, SrcProtocol},
    live::{self, Base, Changes, Engine, FeedDesc, Host, LiveSettings, Negotiated},
    run::Run,
    uri::{self, Properties},
    video,
};

#[derive(Debug)]
struct Started {
    name: SegmentName,
    settings: Settings,
    /// What could be done before the first frame is asked for.
    ahead: Option<ControlFeed>,
    /// From the first call of the streaming thread on, when downstream can be asked.
    running: Option<(Engine, ShmFeed)>,
}

#[derive(Debug, Default)]
pub struct ShmSrc {
    /// The application's.
    settings: Mutex<Settings>,
    /// Names of the properties that the last URI set.
    set_by_uri: Mutex<Vec<String>>,
    /// The streaming thread's.
    run: Run<Started>,
    /// No frames are asked for: what others need is let go.
    paused: AtomicBool,
    base: Base,
}

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("tdshmsrc", gst::DebugColorFlags::empty(), Some("Shared buffer source")));

#[glib::object_subclass]
impl ObjectSubclass for ShmSrc {
    const NAME: &'static str = "GstTdShmSrc";
    type Type = super::ShmSrc;
    type ParentType = gst_base::BaseSrc;
    type Interfaces = (gst::URIHandler,);
}

impl ObjectImpl for ShmSrc {
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

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<Vec<glib::subclass::Signal>> = LazyLock::new(|| {
            vec![glib::subclass::Signal::builder("image-changed").param_types([String::static_type()]).build()]
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
            "connected" => self.base.stats.connected.load(Ordering::Relaxed).to_value(),
            "stats" => self.base.stats.structure("tdshmsrc-stats").to_value(),
            name => self.settings.lock().unwrap().get(name).unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for ShmSrc {}

impl ElementImpl for ShmSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "TouchDesigner shared memory source",
                "Source/Video",
                "Reads a shared buffer that TouchDesigner or Python writes, as live video",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = video::template_caps();
            let src = gst::PadTemplate::new("src", gst::PadDirection::Src, gst::PadPresence::Always, &caps);
            vec![src.expect("a template of valid caps")]
        });
        &TEMPLATES
    }

    // A live source gives nothing in PAUSED and looks at nothing: a sender that ends meanwhile would be kept in being.
    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::PausedToPlaying {
            self.paused.store(false, Ordering::SeqCst);
        }
        let changed = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PlayingToPaused {
            self.paused.store(true, Ordering::SeqCst);
            self.rest_if_paused();
        }
        Ok(changed)
    }

    fn set_clock(&self, clock: Option<&gst::Clock>) -> bool {
        self.base.set_clock(clock);
        self.parent_set_clock(clock)
    }

    fn provide_clock(&self) -> Option<gst::Clock> {
        Some(gst::SystemClock::obtain())
    }
}

impl BaseSrcImpl for ShmSrc {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let name = SegmentName::new(&settings.shm_name).map_err(|err| {
            gst::error_msg!(gst::ResourceError::Settings, ("shm-name={:?}: {err}", settings.shm_name))
        })?;
        settings.check()?;
        if settings.protocol == SrcProtocol::Touch {
            TouchNames::new(&settings.shm_name).map_err(|err| {
                gst::error_msg!(gst::ResourceError::Settings, ("shm-name={:?}: {err}", settings.shm_name))
            })?;
        }
        self.base.begin();
        self.paused.store(false, Ordering::SeqCst);
        let mut ahead = ControlFeed::new(name.clone(), settings.clone(), self.base.interrupt.clone());
        if settings.protocol == SrcProtocol::Auto
            && let Err(unusable) = ahead.prepare()
        {
            gst::debug!(CAT, imp = self, "no control segment yet: {unusable:?}");
        }
        self.run.begin(Started { name, settings, ahead: Some(ahead), running: None });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        self.run.end();
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
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => self.base.latency(query),
            _ => BaseSrcImplExt::parent_query(self, query),
        }
    }

    fn decide_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
        let (caps, _) = query.get();
        // The base class asks once before there are caps.
        let Some(caps) = caps else { return self.parent_decide_allocation(query) };
        let info = VideoInfo::from_caps(caps).map_err(|err| gst::loggable_error!(CAT, "{caps}: {err}"))?;
        let caps = caps.to_owned();
        let padding = live::choose_pool(query, &caps, &info).map_err(|text| gst::loggable_error!(CAT, "{text}"))?;
        self.base.set_padding(padding);
        self.parent_decide_allocation(query)
    }

    fn create(
        &self,
        _offset: u64,
        _buffer: Option<&mut gst::BufferRef>,
        _length: u32,
    ) -> Result<CreateSuccess, gst::FlowError> {
        let next = self.run.with(|started| self.next(started)).unwrap_or(Err(gst::FlowError::Flushing));
        // The change to PAUSED does not wait for this thread.
        self.rest_if_paused();
        next.map(|buffer| {
            self.base.announcer.buffer(self.obj().upcast_ref());
            CreateSuccess::NewBuffer(buffer)
        })
    }
}

impl ShmSrc {
    /// Done by whoever comes last: the change of state, or the streaming thread that was just in it.
    fn rest_if_paused(&self) {
        if self.paused.load(Ordering::SeqCst) {
            self.run.with(|started| {
                if let Some((engine, feed)) = started.running.as_mut().filter(|(_, feed)| feed.is_in_the_way()) {
                    engine.rest(feed);
                }
            });
        }
    }

    fn next(&self, started: &mut Started) -> Result<gst::Buffer, gst::FlowError> {
        let Started { name, settings, ahead, running } = started;
        let (engine, feed) = running.get_or_insert_with(|| {
            let changes =
                Changes { announce: settings.change_detection != ChangeDetection::None, only: settings.skip_unchanged };
            let engine = Engine::new(settings.live.clone(), changes, self.base.stats.clone());
            let control = ahead
                .take()
                .unwrap_or_else(|| ControlFeed::new(name.clone(), settings.clone(), self.base.interrupt.clone()));
            let ways = match settings.protocol {
                SrcProtocol::Raw => Ways::Raw,
                SrcProtocol::Touch => Ways::Touch,
                SrcProtocol::Auto if name.as_str().starts_with(PREFIX) => Ways::NotRaw,
                SrcProtocol::Auto => Ways::Any,
            };
            // Elsewhere such names do not exist.
            let names = TouchNames::new(name.as_str()).ok().filter(|_| !cfg!(target_os = "macos"));
            let touch = names.map(|names| TouchFeed::new(names, settings.clone()));
            let raw = RawFeed::new(name.clone(), settings.clone(), self.obj().src_pad().clone());
            (engine, ShmFeed::new(control, touch, raw, ways))
        });
        engine.next(feed, self)
    }
}

impl Host for ShmSrc {
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

    fn image_changed(&self, hash: &str) {
        self.post(gst::Structure::builder("tdlink-image-changed").field("hash", hash).build());
        self.obj().emit_by_name::<()>("image-changed", &[&hash]);
    }

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

impl URIHandlerImpl for ShmSrc {
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
