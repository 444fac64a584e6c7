// SPDX-License-Identifier: MPL-2.0
//! Everything that leaves a pad, written down as it leaves.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;

/// Frames up to this many bytes are kept whole, of larger ones the first this many.
const KEPT: usize = 1 << 16;

/// One buffer as it left the pad.
#[derive(Debug, Clone)]
pub struct Picture {
    pub pts: gst::ClockTime,
    pub duration: Option<gst::ClockTime>,
    pub flags: gst::BufferFlags,
    pub at: Instant,
    /// Running time of the pipeline when it left.
    pub running: Option<gst::ClockTime>,
    pub bytes: Vec<u8>,
    /// Where its first byte lies: the same for a buffer that is pushed again by reference.
    pub address: usize,
}

impl Picture {
    pub fn is_gap(&self) -> bool {
        self.flags.contains(gst::BufferFlags::GAP)
    }

    pub fn is_discont(&self) -> bool {
        self.flags.contains(gst::BufferFlags::DISCONT)
    }

    pub fn number(&self) -> u32 {
        super::frames::number(&self.bytes)
    }
}

#[derive(Default)]
struct Inner {
    pictures: Vec<Picture>,
    caps: Vec<gst::Caps>,
}

#[derive(Clone, Default)]
pub struct Recorder(Arc<(Mutex<Inner>, Condvar)>);

impl Recorder {
    /// Records the static pad `pad` of `element` from now on.
    pub fn on(element: &gst::Element, pad: &str) -> Self {
        let recorder = Self::default();
        let (ours, weak) = (recorder.clone(), element.downgrade());
        let pad = element.static_pad(pad).expect("the element has the pad");
        let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(mask, move |_, info| {
            let at = Instant::now();
            let running = weak.upgrade().and_then(|element| element.current_running_time());
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => ours.note(buffer, at, running),
                Some(gst::PadProbeData::Event(event)) => {
                    if let gst::EventView::Caps(caps) = event.view() {
                        ours.lock().caps.push(caps.caps_owned());
                    }
                }
                _ => {}
            }
            ours.0.1.notify_all();
            gst::PadProbeReturn::Ok
        })
        .expect("the probe can be set");
        recorder
    }

    /// Records what `name` in `run` pushes.
    pub fn source(run: &super::run::Run, name: &str) -> Self {
        Self::on(&run.element(name), "src")
    }

    fn note(&self, buffer: &gst::BufferRef, at: Instant, running: Option<gst::ClockTime>) {
        let map = buffer.map_readable().expect("a system memory buffer can be read");
        let picture = Picture {
            pts: buffer.pts().expect("every buffer has a PTS"),
            duration: buffer.duration(),
            flags: buffer.flags(),
            at,
            running,
            bytes: map[..map.len().min(KEPT)].to_vec(),
            address: map.as_ptr().addr(),
        };
        self.lock().pictures.push(picture);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All pictures so far.
    pub fn pictures(&self) -> Vec<Picture> {
        self.lock().pictures.clone()
    }

    pub fn count(&self) -> usize {
        self.lock().pictures.len()
    }

    pub fn caps(&self) -> Vec<gst::Caps> {
        self.lock().caps.clone()
    }

    /// Waits until `count` pictures are there.
    pub fn wait_for(&self, count: usize, limit: Duration) -> Vec<Picture> {
        self.wait_until(&format!("{count} pictures"), limit, |pictures| pictures.len() >= count)
    }

    /// Waits until the pictures are as `done` wants them.
    pub fn wait_until(&self, what: &str, limit: Duration, done: impl Fn(&[Picture]) -> bool) -> Vec<Picture> {
        let waiting = |inner: &mut Inner| !done(&inner.pictures);
        let waited = self.0.1.wait_timeout_while(self.lock(), limit, waiting);
        let (inner, result) = waited.unwrap_or_else(PoisonError::into_inner);
        let pictures = inner.pictures.clone();
        drop(inner); // the probe goes on when this fails
        assert!(!result.timed_out(), "no {what} within {limit:?}: {} pictures came", pictures.len());
        pictures
    }

    /// Waits for a picture that leaves after now.
    pub fn wait_for_new(&self, limit: Duration) -> Picture {
        let before = self.count();
        self.wait_for(before + 1, limit)[before].clone()
    }
}
