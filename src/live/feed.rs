// SPDX-License-Identifier: MPL-2.0
//! The two seams of the engine: below it a wire, above it an element.

use std::time::{Duration, Instant};

use gst::glib;
use gst_video::{VideoColorimetry, VideoInfo};
use tdlink_core::{frame::FrameDesc, segment::wait::Waiter};

use super::Offer;

/// What a wire says about the frames of one producer.
#[derive(Debug, Clone)]
pub struct FeedDesc {
    /// Name of the buffer.
    pub name: String,
    /// Frames as they stand on the wire.
    pub wire: FrameDesc,
    /// The type of their samples, where a frame has no name for it.
    pub sample_type: Option<&'static str>,
    /// What they can be pushed as, the best first.
    pub offers: Vec<Offer>,
    /// The producer's nominal rate, where the wire carries one.
    pub framerate: Option<gst::Fraction>,
    /// Most frames per second that can come as they are produced.
    pub most: gst::Fraction,
    /// The rate to sample at where the wire carries none and tells no news.
    pub sampling: Option<gst::Fraction>,
    /// Width of a pixel to its height.
    pub pixel_aspect: gst::Fraction,
    /// Further fields of the caps that the wire carries.
    pub extras: Vec<(String, glib::SendValue)>,
    /// What the wire says of its colours.
    pub colorimetry: Option<VideoColorimetry>,
    /// The producer's process, where it can be known.
    pub pid: Option<u32>,
    /// Name of the protocol, for messages.
    pub protocol: &'static str,
}

impl FeedDesc {
    /// Whether frames are the same, whoever makes them.
    pub fn is_same(&self, other: &Self) -> bool {
        let extras =
            |desc: &Self| desc.extras.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>();
        self.name == other.name
            && self.wire == other.wire
            && self.sample_type == other.sample_type
            && self.offers == other.offers
            && self.framerate == other.framerate
            && self.most == other.most
            && self.sampling == other.sampling
            && self.pixel_aspect == other.pixel_aspect
            && self.colorimetry == other.colorimetry
            && self.protocol == other.protocol
            && extras(self) == extras(other)
    }
}

/// What the producer of a frame says about it. Times are of the monotonic clock, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// When it could be seen first.
    pub published: u64,
    /// When it was to be shown, if the producer's clock can be compared.
    pub pts: Option<u64>,
    /// For how long.
    pub duration: Option<u64>,
    /// Something was lost before it.
    pub discont: bool,
    /// Frames that were published since the last one, and not seen.
    pub skipped: u64,
}

/// Outcome of looking for a producer.
#[derive(Debug)]
pub enum Attach {
    /// Its buffer is mapped.
    Attached {
        /// What its frames are.
        desc: FeedDesc,
        /// What is odd about it, in words.
        warning: Option<String>,
    },
    /// It is not there yet; why, in words.
    NotYet(String),
    /// It is there and can never be read like this.
    Failed(gst::ErrorMessage),
}

/// Whether the producer of an attached buffer is still the one under the name.
#[derive(Debug)]
pub enum Standing {
    /// It is.
    Here,
    /// Not for now, but that may be a moment only.
    Unsure,
    /// The name is gone; the buffer can still be read.
    Orphaned(String),
    /// Another buffer stands under the name, or this one cannot be read any more.
    Replaced(String),
    /// The same producer can be read in a better way.
    Better,
}

/// Outcome of waiting for a new frame.
#[derive(Debug)]
pub enum News {
    /// There is none yet.
    None,
    /// There is one, seen at this time.
    Fresh(Instant),
    /// Frames are others from now on.
    Respec(FeedDesc),
    /// There will be none for now: [`Feed::standing`] says why.
    Ended,
}

/// Outcome of copying the newest frame out.
#[derive(Debug)]
pub enum Read {
    /// All of it is one frame.
    Whole {
        /// Whether it differs from the one before, as far as was looked.
        changed: bool,
        /// Times that it was seen torn before, each dropped.
        torn: u32,
        /// Its hash, where one is asked for.
        hash: Option<String>,
        /// What its producer says about it, where the wire carries that.
        made: Option<Made>,
    },
    /// There is none that was not read yet.
    Nothing,
    /// Frames are others from now on.
    Respec(FeedDesc),
    /// The writer was in it each time; seen that often.
    Torn(u32),
    /// Somebody else had the wire's lock for too long.
    Locked,
    /// The buffer cannot be read any more.
    Lost(String),
    /// Reading can never work like this.
    Failed(gst::ErrorMessage),
}

/// Outcome of asking for the newest frame without a copy.
#[derive(Debug)]
pub enum Leased {
    /// Here it is; what is said about it.
    Frame(gst::Buffer, Made),
    /// It must be copied: see [`Feed::read`].
    Copy,
    /// As for [`Feed::read`].
    Not(Read),
}

/// A wire: where frames come from.
pub trait Feed {
    /// Looks for the producer, without blocking.
    fn attach(&mut self) -> Attach;
    /// Lets go of it.
    fn detach(&mut self);
    /// What frames will be if the user has said so before any producer is there.
    fn expected(&self) -> Option<FeedDesc>;
    /// Whether the user has said all of that, so that downstream can be told before there is a producer.
    fn is_told(&self) -> bool {
        false
    }
    /// The name of the buffer.
    fn name(&self) -> String;
    /// The name and what is known of the frames, for messages.
    fn sought(&self) -> String;
    /// Live buffers, the nearest name first, for an error that says what was looked for.
    fn neighbours(&self) -> Vec<String>;
    /// Downstream has changed. Whether other frames are expected now.
    fn reconsider(&mut self) -> bool;
    /// How often [`Feed::standing`] is to be asked.
    fn look_after(&self) -> Duration {
        Duration::from_millis(50)
    }
    /// Whether the producer has said its end, as far as was looked.
    fn has_ended(&self) -> bool {
        false
    }
    /// Is it still the one? Cheap.
    fn standing(&mut self) -> Standing;
    /// Frames are to be read as `info` from now on. `padded`: downstream takes rows that lie further apart than `info`
    /// says. What cannot be done as the user has asked, in words.
    fn target(&mut self, info: &VideoInfo, padded: bool) -> Option<String>;
    /// Whether there is a sign of life since the last frame that was read whole. Cheap.
    fn glance(&mut self) -> bool;
    /// Whether the newest frame is, byte for byte, what `last` holds.
    fn still(&mut self, last: &gst::Buffer, info: &VideoInfo) -> bool;
    /// Waits for a frame that was not read yet, until `until` or until `waiter` is woken.
    fn wait_news(&mut self, waiter: &Waiter, until: Instant) -> News;
    /// The newest frame where it lies, if it can be kept there.
    fn lease(&mut self, _info: &VideoInfo) -> Leased {
        Leased::Copy
    }
    /// A buffer with the picture of `last`, which [`Feed::lease`] gave, that may be pushed again whatever becomes of the
    /// producer. `None`: the picture is gone.
    fn keep(&mut self, last: &gst::Buffer, _info: &VideoInfo) -> Option<gst::Buffer> {
        Some(last.clone())
    }
    /// Copies the newest frame into `buffer`.
    fn read(&mut self, buffer: &mut gst::BufferRef, info: &VideoInfo) -> Read;
}

/// The element above the engine.
pub trait Host {
    /// Sets caps for these frames and renegotiates the pool.
    fn negotiate(&self, feed: &FeedDesc, settings: &super::LiveSettings) -> Result<super::Negotiated, gst::FlowError>;
    /// Whether downstream has asked for other caps since this was last asked.
    fn take_reconfigure(&self) -> bool;
    /// A buffer from the negotiated pool.
    fn alloc(&self, info: &VideoInfo) -> Result<gst::Buffer, gst::FlowError>;
    /// Whether downstream takes rows that lie further apart than caps say.
    fn takes_padding(&self) -> bool;
    /// The running time at `ns` of the monotonic clock; zero for what was before it began.
    fn running_time_at(&self, ns: u64) -> Result<gst::ClockTime, gst::FlowError>;
    /// The pipeline's running time; waits until it has begun.
    fn running_time(&self) -> Result<gst::ClockTime, gst::FlowError>;
    /// Whether the element is told to return.
    fn flushing(&self) -> bool;
    /// What a wait sleeps on, so that it can be told to return.
    fn waiter(&self) -> &Waiter;
    /// Posts an element message.
    fn post(&self, structure: gst::Structure);
    /// A frame's hash has changed.
    fn image_changed(&self, hash: &str);
    /// Posts a warning.
    fn warn(&self, text: &str);
    /// The one place where an error reaches the bus.
    fn fail(&self, message: gst::ErrorMessage) -> gst::FlowError;
    /// The read-only property `connected` has changed.
    fn connected_changed(&self);
}
