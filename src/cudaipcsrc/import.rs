// SPDX-License-Identifier: MPL-2.0
//! Slots of the producer's as buffers, without a copy.
//!
//! The producer does not wait for anybody, so a buffer that is held for too long is written over. Nothing prevents that; it
//! is noticed when the last reference to the buffer has gone and the GPU has read what was queued until then.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use gst_video::VideoInfo;
use tdlink_core::{
    protocol::cudalink::{ConsumeError, Consumer, Frame, Interrupt, Loans, Published, Watch},
    segment::{OpenOptions, SegmentName},
};

use crate::{
    device::Work,
    gstcuda::{self, Gpu, GstStream},
    live::Stats,
};

/// Makes buffers of slots. One memory for each slot is kept: encoders register memory once.
#[derive(Debug)]
pub struct Lender {
    gpu: Arc<Gpu>,
    stream: GstStream,
    slots: Vec<Option<gst::Memory>>,
    pitch: usize,
    ledger: Arc<Ledger>,
    /// The last frame that was lent, and in which memory.
    last: Option<Frame>,
}

/// Frames that were lent, counted when they turn out to have been written over. Lives as long as the last of them.
#[derive(Debug)]
struct Ledger {
    loans: Loans,
    stats: Arc<Stats>,
}

impl Ledger {
    fn count(&self, overwritten: u64) {
        self.stats.overwritten.fetch_add(overwritten, Relaxed);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.count(self.loans.finish());
    }
}

/// Lives as long as some buffer over the frame does.
struct Lent {
    frame: Published,
    ledger: Arc<Ledger>,
}

// A buffer holds it as its parent: an empty one.
impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.ledger.count(self.ledger.loans.give_back(&self.frame));
    }
}

impl Lender {
    /// For frames of the consumer's generation that are pushed as `info`. `stream`: on which downstream works.
    ///
    /// # Errors
    /// It cannot be done: why, in words.
    pub fn new(
        name: &SegmentName,
        consumer: &Consumer,
        info: &VideoInfo,
        work: Work,
        gpu: Arc<Gpu>,
        stream: Option<GstStream>,
        stats: Arc<Stats>,
    ) -> Result<Self, String> {
        if !gstcuda::can_wrap() {
            let version = gst::version_string();
            return Err(format!("{version} cannot take foreign device memory, 1.24 and newer can"));
        }
        let Work::Rows(rows) = work else { return Err("downstream takes other pixels than the ring holds".into()) };
        if rows.flip {
            return Err("the ring's rows stand on their head (origin=top-left on both sides keeps them upright)".into());
        }
        if !rows.is_copy() {
            return Err("downstream takes another order of components than the ring holds".into());
        }
        let stream = stream.ok_or("the GPU gave no stream")?;
        let watch = Watch::attach(name, &OpenOptions::default(), Interrupt::new());
        let loans = Loans::new(watch.map_err(|err| err.to_string())?, consumer.context());
        let ledger = Arc::new(Ledger { loans, stats });
        let slots = (0..consumer.slots()).map(|_| None).collect();
        let pitch = info.width() as usize * rows.bytes_per_pixel as usize;
        Ok(Self { gpu, stream, slots, pitch, ledger, last: None })
    }

    /// A buffer over the slot of a frame whose copy is done.
    ///
    /// # Errors
    /// The driver's refusal, or GStreamer's.
    pub fn lend(&mut self, frame: &Frame, info: &VideoInfo) -> Result<gst::Buffer, ConsumeError> {
        self.ledger.count(self.ledger.loans.judge());
        let memory = self.memory(frame, info)?;
        let mut buffer = gst::Buffer::new();
        let fields = buffer.make_mut();
        // The memory is that of a former frame, too.
        gstcuda::renewed(&memory);
        fields.append_memory(memory);
        let refused = tdlink_core::cuda::CudaError::OtherContext { what: "a slot that GStreamer was to take" };
        let stride = i32::try_from(self.pitch).map_err(|_| refused.clone())?;
        let flags = gst_video::VideoFrameFlags::empty();
        gst_video::VideoMeta::add_full(fields, flags, info.format(), info.width(), info.height(), &[0], &[stride])
            .map_err(|_| refused)?;
        let lent = Lent { frame: frame.published, ledger: self.ledger.clone() };
        gst::meta::ParentBufferMeta::add(fields, &gst::Buffer::from_slice(lent));
        self.last = Some(frame.clone());
        Ok(buffer)
    }

    fn memory(&mut self, frame: &Frame, info: &VideoInfo) -> Result<gst::Memory, ConsumeError> {
        let refused = || tdlink_core::cuda::CudaError::OtherContext { what: "a slot that GStreamer was to take" };
        let slot = self.slots.get_mut(frame.published.slot as usize).ok_or_else(refused)?;
        if let Some(memory) = slot {
            return Ok(memory.clone());
        }
        let context = self.gpu.gst().ok_or_else(refused)?;
        let imported = frame.memory().clone();
        let place = (imported.ptr(), imported.len());
        let memory = gstcuda::wrap(context, &self.stream, info, self.pitch, place, imported).ok_or_else(refused)?;
        Ok(slot.insert(memory).clone())
    }

    /// The frame that `buffer` is over, if it is the last that was lent.
    pub fn frame_of(&self, buffer: &gst::Buffer) -> Option<Frame> {
        let frame = self.last.as_ref()?;
        let memory = self.slots.get(frame.published.slot as usize)?.as_ref()?;
        let lies = buffer.n_memory() == 1 && buffer.peek_memory(0).as_ptr() == memory.as_ptr();
        lies.then(|| frame.clone())
    }
}
