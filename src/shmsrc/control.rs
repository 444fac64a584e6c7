// SPDX-License-Identifier: MPL-2.0
//! A buffer with a control segment as a feed of frames.

use std::time::{Duration, Instant};

use gst_video::{VideoInfo, prelude::*};
use tdlink_core::{
    frame::{FrameDesc, Origin},
    pixels,
    protocol::{
        control::{
            AttachOptions, ConsumeError, Consumer, Description, FrameInfo, FrameSpec, Interrupt, ReadSlot, Take, Wait,
        },
        copy::{CopyError, CopyThreads, FrameReader},
    },
    segment::{OpenOptions, Segment, SegmentError, SegmentName, wait::Waiter},
};

use super::{hash::Hasher, settings::Settings, wire::Converted};
use crate::{
    enums::IoMode,
    gstshm,
    live::{FeedDesc, Leased, Made, News, Offer, Read, Standing},
    spec, video,
};

/// Frames that this source wants to hold at once: one downstream, one to repeat.
const LEASES: u32 = 2;
/// How often a producer that has said its end is asked for more.
const AFTER_END: Duration = Duration::from_millis(10);

/// How often one that cannot be used is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What stops a control segment from being used.
#[derive(Debug)]
pub enum Unusable {
    /// There is none, or its producer has gone: raw bytes may be there nevertheless.
    NotThere,
    /// Not at this moment; why.
    NotYet(String),
    /// It is there and this program cannot read it.
    Unknown(gst::ErrorMessage),
}

/// A consumer of a control segment.
#[derive(Debug)]
pub struct ControlFeed {
    name: SegmentName,
    settings: Settings,
    interrupt: Interrupt,
    threads: CopyThreads,
    consumer: Option<Consumer>,
    reader: Option<FrameReader>,
    hashed: Option<(Hasher, Converted)>,
    /// Slots are pushed as they lie.
    imports: bool,
    /// Downstream takes rows that lie further apart than caps say.
    padded: bool,
    /// When a control segment beside raw bytes is looked at next.
    next_look: Instant,
    warned: bool,
    /// What the producer said last, if that was the end.
    ended: Option<Wait>,
    /// A description that came while nobody waited for news.
    respec: bool,
    skipped: u64,
    torn: u64,
}

impl ControlFeed {
    /// A feed from `name` that is attached to nothing yet. `interrupt` ends its waits.
    pub fn new(name: SegmentName, settings: Settings, interrupt: Interrupt) -> Self {
        Self {
            name,
            settings,
            interrupt,
            threads: CopyThreads::new(0),
            consumer: None,
            reader: None,
            hashed: None,
            imports: false,
            padded: false,
            next_look: Instant::now(),
            warned: false,
            ended: None,
            respec: false,
            skipped: 0,
            torn: 0,
        }
    }

    /// Claims a row and maps everything, if a live producer has a control segment for this very buffer.
    pub fn prepare(&mut self) -> Result<(), Unusable> {
        if self.consumer.is_some() {
            return Ok(());
        }
        let leases = if self.settings.io_mode == IoMode::Copy { 0 } else { LEASES };
        let open = OpenOptions { allow_other_user: self.settings.allow_other_user };
        match Consumer::attach(&self.name, &AttachOptions { leases, open }, self.interrupt.clone()) {
            Ok(consumer) => {
                (self.skipped, self.torn) = (consumer.skipped(), consumer.torn());
                self.consumer = Some(consumer);
                Ok(())
            }
            Err(ConsumeError::Segment(SegmentError::NotFound { .. } | SegmentError::Empty { .. })) => {
                Err(Unusable::NotThere)
            }
            // It is about other pixels, or about nobody's: as if it were not there.
            Err(ConsumeError::NoProducer { .. } | ConsumeError::Elsewhere { .. }) => Err(Unusable::NotThere),
            // Being written, or cut short at this very moment.
            Err(err @ (ConsumeError::NotReady { .. } | ConsumeError::Access(_))) => {
                Err(Unusable::NotYet(err.to_string()))
            }
            Err(err) => Err(Unusable::Unknown(message(&err))),
        }
    }

    /// Whether there is one now beside raw bytes that are being read. Cheap as long as there is none.
    pub fn has_come(&mut self) -> bool {
        let now = Instant::now();
        if self.consumer.is_none() && (now < self.next_look || !self.exists()) {
            return false;
        }
        self.next_look = now + LOOK_AGAIN;
        self.prepare().is_ok()
    }

    fn exists(&self) -> bool {
        let open = OpenOptions { allow_other_user: self.settings.allow_other_user };
        Segment::open(&self.name.control(), open).is_ok()
    }

    /// Whether the producer has said its end.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The frames of the producer that [`ControlFeed::prepare`] has found.
    pub fn attached(&mut self) -> Option<FeedDesc> {
        self.ended = None;
        self.respec = false;
        self.hashed = None;
        self.consumer.as_ref().map(|consumer| self.describe(consumer.description()))
    }

    /// Lets go of it. Buffers that were pushed keep their slots.
    pub fn detach(&mut self) {
        self.consumer = None;
        self.reader = None;
    }

    fn desc(&self, spec: &FrameSpec) -> FrameDesc {
        FrameDesc { origin: self.settings.live.origin.or(spec.desc.origin), ..spec.desc }
    }

    fn describe(&self, description: &Description) -> FeedDesc {
        let spec = &description.spec;
        let wire = self.desc(spec);
        FeedDesc {
            name: self.name.to_string(),
            wire,
            sample_type: None,
            offers: Offer::of_host(wire.format),
            framerate: spec::fraction(spec.framerate),
            most: spec::fraction(spec.max_framerate).unwrap_or_else(|| super::feed::MOST.into()),
            sampling: None,
            pixel_aspect: spec::fraction(spec.pixel_aspect).unwrap_or_else(|| (1, 1).into()),
            extras: spec::extras(spec),
            colorimetry: spec::colorimetry(spec.colorimetry),
            pid: Some(description.pid),
            protocol: "control",
        }
    }

    /// The description as it is now.
    fn renewed(&mut self) -> Option<FeedDesc> {
        self.respec = false;
        self.consumer.as_ref().map(|consumer| self.describe(consumer.description()))
    }

    /// What there is, without waiting.
    fn look(&mut self) -> Result<Wait, ConsumeError> {
        let Some(consumer) = &mut self.consumer else { return Ok(Wait::Closed) };
        let wait = consumer.wait_newer(Some(Instant::now()))?;
        match wait {
            Wait::Respec => self.respec = true,
            Wait::Eos | Wait::Closed | Wait::Gone | Wait::Superseded => self.ended = Some(wait),
            Wait::Newer => self.ended = None,
            Wait::Deadline | Wait::Interrupted => {}
        }
        Ok(wait)
    }

    /// Whether the producer is still there.
    pub fn standing(&mut self) -> Standing {
        let name = self.name.to_string();
        match self.look() {
            Err(err) => Standing::Replaced(err.to_string()),
            Ok(_) => match self.ended {
                Some(Wait::Eos) => Standing::Orphaned(format!("the producer of {name:?} has ended its stream")),
                Some(Wait::Closed) => Standing::Replaced(format!("the producer of {name:?} has stopped")),
                Some(Wait::Superseded) => Standing::Replaced(format!("another producer has taken the name {name:?}")),
                Some(_) => Standing::Replaced(format!("the process of the producer of {name:?} has gone")),
                None => Standing::Here,
            },
        }
    }

    /// Frames are to be read as `info` from now on.
    pub fn target(&mut self, info: &VideoInfo, padded: bool) -> Option<String> {
        let (consumer, to) = (self.consumer.as_ref()?, video::pixel_format(info.format())?);
        let description = consumer.description();
        let spec = &description.spec;
        let wire = self.desc(spec);
        let options = self.settings.live.pixel_options(spec::colorimetry(spec.colorimetry).as_ref());
        let same = wire.format == to
            && wire.origin == Origin::TopLeft
            && options.alpha == pixels::Alpha::Passthrough
            && options.transfer == pixels::Transfer::Passthrough
            && (padded || info.stride()[0].unsigned_abs() == spec.stride);
        let hasher = Hasher::new(self.settings.hashing());
        self.padded = padded;
        self.imports =
            same && hasher.is_none() && self.settings.io_mode != IoMode::Copy && description.pixels.slots > 1;
        // A source that pushes slots copies one now and then: no threads for that.
        let threads = if self.imports { CopyThreads::default() } else { self.threads.clone() };
        let (pixel, options) = match hasher {
            // The hash is of the bytes on the wire: they are converted after it.
            Some(hasher) => {
                self.hashed = Some((hasher, Converted::new(wire, to, options)));
                (wire.format, pixels::Options::default())
            }
            None => {
                self.hashed = None;
                (to, options)
            }
        };
        self.reader = FrameReader::new(wire, spec.stride as usize, pixel, options, threads).ok();
        let copies = !self.imports && self.settings.io_mode == IoMode::Import && !self.warned;
        self.warned |= copies;
        copies.then(|| {
            let why = if description.pixels.slots == 1 {
                "the producer has one slot, which it writes again at once (slots=4 on its side gives a ring)"
            } else if self.hashed.is_some() {
                "change-detection and skip-unchanged read every byte"
            } else {
                "downstream takes other pixels, rows or an other origin than the ring holds"
            };
            format!("io-mode=import: frames of {:?} are copied nevertheless: {why}", self.name.as_str())
        })
    }

    /// Whether there is a sign of life.
    pub fn glance(&mut self) -> bool {
        matches!(self.look(), Ok(Wait::Newer | Wait::Respec) | Err(_))
    }

    /// Whether there is nothing newer than the frame that was read last.
    pub fn still(&mut self) -> bool {
        !self.glance()
    }

    /// Waits for a frame that was not read yet.
    pub fn wait_news(&mut self, waiter: &Waiter, until: Instant) -> News {
        if std::mem::take(&mut self.respec) {
            return self.renewed().map_or(News::None, News::Respec);
        }
        let Some(consumer) = &mut self.consumer else { return News::None };
        let now = Instant::now();
        // After its end a producer is asked now and then.
        let deadline = if self.ended.is_some() { now } else { until };
        match consumer.wait_newer(Some(deadline)) {
            Ok(Wait::Newer) => {
                self.ended = None;
                News::Fresh(Instant::now())
            }
            Ok(Wait::Respec) => {
                self.ended = None;
                self.renewed().map_or(News::None, News::Respec)
            }
            Ok(end @ (Wait::Eos | Wait::Closed | Wait::Gone | Wait::Superseded)) => {
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

    /// The next frame where it lies.
    pub fn lease(&mut self, info: &VideoInfo) -> Leased {
        if self.respec {
            return Leased::Not(self.renewed().map_or(Read::Nothing, Read::Respec));
        }
        let Some(consumer) = self.consumer.as_mut().filter(|_| self.imports) else { return Leased::Copy };
        let stride = info.stride()[0].unsigned_abs();
        match consumer.take() {
            Ok(Take::Frame(slot)) => {
                let frame = *slot.info();
                if frame.stride != stride && !self.padded {
                    // Taken all the same: it is copied out of its slot.
                    return match self.copied(&slot, info) {
                        Ok(buffer) => Leased::Frame(buffer, self.made(&frame)),
                        Err(text) => Leased::Not(Read::Lost(text)),
                    };
                }
                let mut buffer = gst::Buffer::new();
                let fields = buffer.make_mut();
                fields.append_memory(gstshm::read_only(slot));
                if frame.stride != stride && add_meta(fields, info, frame.stride).is_err() {
                    return Leased::Not(Read::Lost("the rows of a frame cannot be described".into()));
                }
                Leased::Frame(buffer, self.made(&frame))
            }
            Ok(Take::NoLease) => Leased::Copy,
            Ok(Take::Nothing) => Leased::Not(self.nothing()),
            Err(err) => Leased::Not(Read::Lost(err.to_string())),
        }
    }

    /// A frame whose rows lie otherwise than caps can say, in private memory.
    fn copied(&mut self, slot: &ReadSlot, info: &VideoInfo) -> Result<gst::Buffer, String> {
        let reader = self.reader.as_mut().ok_or("the buffer was let go")?;
        let mut buffer = gst::Buffer::with_size(info.size()).map_err(|err| err.to_string())?;
        let (memory, stride) = (slot.memory(), info.stride()[0].unsigned_abs() as usize);
        let wire = (memory.offset(), slot.info().stride as usize);
        let mut map = buffer.make_mut().map_writable().map_err(|err| err.to_string())?;
        reader.read(memory.segment(), wire, &mut map, stride).map_err(|err| err.to_string())?;
        drop(map);
        Ok(buffer)
    }

    /// There was no frame to be had: is there a reason?
    fn nothing(&mut self) -> Read {
        match self.look() {
            Ok(Wait::Respec) => self.renewed().map_or(Read::Nothing, Read::Respec),
            Ok(_) => Read::Nothing,
            Err(err) => Read::Lost(err.to_string()),
        }
    }

    /// Copies the next frame.
    pub fn read(&mut self, buffer: &mut gst::BufferRef, info: &VideoInfo) -> Read {
        if self.respec {
            return self.renewed().map_or(Read::Nothing, Read::Respec);
        }
        let (Some(consumer), Some(reader)) = (&mut self.consumer, &mut self.reader) else {
            return Read::Lost("the buffer was let go".into());
        };
        let unmapped = video::unmapped(buffer, info);
        let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info) else {
            return Read::Failed(unmapped);
        };
        let Ok(stride) = usize::try_from(frame.plane_stride()[0]) else { return Read::Failed(unmapped) };
        let Ok(rows) = frame.plane_data_mut(0) else { return Read::Failed(unmapped) };
        let hashed = &mut self.hashed;
        let copied = consumer.copy(|frame| -> Result<(), Trouble> {
            let wire = (frame.offset, frame.info.stride as usize);
            match hashed {
                Some((_, converted)) => {
                    let (bytes, row) = converted.wire_rows();
                    reader.read(frame.segment, wire, bytes, row)?;
                }
                None => reader.read(frame.segment, wire, rows, stride)?,
            }
            Ok(())
        });
        match copied {
            Ok(Some((frame, ()))) => {
                let hash = match &mut self.hashed {
                    Some((hasher, converted)) => {
                        let hash = converted.hash(hasher);
                        if let Err(err) = converted.write(rows, stride) {
                            return Read::Lost(err.to_string());
                        }
                        Some(hash)
                    }
                    None => None,
                };
                let torn = self.torn_since();
                Read::Whole { changed: true, torn, hash, made: Some(self.made(&frame)) }
            }
            Ok(None) => match self.torn_since() {
                0 => self.nothing(),
                times => Read::Torn(times),
            },
            Err(Trouble::Consume(err)) => Read::Lost(err.to_string()),
            Err(Trouble::Copy(CopyError::Access(err))) => Read::Lost(err.to_string()),
            Err(Trouble::Copy(err)) => Read::Failed(gst::error_msg!(gst::ResourceError::Read, ("{err}"))),
        }
    }

    fn torn_since(&mut self) -> u32 {
        let torn = self.consumer.as_ref().map_or(self.torn, Consumer::torn);
        u32::try_from(torn.saturating_sub(std::mem::replace(&mut self.torn, torn))).unwrap_or(u32::MAX)
    }

    fn made(&mut self, frame: &FrameInfo) -> Made {
        let skipped = self.consumer.as_ref().map_or(self.skipped, Consumer::skipped);
        let stamps = &frame.stamps;
        Made {
            published: frame.published,
            pts: stamps.pts.filter(|_| stamps.pts_on_clock),
            duration: stamps.duration,
            discont: stamps.discont,
            skipped: skipped.saturating_sub(std::mem::replace(&mut self.skipped, skipped)),
        }
    }
}

/// Why a copy did not come about.
enum Trouble {
    Consume(ConsumeError),
    Copy(CopyError),
}

impl From<ConsumeError> for Trouble {
    fn from(err: ConsumeError) -> Self {
        Self::Consume(err)
    }
}

impl From<CopyError> for Trouble {
    fn from(err: CopyError) -> Self {
        Self::Copy(err)
    }
}

/// Says how far apart the rows of a frame lie.
fn add_meta(buffer: &mut gst::BufferRef, info: &VideoInfo, stride: u32) -> Result<(), gst::glib::BoolError> {
    let stride = i32::try_from(stride).map_err(|_| gst::glib::bool_error!("rows of {stride} bytes"))?;
    let flags = gst_video::VideoFrameFlags::empty();
    gst_video::VideoMeta::add_full(buffer, flags, info.format(), info.width(), info.height(), &[0], &[stride])
        .map(|_| ())
}

/// What is wrong and the way out of it.
fn message(err: &ConsumeError) -> gst::ErrorMessage {
    match err {
        ConsumeError::Segment(err) => super::feed::segment_message(err),
        ConsumeError::Full { .. } => gst::error_msg!(gst::ResourceError::Busy, ("{err}")),
        _ => gst::error_msg!(gst::ResourceError::OpenRead, ("{err}")),
    }
}
