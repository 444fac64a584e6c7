// SPDX-License-Identifier: MPL-2.0
//! A producer's ring that was found, and how its frames get into buffers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gst_video::{VideoInfo, prelude::*};
use tdlink_core::{
    cuda::{CudaError, Event, Stream},
    frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType},
    pixels::{Components, Wire, WireSample},
    protocol::cudalink::{ConsumeError, Consumer, Format, Frame, Interrupt},
    segment::{SegmentName, monotonic_ns},
};

use super::{
    convert::{ByHost, HostError, Incoming, OverHost, work},
    import::Lender,
    settings::Settings,
    shared::Shared,
};
use crate::{
    device::Work,
    enums::{CudaChannelOrder, CudaIoMode},
    gstcuda::{self, Mapped},
    live::{Made, Stats},
    video,
};

/// How long the producer's copy of a frame is waited for: it may have died in the middle of one, or its GPU hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// And how long once that was in vain: repeats of the last picture come meanwhile.
const AGAIN: Duration = Duration::from_millis(20);
/// A stamp that is further back is no time of this frame's.
const OLD_NS: u64 = 10_000_000_000;
/// A producer that was found.
#[derive(Debug)]
pub struct Open {
    pub consumer: Consumer,
    /// Where its memory is open.
    reader: Reader,
    pub wire: Incoming,
    way: Way,
    /// Slots are pushed as they lie.
    pub lender: Option<Lender>,
    /// The producer's copies did not end when they were last waited for.
    pub stuck: bool,
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
pub enum Way {
    /// The device makes them where they are to be.
    Device(Work),
    /// The device makes them, and they go over the host. Made with the first frame.
    OverHost { work: Work, on_device: bool, by: Option<Box<OverHost>> },
    /// The host makes them of what it downloads. Made with the first frame.
    Host { to: PixelFormat, by: Option<Box<ByHost>> },
}

/// Why a frame did not get into a buffer.
pub enum Failure {
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
            err => Self::Message(gst::error_msg!(gst::ResourceError::Read, ("{err}"))),
        }
    }
}

impl Reader {
    fn new(consumer: &Consumer) -> Result<Self, CudaError> {
        let context = consumer.context();
        Ok(Self { stream: Stream::new(context)?, done: Event::new(context)? })
    }
}

impl Open {
    /// Before caps are agreed on.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn new(consumer: Consumer, wire: Incoming) -> Result<Self, CudaError> {
        let reader = Reader::new(&consumer)?;
        let way = Way::Host { to: wire.desc.format, by: None };
        let (skipped, rivals) = (consumer.skipped(), consumer.rivals());
        Ok(Self { consumer, reader, wire, way, lender: None, stuck: false, skipped, rivals })
    }

    /// Has slots pushed as they lie from now on, if that is asked for and can be. What is not done as well as it could be, in
    /// words.
    pub fn lend(
        &mut self,
        name: &SegmentName,
        info: &VideoInfo,
        shared: &Shared,
        settings: &Settings,
        stats: Arc<Stats>,
    ) -> Option<String> {
        self.lender = None;
        let gpu = shared.gpu().filter(|_| shared.is_on_device());
        let elsewhere = gpu.as_ref().is_some_and(|gpu| !gpu.context().is(self.consumer.context()));
        let import = settings.io_mode == CudaIoMode::Import;
        let why = match (&self.way, gpu) {
            _ if elsewhere => {
                "this process has the producer's memory open in another CUDA context than this pipeline's, so that they go through the host; an application that gives all its pipelines one context keeps them on the GPU".into()
            }
            _ if !import => return None,
            (Way::Device(work), Some(gpu)) => {
                match Lender::new(name, &self.consumer, info, *work, gpu, shared.stream(), stats) {
                    Ok(lender) => {
                        self.lender = Some(lender);
                        return None;
                    }
                    Err(why) => why,
                }
            }
            (_, None) => "downstream takes system memory".into(),
            (_, Some(_)) => "downstream takes other pixels than the ring holds".into(),
        };
        let frames = format!("frames of {:?}", name.as_str());
        let said = if import { format!("io-mode=import: {frames} are copied nevertheless") } else { frames };
        Some(format!("{said}: {why}"))
    }

    /// Frames are to be read as the pipeline has agreed on.
    pub fn target(&mut self, shared: &Shared, settings: &Settings) {
        let Some(info) = shared.info() else { return };
        let options = settings.live.pixel_options(None);
        let on_device = shared.is_on_device();
        let gpu = shared.gpu().filter(|_| on_device);
        let same = gpu.as_ref().is_some_and(|gpu| gpu.context().is(self.consumer.context()));
        let plain = video::pixel_format(info.format()).filter(|_| !on_device && self.wire.is_plain());
        self.way = match (plain, work(self.wire, &info, options)) {
            (Some(to), _) => Way::Host { to, by: None },
            (None, Some(work)) if same => Way::Device(work),
            (None, Some(work)) => Way::OverHost { work, on_device, by: None },
            // No such caps were offered.
            (None, None) => return,
        };
    }

    /// Waits until the producer's copy of `frame` is done, before anything is queued: what waits in a stream for an event
    /// of another process can neither be interrupted nor taken back.
    ///
    /// # Errors
    /// It does not end, or nobody waits any more.
    pub fn ready(&mut self, frame: &Frame, interrupt: &Interrupt) -> Result<(), Failure> {
        let patience = if self.stuck { AGAIN } else { PATIENCE };
        if self.consumer.complete_by(frame, Instant::now() + patience, || interrupt.is_raised())? {
            self.stuck = false;
            return Ok(());
        }
        Err(if interrupt.is_raised() { Failure::Interrupted } else { Failure::Stuck })
    }

    /// Copies `frame` into `buffer`. Whether it was left alone until that was done.
    pub fn copy(
        &mut self,
        frame: &Frame,
        buffer: &mut gst::BufferRef,
        info: &VideoInfo,
        shared: &Shared,
        settings: &Settings,
        interrupt: &Interrupt,
    ) -> Result<bool, Failure> {
        let unmapped = video::unmapped(buffer, info);
        let context = &self.consumer.context().clone();
        // Once for the frame, and not for each of the driver's calls.
        let _current = context.enter()?;
        self.ready(frame, interrupt)?;
        let options = settings.live.pixel_options(None);
        match &mut self.way {
            Way::Device(work) => {
                // In the stream in which others use that memory.
                let theirs = gstcuda::stream_of(buffer).map(|stream| stream.cuda(context));
                let stream = theirs.as_ref().unwrap_or(&self.reader.stream);
                let Some(mapped) = Mapped::write(buffer, info) else { return Err(Failure::Message(unmapped)) };
                work.run(&mapped.planes(), &[frame.plane], stream)?;
                self.reader.done.record(stream)?;
                self.reader.done.synchronize()?;
                Ok(self.consumer.still_whole(frame)?)
            }
            Way::OverHost { work, on_device, by } => {
                let gpu = shared.gpu().filter(|_| *on_device);
                let by = match by {
                    Some(by) => by,
                    none => {
                        let to = gpu.as_ref().map(|gpu| gpu.context());
                        none.insert(Box::new(OverHost::new(context, *work, info, to)?))
                    }
                };
                by.download(frame.plane, &self.reader.stream)?;
                self.reader.done.record(&self.reader.stream)?;
                self.reader.done.synchronize()?;
                if !self.consumer.still_whole(frame)? {
                    return Ok(false);
                }
                match gpu {
                    Some(gpu) => {
                        // Whoever had the buffer before may still be at work in its stream.
                        let theirs = gstcuda::stream_of(buffer).map(|stream| stream.cuda(gpu.context()));
                        let stream = theirs.as_ref().unwrap_or(gpu.stream());
                        let Some(mapped) = Mapped::write(buffer, info) else { return Err(Failure::Message(unmapped)) };
                        by.upload(&mapped.planes(), stream)?;
                        stream.synchronize()?;
                    }
                    None => {
                        let mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info);
                        by.write(&mut mapped.map_err(|_| Failure::Message(unmapped))?)?;
                    }
                }
                Ok(true)
            }
            Way::Host { to, by } => {
                let by = match by {
                    Some(by) => by,
                    none => none.insert(Box::new(ByHost::new(context, self.wire.desc, *to, options)?)),
                };
                by.download(frame.plane, &self.reader.stream)?;
                self.reader.done.record(&self.reader.stream)?;
                self.reader.done.synchronize()?;
                if !self.consumer.still_whole(frame)? {
                    return Ok(false);
                }
                let mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info);
                let Ok(mut mapped) = mapped else { return Err(Failure::Message(unmapped)) };
                let stride = usize::try_from(mapped.plane_stride()[0]).unwrap_or_default();
                let Ok(rows) = mapped.plane_data_mut(0) else { return Err(Failure::Message(unmapped)) };
                by.write(rows, stride)?;
                Ok(true)
            }
        }
    }

    pub fn made(&mut self, frame: &Frame) -> Made {
        let now = monotonic_ns();
        // Another program's word, which nobody has checked.
        let stamp = frame.published.stamp.filter(|stamp| (now.saturating_sub(OLD_NS)..=now).contains(stamp));
        let skipped = self.consumer.skipped();
        let skipped = skipped.saturating_sub(std::mem::replace(&mut self.skipped, skipped));
        Made { published: stamp.unwrap_or(now), pts: None, duration: None, discont: false, skipped }
    }

    /// Whether signs of two producers have come since this was last asked.
    pub fn has_rivals(&mut self) -> bool {
        let rivals = self.consumer.rivals();
        rivals > std::mem::replace(&mut self.rivals, rivals)
    }
}

/// What a frame is on the wire, and as the user says.
pub fn wire(consumer: &Consumer, settings: &Settings, name: &SegmentName) -> Result<Incoming, gst::ErrorMessage> {
    let description = consumer.description();
    let order = match settings.channel_order {
        CudaChannelOrder::Auto => description.order(),
        CudaChannelOrder::Rgba => ChannelOrder::Rgba,
        CudaChannelOrder::Bgra => ChannelOrder::Bgra,
    };
    let (sample, on_wire) = match (description.format.sample(), description.format) {
        (Some(sample), _) => (Some(sample), WireSample::from(sample)),
        (None, Format::Bf16) => (Some(SampleType::F16), WireSample::Bf16),
        (None, _) => (None, WireSample::U8),
    };
    let format = sample.and_then(|sample| PixelFormat::new(sample, description.channels, order)).ok_or_else(|| {
        gst::error_msg!(
            gst::StreamError::Format,
            (
                "{:?} has frames of {description}, for which there are no video formats; right would be uint8, uint16, float16, bfloat16 or float32",
                name.as_str()
            )
        )
    })?;
    let mut pixels = Wire { sample: on_wire, ..Wire::from(format) };
    if description.is_mono_alpha() {
        pixels.components = Components::GreyAlpha;
    }
    // The wire does not say where its first row stands: as TouchDesigner has it.
    let origin = settings.live.origin.or(Origin::BottomLeft);
    let desc = FrameDesc { width: description.width, height: description.height, format, origin };
    let incoming = Incoming { desc, pixels };
    let driver = consumer.context().driver();
    if !incoming.is_plain() && !driver.runs_kernels() {
        // Nobody else makes pictures of such pixels.
        return Err(gstcuda::message(&CudaError::TooOld { found: driver.version() }));
    }
    Ok(incoming)
}
