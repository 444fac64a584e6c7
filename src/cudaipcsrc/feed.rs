// SPDX-License-Identifier: MPL-2.0
//! cuda-link's ring as a feed of frames.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_video::{VideoInfo, prelude::*};
use tdlink_core::{
    cuda::{CudaError, Event, Rows, Stream, rows_u8},
    frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType},
    protocol::cudalink::{ConsumeError, Consumer, Frame, Interrupt, Wait},
    segment::{self, OpenOptions, SegmentName, monotonic_ns, wait::Waiter},
};

use super::{
    convert::{self, ByHost, HostError},
    import::Lender,
    settings::Settings,
    shared::Shared,
};
use crate::{
    enums::{CudaChannelOrder, CudaIoMode},
    gstcuda::{self, Gpu, GpuError, Mapped},
    live::{Attach, Feed, FeedDesc, Host, Leased, Made, News, Read, Standing, Stats},
    video,
};

/// No more frames than that come as they are produced.
const MOST: (i32, i32) = (1000, 1);
/// How often a producer that has said its end is asked for more.
const AFTER_END: Duration = Duration::from_millis(10);
/// How long a copy may take to whose end the producer has a say: it may have died in the middle of a frame.
const PATIENCE: Duration = Duration::from_secs(2);
/// A stamp that is further back is no time of this frame's.
const OLD_NS: u64 = 10_000_000_000;
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
    warned: bool,
    warned_of_rivals: bool,
}

/// A producer that was found.
#[derive(Debug)]
struct Open {
    consumer: Consumer,
    /// Where its memory is open.
    reader: Reader,
    wire: FrameDesc,
    way: Way,
    lender: Option<Lender>,
    skipped: u64,
    rivals: u64,
}

/// A stream of the context in which the producer's memory is open, and an event behind the last copy in it.
#[derive(Debug)]
struct Reader {
    stream: Stream,
    done: Event,
}

/// How frames get into buffers.
#[derive(Debug)]
enum Way {
    /// The device copies.
    Device(Rows),
    /// Through the host; made with the first frame.
    Host { to: PixelFormat, on_device: bool, by: Option<Box<ByHost>> },
}

/// Why a frame did not get into a buffer.
enum Failure {
    Consume(ConsumeError),
    Message(gst::ErrorMessage),
    /// The producer's own copy does not end.
    Stuck,
    /// Told to return.
    Interrupted,
}

impl From<ConsumeError> for Failure {
    fn from(err: ConsumeError) -> Self {
        Self::Consume(err)
    }
}

impl From<CudaError> for Failure {
    fn from(err: CudaError) -> Self {
        Self::Consume(err.into())
    }
}

impl From<HostError> for Failure {
    fn from(err: HostError) -> Self {
        match err {
            HostError::Cuda(err) => err.into(),
            HostError::Row(err) => Self::Message(gst::error_msg!(gst::ResourceError::Read, ("{err}"))),
        }
    }
}

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
            warned: false,
            warned_of_rivals: false,
        }
    }

    fn consumer(&self, gpu: &Gpu) -> Result<Consumer, ConsumeError> {
        Consumer::attach(&self.name, gpu.context(), &OpenOptions::default(), self.interrupt.clone())
    }

    /// Opens the producer's memory on the pipeline's GPU, or with `cuda-device-id=-1` on whichever it opens.
    fn find(&self) -> Result<Consumer, Unfound> {
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
        Err(last.map_or(Unfound::Gone, Into::into))
    }

    fn accept(&mut self, consumer: Consumer) -> Result<FeedDesc, gst::ErrorMessage> {
        let wire = wire(&consumer, &self.settings, &self.name)?;
        let reader = Reader::new(&consumer).map_err(|err| gstcuda::message(&err))?;
        // Until caps are agreed on.
        let way = Way::Host { to: wire.format, on_device: false, by: None };
        let (skipped, rivals) = (consumer.skipped(), consumer.rivals());
        self.open = Some(Open { consumer, reader, wire, way, lender: None, skipped, rivals });
        (self.ended, self.respec) = (None, false);
        Ok(self.describe(wire))
    }

    fn describe(&self, wire: FrameDesc) -> FeedDesc {
        FeedDesc {
            name: self.name.to_string(),
            wire,
            formats: video::formats_for(wire.format),
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

    fn failed(&mut self, failure: Failure) -> Read {
        match failure {
            Failure::Consume(err) => lost(err),
            Failure::Message(message) => Read::Failed(message),
            Failure::Stuck => Read::Lost(format!(
                "the producer's copy of a frame was not done within {} s: it has died in the middle of one, or its GPU hangs",
                PATIENCE.as_secs()
            )),
            Failure::Interrupted => Read::Nothing,
        }
    }
}

/// Why there is no producer.
enum Unfound {
    Consume(ConsumeError),
    Gpu(GpuError),
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

/// Whether handles may open on another GPU.
fn is_elsewhere(err: &ConsumeError) -> bool {
    matches!(err, ConsumeError::Cuda(CudaError::DeadHandle { .. }))
}

/// What a frame is on the wire, and as the user says.
fn wire(consumer: &Consumer, settings: &Settings, name: &SegmentName) -> Result<FrameDesc, gst::ErrorMessage> {
    let description = consumer.description();
    let order = match settings.channel_order {
        CudaChannelOrder::Auto => None,
        CudaChannelOrder::Rgba => Some(ChannelOrder::Rgba),
        CudaChannelOrder::Bgra => Some(ChannelOrder::Bgra),
    };
    let format = description.pixel_format(order).ok_or_else(|| {
        gst::error_msg!(
            gst::StreamError::Format,
            (
                "{:?} has frames of {description}, for which there are no video formats; right would be uint8, uint16, float16 or float32",
                name.as_str()
            )
        )
    })?;
    // The wire does not say where its first row stands: as TouchDesigner has it.
    let origin = settings.live.origin.or(Origin::BottomLeft);
    Ok(FrameDesc { width: description.width, height: description.height, format, origin })
}

fn lost(err: ConsumeError) -> Read {
    match &err {
        // Nothing will work any more: no other producer changes that.
        ConsumeError::Cuda(cuda @ (CudaError::Lost { .. } | CudaError::OutOfMemory { .. })) => {
            Read::Failed(gstcuda::message(cuda))
        }
        _ => Read::Lost(err.to_string()),
    }
}

impl Reader {
    fn new(consumer: &Consumer) -> Result<Self, CudaError> {
        let context = consumer.context();
        Ok(Self { stream: Stream::new(context)?, done: Event::new(context)? })
    }
}

impl Open {
    /// Frames are to be read as the pipeline has agreed on.
    fn target(&mut self, shared: &Shared, settings: &Settings) {
        let Some(info) = shared.info() else { return };
        let Some(to) = video::pixel_format(info.format()) else { return };
        let options = settings.live.pixel_options();
        let flip = self.wire.origin != Origin::TopLeft;
        let on_device = shared.is_on_device();
        let gpu = shared.gpu().filter(|_| on_device);
        let same = gpu.as_ref().is_some_and(|gpu| gpu.context().is(self.consumer.context()));
        self.way = match convert::device_rows(self.wire.format, to, flip, options).filter(|_| same) {
            Some(rows) => Way::Device(rows),
            None => Way::Host { to, on_device, by: None },
        };
    }

    /// Copies `frame` into `buffer`. Whether it was left alone until that was done.
    fn copy(
        &mut self,
        frame: &Frame,
        buffer: &mut gst::BufferRef,
        info: &VideoInfo,
        shared: &Shared,
        settings: &Settings,
        interrupt: &Interrupt,
    ) -> Result<bool, Failure> {
        let unmapped = video::unmapped(buffer, info);
        match &mut self.way {
            Way::Device(rows) => {
                // In the stream in which others use that memory.
                let theirs = gstcuda::stream_of(buffer).map(|stream| stream.cuda(self.consumer.context()));
                let stream = theirs.as_ref().unwrap_or(&self.reader.stream);
                let Some(mapped) = Mapped::write(buffer, info) else { return Err(Failure::Message(unmapped)) };
                self.consumer.order(frame, stream)?;
                rows_u8(mapped.plane(), frame.plane, *rows, stream)?;
                self.reader.done.record(stream)?;
                wait(&self.consumer, frame, &self.reader.done, interrupt)?;
                Ok(self.consumer.still_whole(frame)?)
            }
            Way::Host { to, on_device, by } => {
                let by = match by {
                    Some(by) => by,
                    none => {
                        let gpu = shared.gpu().filter(|_| *on_device);
                        let up = gpu.as_ref().map(|gpu| gpu.context());
                        let options = settings.live.pixel_options();
                        let made = ByHost::new(self.consumer.context(), self.wire, *to, up, options)?;
                        none.insert(Box::new(made))
                    }
                };
                self.consumer.order(frame, &self.reader.stream)?;
                by.download(frame.plane, &self.reader.stream)?;
                self.reader.done.record(&self.reader.stream)?;
                wait(&self.consumer, frame, &self.reader.done, interrupt)?;
                if !self.consumer.still_whole(frame)? {
                    return Ok(false);
                }
                if *on_device {
                    let gpu = shared.gpu().ok_or_else(|| Failure::Message(unmapped.clone()))?;
                    let Some(mapped) = Mapped::write(buffer, info) else { return Err(Failure::Message(unmapped)) };
                    by.upload(mapped.plane(), gpu.stream())?;
                    gpu.stream().synchronize()?;
                } else {
                    let mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info);
                    let Ok(mut mapped) = mapped else { return Err(Failure::Message(unmapped)) };
                    let stride = usize::try_from(mapped.plane_stride()[0]).unwrap_or_default();
                    let Ok(rows) = mapped.plane_data_mut(0) else { return Err(Failure::Message(unmapped)) };
                    by.write(rows, stride)?;
                }
                Ok(true)
            }
        }
    }

    fn made(&mut self, frame: &Frame) -> Made {
        let now = monotonic_ns();
        // Another program's word, which nobody has checked.
        let stamp = frame.published.stamp.filter(|stamp| (now.saturating_sub(OLD_NS)..=now).contains(stamp));
        let skipped = self.consumer.skipped();
        let skipped = skipped.saturating_sub(std::mem::replace(&mut self.skipped, skipped));
        Made { published: stamp.unwrap_or(now), pts: None, duration: None, discont: false, skipped }
    }

    /// Whether signs of two producers have come since this was last asked.
    fn has_rivals(&mut self) -> bool {
        let rivals = self.consumer.rivals();
        rivals > std::mem::replace(&mut self.rivals, rivals)
    }
}

/// Waits until the copy of `frame` is done, behind which `done` was recorded.
fn wait(consumer: &Consumer, frame: &Frame, done: &Event, interrupt: &Interrupt) -> Result<(), Failure> {
    if consumer.is_complete(frame)? {
        // Nobody but this process has a say in it.
        return Ok(done.synchronize()?);
    }
    if done.synchronize_by(Instant::now() + PATIENCE, || interrupt.is_raised())? {
        return Ok(());
    }
    Err(if interrupt.is_raised() { Failure::Interrupted } else { Failure::Stuck })
}

impl Feed for CudaFeed {
    fn attach(&mut self) -> Attach {
        let found = match self.find() {
            Ok(consumer) => self.accept(consumer),
            Err(Unfound::Consume(err)) if err.may_pass() => {
                return Attach::NotYet(format!("{err}{}", hint(&self.name)));
            }
            Err(Unfound::Consume(err)) => Err(message(&err)),
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
        Some(self.describe(FrameDesc {
            width: side("width")?,
            height: side("height")?,
            format,
            origin: Origin::TopLeft,
        }))
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
        open.lender = None;
        if self.settings.io_mode != CudaIoMode::Import {
            return None;
        }
        let why = match (&open.way, self.shared.gpu()) {
            (Way::Device(rows), Some(gpu)) => {
                match Lender::new(
                    &self.name,
                    &open.consumer,
                    info,
                    *rows,
                    gpu,
                    self.shared.stream(),
                    self.stats.clone(),
                ) {
                    Ok(lender) => {
                        open.lender = Some(lender);
                        return None;
                    }
                    Err(why) => why,
                }
            }
            _ if !self.shared.is_on_device() => "downstream takes system memory".into(),
            _ => "downstream takes other pixels than the ring holds, or works in another CUDA context".into(),
        };
        (!std::mem::replace(&mut self.warned, true))
            .then(|| format!("io-mode=import: frames of {:?} are copied nevertheless: {why}", self.name.as_str()))
    }

    fn glance(&mut self) -> bool {
        matches!(self.look(), Ok(Wait::Newer | Wait::Respec) | Err(_))
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
            Err(_) => News::Fresh(Instant::now()),
        }
    }

    fn lease(&mut self, info: &VideoInfo) -> Leased {
        if self.respec {
            return Leased::Not(self.respec_read());
        }
        let Some(open) = &mut self.open else { return Leased::Copy };
        let Some(lender) = &mut open.lender else { return Leased::Copy };
        let frame = match open.consumer.take() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Leased::Not(self.nothing()),
            Err(err) => return Leased::Not(lost(err)),
        };
        match lender.lend(&open.consumer, &frame, info) {
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
            Err(failure) => self.failed(failure),
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
