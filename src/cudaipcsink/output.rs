// SPDX-License-Identifier: MPL-2.0
//! Frames of a pipeline on their way to a ring under a name.

use std::sync::Arc;

use gst_video::VideoInfo;
use tdlink_core::{
    cuda,
    frame::{FrameDesc, Origin},
    protocol::cudalink::{Producer, ProducerOptions},
    segment::{Published, SegmentName},
};

use super::{settings::Settings, staging::Staging, trouble::Trouble};
use crate::{
    device::Work,
    gstcuda::{self, Gpu, Mapped},
    video,
};

/// A name, and from the first caps on the ring under it.
#[derive(Debug)]
pub struct Output {
    name: SegmentName,
    settings: Settings,
    ring: Option<Ring>,
    gpu: Arc<Gpu>,
    said_rival: bool,
}

#[derive(Debug)]
struct Ring {
    producer: Producer,
    info: VideoInfo,
    desc: FrameDesc,
    /// What the device does to frames of the caps; `None` for those that are never on it.
    work: Option<Work>,
    /// Made when the first frame comes from elsewhere.
    staging: Option<Staging>,
    /// Upstream's stream that the last frame was copied on, if it was not ours.
    theirs: Option<cuda::Stream>,
}

impl Output {
    /// Nothing is published yet.
    pub fn new(name: SegmentName, settings: Settings, gpu: Arc<Gpu>) -> Self {
        Self { name, settings, ring: None, gpu, said_rival: false }
    }

    /// The ring's name.
    pub fn name(&self) -> &SegmentName {
        &self.name
    }

    /// What stands in the ring.
    pub fn desc(&self) -> Option<FrameDesc> {
        self.ring.as_ref().map(|ring| ring.desc)
    }

    /// Makes the ring for frames of `info`, or offers other frames under the same name. Gives their description when it is
    /// another one than before.
    pub fn publish(&mut self, info: VideoInfo) -> Result<Option<FrameDesc>, Trouble> {
        let desc = self.settings.desc(&info);
        let work = Work::to_wire(&info, desc.format.into(), desc.origin != Origin::TopLeft);
        let same = self.desc() == Some(desc);
        match &mut self.ring {
            Some(ring) => {
                ring.producer.set_frame(desc)?;
                (ring.info, ring.work, ring.desc, ring.staging) = (info, work, desc, None);
            }
            None => {
                let options = ProducerOptions {
                    slots: self.settings.slots,
                    legacy_flags: self.settings.legacy_flags,
                    export_sync: self.settings.export_sync,
                    create: self.settings.create_options(),
                };
                let producer = Producer::create(&self.name, self.gpu.context(), desc, &options)?;
                tracing::info!("{}: {:?}", self.name, producer.acquired());
                self.ring = Some(Ring { producer, info, work, desc, staging: None, theirs: None });
            }
        }
        Ok((!same).then_some(desc))
    }

    /// Copies a frame into the ring, on the GPU or on its way there in one pass, and shows it. Gives what has become of the
    /// name meanwhile.
    pub fn write(&mut self, frame: &gst::Buffer) -> Result<Published, Trouble> {
        let ring = self.ring.as_mut().ok_or(Trouble::NoCaps)?;
        let published = ring.producer.tend()?;
        if published == Published::TakenByOther {
            return Err(Trouble::Taken(self.name.clone()));
        }
        let on_device = self.gpu.gst().is_some_and(|context| gstcuda::is_of(frame, context));
        let kernels = self.gpu.context().driver().runs_kernels();
        match ring.work.filter(|work| on_device && (kernels || work.is_copy())) {
            Some(work) => ring.copy(work, frame, &self.gpu)?,
            None => ring.upload(frame, &self.gpu)?,
        }
        Ok(published)
    }

    /// Whether somebody else was seen writing the ring's count of frames. Said once.
    pub fn has_new_rival(&mut self) -> bool {
        let seen = self.ring.as_ref().is_some_and(|ring| ring.producer.rivals() > 0);
        seen && !std::mem::replace(&mut self.said_rival, true)
    }

    /// Says that no frame will follow.
    pub fn end_of_stream(&mut self) -> Result<(), Trouble> {
        if let Some(ring) = &mut self.ring {
            ring.producer.pause()?;
        }
        Ok(())
    }
}

impl Ring {
    /// From device memory of our context.
    fn copy(&mut self, work: Work, frame: &gst::Buffer, gpu: &Gpu) -> Result<(), Trouble> {
        let unmapped = || Trouble::Frame(video::unmapped(frame, &self.info));
        // Once for the frame, and not for each of the driver's calls.
        let _current = gpu.context().enter()?;
        let mapped = Mapped::read(frame, &self.info).ok_or_else(unmapped)?;
        // On the stream on which the memory was written our copy comes after that, and before what is written there next:
        // the buffer may go back to its pool at once.
        let theirs = gstcuda::stream_of(frame).map(|stream| stream.cuda(gpu.context()));
        let changed = self.theirs.as_ref().map(cuda::Stream::raw) != theirs.as_ref().map(cuda::Stream::raw);
        if changed {
            // A slot is not written on two streams at once.
            self.theirs.as_ref().unwrap_or(gpu.stream()).synchronize()?;
            self.theirs = theirs;
        }
        let stream = self.theirs.as_ref().unwrap_or(gpu.stream());
        let slot = self.producer.begin()?;
        work.run(&[slot.plane()?], &mapped.planes(), stream)?;
        slot.publish(stream)?;
        if self.theirs.is_none() {
            // Memory without a stream (before 1.24) is free for its next user when we return.
            stream.synchronize()?;
        } else {
            // An application that has wrapped its own memory learns of our copy by this alone.
            gstcuda::in_use(frame);
        }
        Ok(())
    }

    /// From system memory, or from device memory that is not of our context, or that the driver has no kernel for.
    fn upload(&mut self, frame: &gst::Buffer, gpu: &Gpu) -> Result<(), Trouble> {
        let unmapped = || Trouble::Frame(video::unmapped(frame, &self.info));
        let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(frame, &self.info).map_err(|_| unmapped())?;
        let staging = match &mut self.staging {
            Some(staging) => staging,
            none => none.insert(Staging::new(gpu.context(), &self.info, self.desc, self.work)?),
        };
        // Once for the frame, and not for each of the driver's calls.
        let _current = gpu.context().enter()?;
        staging.fill(&mapped)?;
        if let Some(theirs) = self.theirs.take() {
            theirs.synchronize()?;
        }
        let slot = self.producer.begin()?;
        staging.upload(slot.plane()?, gpu.stream())?;
        slot.publish(gpu.stream())?;
        Ok(())
    }
}
