// SPDX-License-Identifier: MPL-2.0
//! Frames of a pipeline on their way to a buffer under a name.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gst_video::{VideoInfo, prelude::*};
use tdlink_core::{
    frame::{FrameDesc, PixelFormat},
    pixels,
    protocol::{
        control::{self, FrameSpec, Interrupt, Stamps, Tended},
        copy::{CopyError, CopyThreads, FrameWriter},
        raw,
        touch::{self, TouchNames, Wrote},
    },
    segment::{AccessError, Published, SegmentError, SegmentName, wait::Waiter},
};

use super::{
    settings::{Settings, touch_extras},
    trouble::Trouble,
    words,
};
use crate::{
    gstshm::{Place, Ring},
    video,
};

/// A name, and from the first caps on the buffer under it.
#[derive(Debug)]
pub struct Output {
    name: SegmentName,
    settings: Settings,
    interrupt: Interrupt,
    threads: CopyThreads,
    buffer: Option<Buffer>,
    waiting: Option<Waiting>,
    /// When it is time to look for a TOP that waits for the other protocol. `None`: that was said.
    look_for_top: Option<Instant>,
}

/// Between two looks for a TOP.
const TOP_EVERY: Duration = Duration::from_secs(2);

/// Frames for which there is no room yet: a section of Windows cannot grow while others have it open.
#[derive(Debug)]
struct Waiting {
    caps: gst::Caps,
    info: VideoInfo,
    from: PixelFormat,
    tried: Instant,
}

/// Between two tries to have a larger section.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Buffer {
    info: VideoInfo,
    from: PixelFormat,
    desc: FrameDesc,
    way: Way,
    /// No frame has been written yet.
    blank: bool,
}

/// What stands under the name.
#[derive(Debug)]
enum Way {
    /// Raw bytes and nothing else.
    Raw(raw::Producer),
    /// Slots, and a control segment beside them.
    Control(Control),
    /// What a Shared Mem In TOP reads.
    Touch(Box<touch::Producer>),
}

#[derive(Debug)]
struct Control {
    ring: Arc<Ring>,
    spec: FrameSpec,
    writer: FrameWriter,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is in the buffer, copied.
    Copied,
    /// It was made there.
    ZeroCopy,
    /// Every slot was in use, or somebody had the mutex for too long.
    Dropped,
    /// The same, and from now on it is not waited for.
    GivenUp,
    /// The wait for a slot was ended from outside: it may be written again.
    Interrupted,
}

/// What writing a frame has found.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// The frame's.
    pub fate: Fate,
    /// The name's, and who reads.
    pub tended: Tended,
}

impl Output {
    /// Nothing is published yet. `interrupt` ends waits of a lossless ring.
    pub fn new(name: SegmentName, settings: Settings, interrupt: Interrupt) -> Self {
        let threads = CopyThreads::new(settings.copy_threads);
        Self { name, settings, interrupt, threads, buffer: None, waiting: None, look_for_top: Some(Instant::now()) }
    }

    /// The buffer's name.
    pub fn name(&self) -> &SegmentName {
        &self.name
    }

    /// What stands in the buffer.
    pub fn desc(&self) -> Option<FrameDesc> {
        self.buffer.as_ref().map(|buffer| buffer.desc)
    }

    /// Whether raw bytes stand under the name, and no frame in them yet: a reader would see zeros.
    pub fn is_blank(&self) -> bool {
        self.settings.slots == 1 && self.buffer.as_ref().is_some_and(|buffer| buffer.blank)
    }

    /// The slots, if there is a control segment.
    pub fn ring(&self) -> Option<Arc<Ring>> {
        match &self.buffer.as_ref()?.way {
            Way::Control(control) => Some(control.ring.clone()),
            Way::Raw(_) | Way::Touch(_) => None,
        }
    }

    /// That a TOP waits for another protocol than this one, whichever came first. Looked for now and then, said once.
    pub fn other_protocol(&mut self) -> Option<String> {
        let now = Instant::now();
        self.look_for_top.filter(|at| now >= *at)?;
        let waits = words::other_protocol(&self.name, &self.settings);
        self.look_for_top = waits.is_none().then(|| now + TOP_EVERY);
        waits
    }

    /// Makes the buffer for frames of `caps`, whose pixels are `from`, or offers other frames under the same name.
    /// Gives their description when it is another one than before. Windows: gives none while readers have a smaller
    /// section open; then frames are dropped until they have let go of it.
    pub fn publish(
        &mut self,
        caps: &gst::CapsRef,
        info: VideoInfo,
        from: PixelFormat,
    ) -> Result<Option<FrameDesc>, Trouble> {
        self.waiting = None;
        match self.try_publish(caps, info.clone(), from) {
            Err(trouble) if cfg!(windows) && trouble.is_in_use() => {
                tracing::warn!("{trouble}");
                self.waiting = Some(Waiting { caps: caps.to_owned(), info, from, tried: Instant::now() });
                Ok(None)
            }
            published => published,
        }
    }

    /// Whether frames are dropped until readers have let go of a smaller section.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Tries again to have room; whether there is.
    fn has_room(&mut self) -> Result<bool, Trouble> {
        let Some(mut waiting) = self.waiting.take_if(|waiting| waiting.tried.elapsed() >= AGAIN) else {
            return Ok(self.waiting.is_none());
        };
        match self.try_publish(&waiting.caps, waiting.info.clone(), waiting.from) {
            Err(trouble) if trouble.is_in_use() => {
                waiting.tried = Instant::now();
                self.waiting = Some(waiting);
                Ok(false)
            }
            published => published.map(|_| true),
        }
    }

    fn try_publish(
        &mut self,
        caps: &gst::CapsRef,
        info: VideoInfo,
        from: PixelFormat,
    ) -> Result<Option<FrameDesc>, Trouble> {
        let desc = self.settings.desc(&info, from);
        let spec = self.settings.spec(caps, &info, from, desc);
        // Frames that can be made in slots, where there are any.
        let direct = self.settings.is_direct(desc, from).then(|| Arc::new(info.clone()));
        match &mut self.buffer {
            Some(buffer) => {
                let same = buffer.desc == desc;
                let (settings, waiter) = (&self.settings, self.interrupt.waiter());
                buffer.way.change(desc, spec, direct, from, settings, self.threads.clone(), waiter)?;
                (buffer.info, buffer.from, buffer.desc) = (info, from, desc);
                buffer.blank |= !same;
                Ok((!same).then_some(desc))
            }
            None => {
                let way = self.way(desc, spec, direct, from)?;
                self.buffer = Some(Buffer { info, from, desc, way, blank: true });
                Ok(Some(desc))
            }
        }
    }

    fn way(
        &self,
        desc: FrameDesc,
        spec: FrameSpec,
        direct: Option<Arc<VideoInfo>>,
        from: PixelFormat,
    ) -> Result<Way, Trouble> {
        let (settings, options) = (&self.settings, pixels::Options::default());
        let create = settings.create_options();
        if settings.is_touch() {
            let names = TouchNames::new(self.name.as_str()).map_err(touch::ProduceError::from)?;
            let options = settings.touch_options(&spec, self.threads.clone());
            let producer = touch::Producer::create(&names, desc, from, options, self.interrupt.waiter())?;
            tracing::info!("{}: {:?}", self.name, producer.acquired());
            return Ok(Way::Touch(Box::new(producer)));
        }
        if !settings.has_control() {
            let layout = raw::RawLayout { desc, offset: 0 };
            let producer = raw::Producer::create(&self.name, layout, from, options, &create, self.threads.clone())?;
            tracing::info!("{}: {:?}", self.name, producer.acquired());
            return Ok(Way::Raw(producer));
        }
        let writer = FrameWriter::new(desc, spec.stride as usize, from, options, self.threads.clone())?;
        let producer_options = settings.producer_options(create);
        let producer = control::Producer::create(&self.name, spec.clone(), producer_options, self.interrupt.clone())?;
        tracing::info!("{}: {:?}", self.name, producer.acquired());
        let lossless = settings.is_lossless().then(|| settings.lossless_timeout());
        let ring = Ring::new(producer, self.interrupt.clone(), settings.slots, lossless, direct);
        Ok(Way::Control(Control { ring, spec, writer }))
    }

    /// Writes a frame, in one pass from its rows to the wire's, or shows the slot that it was made in.
    pub fn write(&mut self, frame: &gst::Buffer, stamps: Stamps) -> Result<Written, Trouble> {
        let waited = self.is_waiting();
        if !self.has_room()? {
            return Ok(Written { fate: Fate::Dropped, tended: Tended::default() });
        }
        let buffer = self.buffer.as_mut().ok_or(Trouble::NoCaps)?;
        // One slot may have to be made anew before it is written. A ring is looked after when the frame is out.
        let mut tended = if self.settings.slots == 1 { buffer.way.tend()? } else { Tended::default() };
        if waited && tended.names == Published::Still {
            tended.names = Published::Recreated;
        }
        if tended.names == Published::TakenByOther {
            return Err(Trouble::Taken(self.name.clone()));
        }
        let fate = match buffer.write(frame, stamps) {
            // Another program has cut the memory short: the next one is whole.
            Err(trouble) if trouble.is_truncation() => {
                buffer.renew()?;
                tended.names = Published::Recreated;
                buffer.write(frame, stamps)?
            }
            written => written?,
        };
        buffer.blank &= matches!(fate, Fate::Dropped | Fate::GivenUp | Fate::Interrupted);
        if self.settings.slots > 1 {
            let after = buffer.way.tend()?;
            let names = if tended.names == Published::Recreated { tended.names } else { after.names };
            tended = Tended { names, ..after };
        }
        Ok(Written { fate, tended })
    }

    /// Says that no frame will follow.
    pub fn end_of_stream(&mut self) -> Result<(), Trouble> {
        if let Some(ring) = self.ring() {
            ring.producer().set_eos()?;
        }
        Ok(())
    }
}

impl Buffer {
    fn write(&mut self, frame: &gst::Buffer, stamps: Stamps) -> Result<Fate, Trouble> {
        let Self { info, way, .. } = self;
        if let Way::Control(control) = way
            && let Some(slot) = control.ring.filled(frame)
        {
            control.ring.show(slot, frame, stamps)?;
            return Ok(Fate::ZeroCopy);
        }
        let unmapped = || Trouble::Frame(video::unmapped(frame, info));
        let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(frame, info).map_err(|_| unmapped())?;
        let stride = usize::try_from(mapped.plane_stride()[0]).map_err(|_| unmapped())?;
        let rows = mapped.plane_data(0).map_err(|_| unmapped())?;
        match way {
            Way::Raw(producer) => producer.write(rows, stride)?,
            Way::Touch(producer) => match producer.write(rows, stride)? {
                Wrote::Frame => {}
                Wrote::Locked => return Ok(Fate::Dropped),
            },
            Way::Control(control) => {
                let slot = match control.ring.place()? {
                    Place::Slot(slot) => slot,
                    Place::Interrupted => return Ok(Fate::Interrupted),
                    Place::Full => return Ok(Fate::Dropped),
                    Place::GivenUp => return Ok(Fate::GivenUp),
                };
                control.writer.write(slot.segment(), slot.offset(), rows, stride)?;
                slot.publish(stamps)?;
            }
        }
        Ok(Fate::Copied)
    }

    /// New memory under the same name.
    fn renew(&mut self) -> Result<(), Trouble> {
        match &mut self.way {
            Way::Raw(producer) => producer.set_layout(raw::RawLayout { desc: self.desc, offset: 0 }, self.from)?,
            Way::Control(control) => {
                let direct = control.ring.direct();
                control.ring.set_spec(control.spec.clone(), direct)?;
            }
            Way::Touch(producer) => producer.renew()?,
        }
        Ok(())
    }
}

impl Way {
    /// What has become of the name, and who reads.
    fn tend(&mut self) -> Result<Tended, Trouble> {
        Ok(match self {
            Self::Raw(producer) => Tended { names: producer.tend()?, ..Tended::default() },
            Self::Control(control) => control.ring.producer().tend()?,
            // Its name cannot be taken away, but by another sender: each write looks.
            Self::Touch(_) => Tended::default(),
        })
    }

    /// Offers other frames under the same name.
    #[expect(clippy::too_many_arguments)] // three protocols need one or another
    fn change(
        &mut self,
        desc: FrameDesc,
        spec: FrameSpec,
        direct: Option<Arc<VideoInfo>>,
        from: PixelFormat,
        settings: &Settings,
        threads: CopyThreads,
        waiter: &Waiter,
    ) -> Result<(), Trouble> {
        match self {
            Self::Raw(producer) => producer.set_layout(raw::RawLayout { desc, offset: 0 }, from)?,
            Self::Control(control) => {
                let options = pixels::Options::default();
                let writer = FrameWriter::new(desc, spec.stride as usize, from, options, threads)?;
                if spec != control.spec {
                    if settings.is_lossless() && !control.ring.drain(settings.lossless_timeout())? {
                        tracing::warn!("a reader has not taken the last frames before the caps change");
                    }
                    control.ring.set_spec(spec.clone(), direct)?;
                }
                (control.spec, control.writer) = (spec, writer);
            }
            Self::Touch(producer) => producer.set_frames(desc, from, touch_extras(&spec), waiter)?,
        }
        Ok(())
    }
}

impl Trouble {
    /// Whether others have a smaller section open under the name.
    fn is_in_use(&self) -> bool {
        matches!(self.segment(), Some(SegmentError::InUse { .. }))
    }

    /// Whether another program has cut the memory short.
    fn is_truncation(&self) -> bool {
        let access = match self {
            Self::Raw(raw::ProduceError::Access(error)) => error,
            Self::Control(control::ProduceError::Access(error)) => error,
            Self::Copy(CopyError::Access(error)) => error,
            Self::Touch(touch::ProduceError::Access(error)) => error,
            _ => return false,
        };
        matches!(access, AccessError::Truncated { .. })
    }
}
