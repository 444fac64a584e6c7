// SPDX-License-Identifier: MPL-2.0

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::base_src::CreateSuccess, subclass::prelude::*};
use gst_video::VideoInfo;
use tdlink_core::{
    protocol::{
        control::Interrupt,
        touch::{PREFIX, TouchNames},
    },
    segment::{SegmentName, monotonic_ns, wait::Waiter},
};

use super::{
    choice::{ShmFeed, Ways},
    control::ControlFeed,
    feed::RawFeed,
    settings::Settings,
    touch::TouchFeed,
    uri,
};
use crate::{
    enums::{ChangeDetection, SrcProtocol},
    live::{self, Changes, Engine, FeedDesc, Host, LiveSettings, Negotiated, Stats},
    run::Run,
    time, video,
};

/// How often to ask whether running time has begun.
const NOT_BEGUN: Duration = Duration::from_millis(20);
/// What is reported as latency at low rates and unknown ones: copies take less.
const MOST_LATENCY: gst::ClockTime = gst::ClockTime::from_mseconds(20);

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
    /// What the streaming thread has agreed on, for the latency query.
    rate: Mutex<Option<gst::Fraction>>,
    stats: Arc<Stats>,
    flushing: AtomicBool,
    /// Downstream has asked for other caps.
    reconfigure: AtomicBool,
    /// Downstream takes rows that lie further apart than caps say.
    padding: AtomicBool,
    interrupt: Interrupt,
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
            "connected" => self.stats.connected.load(Ordering::Relaxed).to_value(),
            "stats" => self.stats.structure("tdshmsrc-stats").to_value(),
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
        self.stats.reset();
        *self.rate.lock().unwrap() = None;
        let mut ahead = ControlFeed::new(name.clone(), settings.clone(), self.interrupt.clone());
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
        self.stats.connected.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        self.flushing.store(true, Ordering::SeqCst);
        self.interrupt.raise();
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        self.flushing.store(false, Ordering::SeqCst);
        self.interrupt.clear();
        Ok(())
    }

    // Caps come with the producer, inside `create`, which is told here that downstream wants others. Each call makes
    // the base class ask for a pool again under the caps that stand.
    fn negotiate(&self) -> Result<(), gst::LoggableError> {
        self.reconfigure.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                // A frame is pushed as soon as it is copied, and a copy takes no longer than a frame may.
                let rate = self.rate.lock().unwrap().filter(|rate| rate.numer() > 0);
                let (num, den) = rate.map_or((60, 1), |rate| (rate.numer(), rate.denom()));
                let period = gst::ClockTime::SECOND.mul_div_ceil(den.unsigned_abs().into(), num.unsigned_abs().into());
                let least = period.unwrap_or(MOST_LATENCY).min(MOST_LATENCY);
                // No maximum: nothing queues here, a late downstream gets a newer frame.
                query.set(true, least, gst::ClockTime::NONE);
                true
            }
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
        self.padding.store(padding, Ordering::SeqCst);
        self.parent_decide_allocation(query)
    }

    fn create(
        &self,
        _offset: u64,
        _buffer: Option<&mut gst::BufferRef>,
        _length: u32,
    ) -> Result<CreateSuccess, gst::FlowError> {
        let next = self.run.with(|started| self.next(started)).unwrap_or(Err(gst::FlowError::Flushing));
        next.map(CreateSuccess::NewBuffer)
    }
}

impl ShmSrc {
    fn next(&self, started: &mut Started) -> Result<gst::Buffer, gst::FlowError> {
        let Started { name, settings, ahead, running } = started;
        let pad = self.obj().static_pad("src").ok_or(gst::FlowError::Error)?;
        let (engine, feed) = running.get_or_insert_with(|| {
            let changes =
                Changes { announce: settings.change_detection != ChangeDetection::None, only: settings.skip_unchanged };
            let engine = Engine::new(settings.live.clone(), changes, self.stats.clone());
            let control = ahead
                .take()
                .unwrap_or_else(|| ControlFeed::new(name.clone(), settings.clone(), self.interrupt.clone()));
            let ways = match settings.protocol {
                SrcProtocol::Raw => Ways::Raw,
                SrcProtocol::Touch => Ways::Touch,
                SrcProtocol::Auto if name.as_str().starts_with(PREFIX) => Ways::NotRaw,
                SrcProtocol::Auto => Ways::Any,
            };
            // Elsewhere such names do not exist.
            let names = TouchNames::new(name.as_str()).ok().filter(|_| !cfg!(target_os = "macos"));
            let touch = names.map(|names| TouchFeed::new(names, settings.clone()));
            let raw = RawFeed::new(name.clone(), settings.clone(), pad);
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
        let src = self.obj();
        let src = src.upcast_ref::<gst_base::BaseSrc>();
        gst::info!(CAT, imp = self, "{caps}");
        if src.set_caps(&caps).is_err() || !src.negotiate() {
            return Err(if self.flushing() { gst::FlowError::Flushing } else { gst::FlowError::NotNegotiated });
        }
        // That was us.
        self.reconfigure.store(false, Ordering::SeqCst);
        *self.rate.lock().unwrap() = Some(negotiated.info.fps());
        let message = gst::message::Latency::builder().src(&*self.obj()).build();
        if self.obj().post_message(message).is_err() {
            gst::debug!(CAT, imp = self, "no bus to announce a new latency on");
        }
        Ok(negotiated)
    }

    fn take_reconfigure(&self) -> bool {
        // The base class looks at the pad only between two buffers, which may be far apart.
        let pad = self.obj().static_pad("src").is_some_and(|pad| pad.check_reconfigure());
        self.reconfigure.swap(false, Ordering::SeqCst) || pad
    }

    fn alloc(&self, info: &VideoInfo) -> Result<gst::Buffer, gst::FlowError> {
        let size = u32::try_from(info.size()).map_err(|_| gst::FlowError::Error)?;
        self.parent_alloc(0, size)
    }

    fn running_time(&self) -> Result<gst::ClockTime, gst::FlowError> {
        loop {
            if let Some(now) = self.obj().current_running_time() {
                return Ok(now);
            }
            if self.flushing() {
                return Err(gst::FlowError::Flushing);
            }
            if self.obj().clock().is_none() {
                return Err(self.fail(gst::error_msg!(
                    gst::CoreError::Clock,
                    ("the pipeline has no clock, and a live source cannot do without one")
                )));
            }
            // A synchronised start lies ahead.
            self.interrupt.waiter().wait_until(Instant::now() + NOT_BEGUN);
        }
    }

    fn flushing(&self) -> bool {
        self.flushing.load(Ordering::SeqCst)
    }

    fn waiter(&self) -> &Waiter {
        self.interrupt.waiter()
    }

    fn takes_padding(&self) -> bool {
        self.padding.load(Ordering::SeqCst)
    }

    fn running_time_at(&self, ns: u64) -> Result<gst::ClockTime, gst::FlowError> {
        let src = self.obj();
        if let (Some(base), true) = (src.base_time(), src.clock().as_ref().is_some_and(time::is_monotonic)) {
            return Ok(gst::ClockTime::from_nseconds(ns.saturating_sub(base.nseconds())));
        }
        let ago = gst::ClockTime::from_nseconds(monotonic_ns().saturating_sub(ns));
        Ok(self.running_time()?.saturating_sub(ago))
    }

    fn post(&self, structure: gst::Structure) {
        gst::info!(CAT, imp = self, "{structure}");
        let message = gst::message::Element::builder(structure).src(&*self.obj()).build();
        if self.obj().post_message(message).is_err() {
            gst::debug!(CAT, imp = self, "no bus to post on");
        }
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
        &[uri::SCHEME]
    }

    fn uri(&self) -> Option<String> {
        uri::of(&self.settings.lock().unwrap())
    }

    fn set_uri(&self, text: &str) -> Result<(), glib::Error> {
        if self.obj().current_state() > gst::State::Ready {
            return Err(glib::Error::new(gst::URIError::BadState, "the URI can be set in NULL and READY only"));
        }
        let changed = {
            let mut settings = self.settings.lock().unwrap();
            let mut set_by_uri = self.set_by_uri.lock().unwrap();
            let (applied, set) = uri::apply(&settings, &set_by_uri, text)?;
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
