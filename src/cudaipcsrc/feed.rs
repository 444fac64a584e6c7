// SPDX-License-Identifier: MPL-2.0
//! cuda-link's ring as a feed of frames.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_video::VideoInfo;
use tdlink_core::{
    cuda::{CudaError, Driver},
    frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType},
    pixels::WireSample,
    protocol::cudalink::{ConsumeError, Consumer, Description, Frame, Interrupt, SlotHandles, Wait, Watch},
    segment::{self, OpenOptions, SegmentName, wait::Waiter},
};

use super::{
    convert::Incoming,
    ring::{Failure, Open, wire},
    settings::Settings,
    shared::Shared,
};
use crate::{
    gstcuda::{self, Gpu, GpuError},
    live::{Attach, Feed, FeedDesc, Host, Leased, News, Read, Standing, Stats},
    video,
};

/// No more frames than that come as they are produced.
const MOST: (i32, i32) = (1000, 1);
/// How often a producer that has said its end is asked for more.
const AFTER_END: Duration = Duration::from_millis(10);
/// How long it takes until handles that did not open are tried again: what was opened beside them is closed each time, for
/// which the GPU is waited for.
const NEXT_ROUND: Duration = Duration::from_secs(1);
/// Names that an error lists at most.
const LISTED: usize = 8;

/// A ring under a name.
#[derive(Debug)]
pub struct CudaFeed {
    name: SegmentName,
    settings: Settings,
    /// For buffers of its pool, and for its pipeline's context.
    element: glib::WeakRef<super::CudaIpcSrc>,
    shared: Arc<Shared>,
    stats: Arc<Stats>,
    interrupt: Interrupt,
    open: Option<Open>,
    /// What the producer said last, if that was the end.
    ended: Option<Wait>,
    /// A generation that came while nobody waited for news.
    respec: bool,
    /// What a wait for news has failed with, for the read that follows.
    fault: Option<ConsumeError>,
    /// What did not open, when that was, and why.
    unopened: Option<(Announced, Instant, String)>,
    warned: bool,
    warned_of_rivals: bool,
}

/// What a producer says that can be opened. As long as it says the same, the same comes of it.
type Announced = (u64, Option<Vec<SlotHandles>>, Option<Description>);

impl CudaFeed {
    /// A feed from `name` that is attached to nothing yet. `interrupt` ends its waits.
    pub fn new(
        name: SegmentName,
        settings: Settings,
        element: &super::CudaIpcSrc,
        shared: Arc<Shared>,
        stats: Arc<Stats>,
        interrupt: Interrupt,
    ) -> Self {
        Self {
            name,
            settings,
            element: element.downgrade(),
            shared,
            stats,
            interrupt,
            open: None,
            ended: None,
            respec: false,
            fault: None,
            unopened: None,
            warned: false,
            warned_of_rivals: false,
        }
    }

    fn consumer(&self, gpu: &Gpu) -> Result<Consumer, ConsumeError> {
        Consumer::attach(&self.name, gpu.context(), &OpenOptions::default(), self.interrupt.clone())
    }

    /// Opens the producer's memory on the pipeline's GPU, or with `cuda-device-id=-1` on whichever it opens.
    fn find(&mut self) -> Result<Consumer, Unfound> {
        // Whether anybody is there, and with what, is known without a GPU: nothing is made or opened for nothing.
        let watch = Watch::attach(&self.name, &OpenOptions::default(), self.interrupt.clone())?;
        let header = watch.header();
        let announced = (header.generation, header.handles.clone(), header.description);
        drop(watch);
        if let Some((unopened, since, why)) = &self.unopened
            && *unopened == announced
            && since.elapsed() < NEXT_ROUND
        {
            return Err(Unfound::Unopened(why.clone()));
        }
        self.unopened = None;
        let found = self.ask();
        if let Err(Unfound::Consume(ConsumeError::Cuda(err))) = &found
            && another_may_do(err)
        {
            self.unopened = Some((announced, Instant::now(), err.to_string()));
        }
        found
    }

    /// Asks the pipeline's GPU, or one after the other.
    fn ask(&mut self) -> Result<Consumer, Unfound> {
        let gpu = self.shared.gpu();
        let mut last = match gpu.as_ref().map(|gpu| self.consumer(gpu)) {
            Some(Ok(consumer)) => return Ok(consumer),
            Some(Err(err)) if self.settings.device >= 0 || !is_elsewhere(&err) => return Err(err.into()),
            Some(Err(err)) => Some(err),
            None => None,
        };
        let known = gpu.as_ref().map(|gpu| gpu.context().device());
        let devices = tdlink_core::cuda::driver().map_err(GpuError::from)?.devices();
        for device in (0..devices).filter(|device| Some(*device) != known) {
            let primary = Gpu::primary(device)?;
            match self.consumer(&primary) {
                Ok(consumer) if gpu.is_some() => return Ok(consumer),
                Ok(consumer) => {
                    // The pipeline has no GPU yet: now it is known which.
                    drop(consumer);
                    let element = self.element.upgrade().ok_or(Unfound::Gone)?;
                    let gpu = self.shared.settle(element.upcast_ref(), device)?;
                    return Ok(self.consumer(&gpu)?);
                }
                Err(err) if is_elsewhere(&err) => last = Some(err),
                Err(err) => return Err(err.into()),
            }
        }
        Err(last.ok_or(Unfound::Gone)?.into())
    }

    fn accept(&mut self, consumer: Consumer) -> Result<FeedDesc, gst::ErrorMessage> {
        let wire = wire(&consumer, &self.settings, &self.name)?;
        self.open = Some(Open::new(consumer, wire).map_err(|err| gstcuda::message(&err))?);
        (self.ended, self.respec, self.fault) = (None, false, None);
        Ok(self.describe(wire))
    }

    fn describe(&self, wire: Incoming) -> FeedDesc {
        let on_device = self.shared.gpu().is_some_and(|gpu| gpu.gst().is_some());
        let kernels = tdlink_core::cuda::driver().is_ok_and(Driver::runs_kernels);
        FeedDesc {
            name: self.name.to_string(),
            wire: wire.desc,
            sample_type: (wire.pixels.sample == WireSample::Bf16).then_some("bf16"),
            offers: wire.offers(&self.settings, on_device, kernels),
            framerate: None,
            most: MOST.into(),
            sampling: None,
            pixel_aspect: (1, 1).into(),
            extras: Vec::new(),
            colorimetry: None,
            pid: None,
            protocol: "cuda-link",
        }
    }

    /// The frames of the generation that there is now.
    fn renewed(&mut self) -> Result<Option<FeedDesc>, gst::ErrorMessage> {
        self.respec = false;
        let Some(open) = &mut self.open else { return Ok(None) };
        open.wire = wire(&open.consumer, &self.settings, &self.name)?;
        // Memory of the last generation is no slot any more, whether or not caps change.
        open.lender = None;
        let wire = open.wire;
        open.target(&self.shared, &self.settings);
        Ok(Some(self.describe(wire)))
    }

    /// What there is, without waiting.
    fn look(&mut self) -> Result<Wait, ConsumeError> {
        let Some(open) = &mut self.open else { return Ok(Wait::Closed) };
        let wait = open.consumer.wait_newer(Some(Instant::now()))?;
        match wait {
            Wait::Respec => self.respec = true,
            Wait::Closed | Wait::Gone | Wait::Superseded => self.ended = Some(wait),
            Wait::Newer => self.ended = None,
            Wait::Deadline | Wait::Interrupted => {}
        }
        Ok(wait)
    }

    /// There was no frame to be had: is there a reason?
    fn nothing(&mut self) -> Read {
        match self.look() {
            Ok(Wait::Respec) => self.respec_read(),
            Ok(_) => Read::Nothing,
            Err(err) => lost(err),
        }
    }

    fn respec_read(&mut self) -> Read {
        match self.renewed() {
            Ok(Some(desc)) => Read::Respec(desc),
            Ok(None) => Read::Nothing,
            Err(message) => Read::Failed(message),
        }
    }

    fn failed(&mut self, failure: Failure, frame: &Frame) -> Read {
        if let (Failure::Stuck | Failure::Interrupted, Some(open)) = (&failure, &mut self.open) {
            // Nothing was read of it: it, or a newer one, is looked at again.
            open.consumer.untake(frame);
        }
        match failure {
            Failure::Consume(err) => lost(err),
            Failure::Message(message) => Read::Failed(message),
            Failure::Stuck => {
                if let Some(open) = &mut self.open
                    && !std::mem::replace(&mut open.stuck, true)
                {
                    tracing::warn!(name = %self.name, "the producer's copy of a frame does not end; it is waited for");
                }
                // Slow is not dead: if nothing comes for long, that is a stall.
                Read::Nothing
            }
            Failure::Interrupted => Read::Nothing,
        }
    }
}

/// Why there is no producer.
enum Unfound {
    Consume(ConsumeError),
    Gpu(GpuError),
    /// Its handles have not opened a moment ago; why.
    Unopened(String),
    /// The element is about to go.
    Gone,
}

impl From<ConsumeError> for Unfound {
    fn from(err: ConsumeError) -> Self {
        Self::Consume(err)
    }
}

impl From<GpuError> for Unfound {
    fn from(err: GpuError) -> Self {
        Self::Gpu(err)
    }
}

/// Whether the ring may open on another GPU. Memory comes first: an event that does not open beside memory that did is a
/// dead one.
fn is_elsewhere(err: &ConsumeError) -> bool {
    matches!(err, ConsumeError::Cuda(CudaError::DeadHandle { of: "memory", .. }))
}

/// Whether the producer's next words, or another producer, may change what is wrong.
fn another_may_do(err: &CudaError) -> bool {
    matches!(err, CudaError::DeadHandle { .. } | CudaError::TooSmall { .. })
}

fn lost(err: ConsumeError) -> Read {
    match &err {
        // No other producer changes anything about it.
        ConsumeError::Cuda(cuda) if !another_may_do(cuda) => Read::Failed(gstcuda::message(cuda)),
        _ => Read::Lost(err.to_string()),
    }
}

impl Feed for CudaFeed {
    fn attach(&mut self) -> Attach {
        let found = match self.find() {
            Ok(consumer) => self.accept(consumer),
            Err(Unfound::Consume(err)) if err.may_pass() => {
                return Attach::NotYet(format!("{err}{}", hint(&self.name)));
            }
            Err(Unfound::Consume(err)) => Err(message(&err)),
            Err(Unfound::Unopened(why)) => return Attach::NotYet(why),
            Err(Unfound::Gpu(err)) => Err(err.into()),
            Err(Unfound::Gone) => return Attach::NotYet("no GPU could be asked".into()),
        };
        match found {
            Ok(desc) => Attach::Attached { desc, warning: None },
            Err(message) => Attach::Failed(message),
        }
    }

    fn detach(&mut self) {
        self.open = None;
    }

    fn expected(&self) -> Option<FeedDesc> {
        // Neither the segment's name nor a property says a size; a capsfilter behind the source may.
        let pad = self.element.upgrade()?.static_pad("src")?;
        let caps = pad.peer_query_caps(Some(&video::template_caps_with_device()));
        let side = |name: &str| caps.structure(0)?.get::<i32>(name).ok().and_then(|side| u32::try_from(side).ok());
        let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Bgra)?;
        let desc = FrameDesc { width: side("width")?, height: side("height")?, format, origin: Origin::TopLeft };
        Some(self.describe(Incoming { desc, pixels: format.into() }))
    }

    fn name(&self) -> String {
        self.name.to_string()
    }

    fn sought(&self) -> String {
        format!("{:?}", self.name.as_str())
    }

    fn neighbours(&self) -> Vec<String> {
        let mut listed = segment::live_names();
        segment::sort_by_nearness(&self.name, &mut listed);
        listed.into_iter().take(LISTED).map(|found| format!("{} ({} bytes)", found.name, found.len)).collect()
    }

    fn reconsider(&mut self) -> bool {
        // The segment says its geometry itself.
        false
    }

    fn look_after(&self) -> Duration {
        // The end is news, and ends a wait for them.
        Duration::from_millis(250)
    }

    fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    fn standing(&mut self) -> Standing {
        let name = self.name.to_string();
        if self.open.as_mut().is_some_and(Open::has_rivals)
            && !std::mem::replace(&mut self.warned_of_rivals, true)
            && let Some(element) = self.element.upgrade()
        {
            let text = format!(
                "{name:?} seems to have two producers, whose frames alternate: stop one of them or give it another name"
            );
            gst::element_warning!(element, gst::ResourceError::Busy, ("{text}"));
        }
        match self.look() {
            Err(err) => Standing::Replaced(err.to_string()),
            Ok(_) => match self.ended {
                Some(Wait::Closed) => Standing::Replaced(format!("the producer of {name:?} has ended")),
                Some(Wait::Superseded) => Standing::Replaced(format!("another segment stands under the name {name:?}")),
                Some(_) => Standing::Replaced(format!("the process of the producer of {name:?} has gone")),
                None => Standing::Here,
            },
        }
    }

    fn target(&mut self, info: &VideoInfo, _padded: bool) -> Option<String> {
        self.shared.set_info(info);
        let open = self.open.as_mut()?;
        open.target(&self.shared, &self.settings);
        let said = open.lend(&self.name, info, &self.shared, &self.settings, self.stats.clone());
        said.filter(|_| !std::mem::replace(&mut self.warned, true))
    }

    fn glance(&mut self) -> bool {
        match self.look() {
            // A frame whose copy does not end is no sign of life.
            Ok(Wait::Newer) => !self.open.as_ref().is_some_and(|open| open.stuck),
            Ok(wait) => wait == Wait::Respec,
            Err(err) => {
                self.fault = Some(err);
                true
            }
        }
    }

    fn still(&mut self, _last: &gst::Buffer, _info: &VideoInfo) -> bool {
        // Frames are counted.
        !self.glance()
    }

    fn wait_news(&mut self, waiter: &Waiter, until: Instant) -> News {
        if std::mem::take(&mut self.respec) {
            return self.respec_news();
        }
        let Some(open) = &mut self.open else { return News::None };
        let now = Instant::now();
        // After its end a producer is asked now and then.
        let deadline = if self.ended.is_some() { now } else { until };
        match open.consumer.wait_newer(Some(deadline)) {
            Ok(Wait::Newer) => {
                self.ended = None;
                News::Fresh(Instant::now())
            }
            Ok(Wait::Respec) => {
                self.ended = None;
                self.respec_news()
            }
            Ok(end @ (Wait::Closed | Wait::Gone | Wait::Superseded)) => {
                if self.ended.replace(end) == Some(end) {
                    waiter.wait_until(until.min(now + AFTER_END));
                    return News::None;
                }
                News::Ended
            }
            Ok(Wait::Deadline | Wait::Interrupted) => News::None,
            // The read that follows says what is wrong.
            Err(err) => {
                self.fault = Some(err);
                News::Fresh(Instant::now())
            }
        }
    }

    fn lease(&mut self, info: &VideoInfo) -> Leased {
        if let Some(err) = self.fault.take() {
            return Leased::Not(lost(err));
        }
        if self.respec {
            return Leased::Not(self.respec_read());
        }
        let Some(open) = &mut self.open else { return Leased::Copy };
        if open.lender.is_none() {
            return Leased::Copy;
        }
        let frame = match open.consumer.take() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Leased::Not(self.nothing()),
            Err(err) => return Leased::Not(lost(err)),
        };
        // Once for the frame, and not for each of the driver's calls.
        let context = open.consumer.context().clone();
        let _current = match context.enter() {
            Ok(current) => current,
            Err(err) => return Leased::Not(lost(err.into())),
        };
        if let Err(failure) = open.ready(&frame, &self.interrupt) {
            return Leased::Not(self.failed(failure, &frame));
        }
        let Some(lender) = &mut open.lender else { return Leased::Copy };
        match lender.lend(&frame, info) {
            Ok(buffer) => {
                let made = open.made(&frame);
                Leased::Frame(buffer, made)
            }
            Err(err) => Leased::Not(lost(err)),
        }
    }

    fn keep(&mut self, last: &gst::Buffer, info: &VideoInfo) -> Option<gst::Buffer> {
        let open = self.open.as_mut()?;
        // A slot of the producer's cannot be pushed again later: it is written over.
        let Some(frame) = open.lender.as_ref().and_then(|lender| lender.frame_of(last)) else {
            return open.lender.is_none().then(|| last.clone());
        };
        if matches!(self.ended, Some(Wait::Gone | Wait::Superseded)) {
            return None;
        }
        let mut buffer = self.element.upgrade()?.imp().alloc(info).ok()?;
        let (shared, settings) = (&self.shared, &self.settings);
        let copied = open.copy(&frame, buffer.make_mut(), info, shared, settings, &self.interrupt);
        copied.unwrap_or(false).then_some(buffer)
    }

    fn read(&mut self, buffer: &mut gst::BufferRef, info: &VideoInfo) -> Read {
        if let Some(err) = self.fault.take() {
            return lost(err);
        }
        if self.respec {
            return self.respec_read();
        }
        let Some(open) = &mut self.open else { return Read::Lost("the ring was let go".into()) };
        let frame = match open.consumer.take() {
            Ok(Some(frame)) => frame,
            Ok(None) => return self.nothing(),
            Err(err) => return lost(err),
        };
        match open.copy(&frame, buffer, info, &self.shared, &self.settings, &self.interrupt) {
            Ok(true) => {
                let made = Some(open.made(&frame));
                Read::Whole { changed: true, torn: 0, hash: None, made }
            }
            Ok(false) => {
                self.stats.overwritten.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Read::Torn(0)
            }
            Err(failure) => self.failed(failure, &frame),
        }
    }
}

impl CudaFeed {
    fn respec_news(&mut self) -> News {
        match self.renewed() {
            Ok(Some(desc)) => News::Respec(desc),
            Ok(None) => News::None,
            // The read that follows fails for the same reason.
            Err(_) => {
                self.respec = true;
                News::Fresh(Instant::now())
            }
        }
    }
}

/// What a name that does not lead anywhere may have lost on its way through a shell.
fn hint(name: &SegmentName) -> &'static str {
    const CUT: [&str; 2] = ["cudalink_ipc_TD", "cudalink_ipc_Python"];
    if CUT.iter().any(|cut| name.as_str().ends_with(cut)) {
        return "; cuda-link's own names go on with >>, which a shell takes for a redirection: shm-name=\"cudalink_ipc_TD>>Python\", in quotes";
    }
    ""
}

/// What is wrong and the way out of it.
fn message(err: &ConsumeError) -> gst::ErrorMessage {
    use tdlink_core::segment::SegmentError;
    match err {
        ConsumeError::Cuda(err) => gstcuda::message(err),
        ConsumeError::Segment(SegmentError::AccessDenied { .. } | SegmentError::OtherUser { .. }) => gst::error_msg!(
            gst::ResourceError::NotAuthorized,
            ("{err}: one side runs as another user, as administrator or in another session; start both the same way")
        ),
        _ => gst::error_msg!(gst::ResourceError::OpenRead, ("{err}")),
    }
}
