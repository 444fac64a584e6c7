// SPDX-License-Identifier: MPL-2.0
//! What a Shared Mem Out TOP writes as a feed of frames.

use std::time::{Duration, Instant};

use gst_video::{
    VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoInfo, VideoTransferFunction,
    prelude::*,
};
use tdlink_core::{
    frame,
    protocol::{
        copy::CopyThreads,
        touch::{
            AttachOptions, Colour, ConsumeError, Consumer, Header, Outcome, Postfix, Standing as TouchStanding,
            TouchNames,
        },
    },
    segment::{
        self, OpenOptions, SegmentError,
        wait::{Waiter, Woken},
    },
};

use super::{
    feed::{LISTED, LOOK_EVERY, MOST, segment_message},
    hash::Hasher,
    settings::Settings,
};
use crate::{
    live::{Attach, Feed, FeedDesc, News, Offer, Read, Standing},
    video,
};

/// How often a sender is looked for beside raw bytes that are being read.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The objects of a Shared Mem Out TOP.
#[derive(Debug)]
pub struct TouchFeed {
    names: TouchNames,
    settings: Settings,
    threads: CopyThreads,
    consumer: Option<Consumer>,
    /// When a sender beside raw bytes is looked for again.
    next_look: Instant,
    hasher: Option<Hasher>,
}

impl TouchFeed {
    /// A feed from `names` that is attached to nothing yet.
    pub fn new(names: TouchNames, settings: Settings) -> Self {
        Self { names, settings, threads: CopyThreads::new(0), consumer: None, next_look: Instant::now(), hasher: None }
    }

    /// Whether a sender has come beside raw bytes that are being read. What was opened then, [`Feed::attach`] goes on with.
    pub fn has_come(&mut self) -> bool {
        let now = Instant::now();
        if now < self.next_look {
            return false;
        }
        self.next_look = now + LOOK_AGAIN;
        matches!(self.attach(), Attach::Attached { .. })
    }

    fn options(&self) -> AttachOptions {
        AttachOptions {
            open: OpenOptions { allow_other_user: self.settings.allow_other_user },
            lock_timeout: Duration::from_millis(self.settings.lock_timeout_ms.into()),
            threads: self.threads.clone(),
        }
    }

    fn describe(&self, consumer: &Consumer) -> FeedDesc {
        let wire = consumer.desc();
        let header = consumer.header();
        FeedDesc {
            name: self.names.typed().to_owned(),
            wire,
            sample_type: None,
            offers: Offer::of_host(wire.format),
            framerate: None,
            most: MOST.into(),
            sampling: None,
            pixel_aspect: pixel_aspect(header),
            extras: Vec::new(),
            colorimetry: header.colour.and_then(colorimetry),
            pid: None,
            protocol: "touch",
        }
    }

    fn described(&self) -> Option<FeedDesc> {
        self.consumer.as_ref().map(|consumer| self.describe(consumer))
    }
}

impl Feed for TouchFeed {
    fn attach(&mut self) -> Attach {
        if let Some(desc) = self.described() {
            return Attach::Attached { desc, warning: None };
        }
        let origin = self.settings.live.origin.or(frame::Origin::BottomLeft);
        match Consumer::attach(&self.names, origin, self.options()) {
            Ok(consumer) => {
                let desc = self.describe(&consumer);
                self.consumer = Some(consumer);
                Attach::Attached { desc, warning: None }
            }
            Err(ConsumeError::NotYet { why }) => Attach::NotYet(why),
            Err(err @ ConsumeError::Segment(SegmentError::NotFound { .. } | SegmentError::Empty { .. })) => {
                Attach::NotYet(err.to_string())
            }
            // Cut short at this very moment: the next look says to what.
            Err(err @ ConsumeError::Access(_)) => Attach::NotYet(err.to_string()),
            Err(err) => Attach::Failed(message(&err)),
        }
    }

    fn detach(&mut self) {
        self.consumer = None;
    }

    fn expected(&self) -> Option<FeedDesc> {
        None
    }

    fn name(&self) -> String {
        self.names.typed().to_owned()
    }

    fn sought(&self) -> String {
        format!("{:?} (a Shared Mem Out TOP's)", self.names.typed())
    }

    fn neighbours(&self) -> Vec<String> {
        // Beside the pixels stand objects whose names nobody types.
        let mut listed = segment::live_names();
        listed.retain(|found| TouchNames::typed_for(found.name.as_str()).is_some());
        if let Ok(data) = self.names.data(&Postfix::default()) {
            segment::sort_by_nearness(&data, &mut listed);
        }
        let said = |found: &segment::Listed| {
            TouchNames::typed_for(found.name.as_str()).map(|typed| format!("{typed} ({} bytes)", found.len))
        };
        listed.iter().filter_map(said).take(LISTED).collect()
    }

    fn reconsider(&mut self) -> bool {
        // The header says the geometry.
        false
    }

    fn standing(&mut self) -> Standing {
        let Some(consumer) = &mut self.consumer else {
            return Standing::Replaced("the buffer was let go".into());
        };
        match consumer.standing() {
            Ok(TouchStanding::Here) => Standing::Here,
            Ok(TouchStanding::Unsure) => Standing::Unsure,
            Ok(TouchStanding::Ended(reason)) => Standing::Replaced(reason),
            Err(err) => Standing::Replaced(err.to_string()),
        }
    }

    fn target(&mut self, info: &VideoInfo, _padded: bool) -> Option<String> {
        self.hasher = Hasher::new(self.settings.hashing());
        let (consumer, pixel) = (self.consumer.as_mut()?, video::pixel_format(info.format())?);
        let wire = consumer.header().colour.and_then(colorimetry);
        let options = self.settings.live.pixel_options(wire.as_ref());
        // The hash is of the bytes on the wire.
        let set = consumer.set_target(pixel, options, self.hasher.is_some());
        set.err().map(|err| err.to_string())
    }

    fn glance(&mut self) -> bool {
        // The read that follows says what is wrong.
        self.consumer.as_mut().is_some_and(|consumer| consumer.look().unwrap_or(true))
    }

    fn still(&mut self, last: &gst::Buffer, info: &VideoInfo) -> bool {
        let Some(consumer) = &mut self.consumer else { return false };
        if self.hasher.is_some() || consumer.look() != Ok(false) {
            return false;
        }
        let Ok(frame) = gst_video::VideoFrameRef::from_buffer_ref_readable(last, info) else { return false };
        let (Ok(stride), Ok(rows)) = (usize::try_from(frame.plane_stride()[0]), frame.plane_data(0)) else {
            return false;
        };
        consumer.same_as(rows, stride).unwrap_or(false)
    }

    fn wait_news(&mut self, waiter: &Waiter, until: Instant) -> News {
        loop {
            let Some(consumer) = &mut self.consumer else { return News::None };
            // The read that follows waits for the writer's mutex, and says what is wrong.
            if consumer.look().unwrap_or(true) {
                return News::Fresh(Instant::now());
            }
            let now = Instant::now();
            if now >= until || waiter.wait_until(until.min(now + LOOK_EVERY)) == Woken::Woken {
                return News::None;
            }
        }
    }

    fn read(&mut self, buffer: &mut gst::BufferRef, info: &VideoInfo) -> Read {
        let Some(consumer) = &mut self.consumer else { return Read::Lost("the buffer was let go".into()) };
        let unmapped = video::unmapped(buffer, info);
        let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info) else {
            return Read::Failed(unmapped);
        };
        let Ok(stride) = usize::try_from(frame.plane_stride()[0]) else { return Read::Failed(unmapped) };
        let Ok(rows) = frame.plane_data_mut(0) else { return Read::Failed(unmapped) };
        match consumer.read(rows, stride) {
            Ok(Outcome::Whole { changed }) => {
                let hash = self.hasher.as_mut().zip(consumer.wire()).map(|(hasher, wire)| {
                    hasher.update(wire);
                    hasher.finish()
                });
                Read::Whole { changed, torn: 0, hash, made: None }
            }
            Ok(Outcome::Locked) => Read::Locked,
            // The first frame will be news; until then there is silence.
            Ok(Outcome::NotWritten | Outcome::Nothing) => Read::Nothing,
            Ok(Outcome::Suspect) => Read::Torn(1),
            Ok(Outcome::Respec) => match self.described() {
                Some(desc) => Read::Respec(desc),
                None => Read::Nothing,
            },
            Ok(Outcome::Ended(reason)) => Read::Lost(reason),
            Err(err @ (ConsumeError::Access(_) | ConsumeError::Segment(_))) => Read::Lost(err.to_string()),
            Err(err) => Read::Failed(message(&err)),
        }
    }
}

/// Width of a pixel to its height: square, if a peer says nothing that could be one.
fn pixel_aspect(header: &Header) -> gst::Fraction {
    let [x, y] = header.aspect.map(f64::from);
    let ratio = x / y;
    // The first fraction that is as near as a number of 32 bits can say.
    let near = |den: i32| {
        let num = (ratio * f64::from(den)).round();
        ((num / f64::from(den) - ratio).abs() < 1e-6 * ratio).then(|| gst::Fraction::new(num as i32, den))
    };
    let sound = (0.01..=100.0).contains(&ratio);
    sound.then(|| (1..=10_000).find_map(near)).flatten().unwrap_or_else(|| (1, 1).into())
}

/// The colours of numbers that are known.
fn colorimetry(colour: Colour) -> Option<VideoColorimetry> {
    let transfer = match colour.transfer {
        Colour::LINEAR => VideoTransferFunction::Gamma10,
        Colour::SRGB_TRANSFER => VideoTransferFunction::Srgb,
        _ => return None,
    };
    let (range, matrix) = (VideoColorRange::Range0_255, VideoColorMatrix::Rgb);
    (colour.primaries == Colour::REC709)
        .then(|| VideoColorimetry::new(range, matrix, transfer, VideoColorPrimaries::Bt709))
}

/// What is wrong and the way out of it.
fn message(err: &ConsumeError) -> gst::ErrorMessage {
    match err {
        ConsumeError::Segment(err) => segment_message(err),
        ConsumeError::Header { .. } => gst::error_msg!(gst::StreamError::Format, ("{err}")),
        _ => gst::error_msg!(gst::ResourceError::OpenRead, ("{err}")),
    }
}

#[cfg(test)]
mod tests {
    use tdlink_core::protocol::touch::{HeaderKind, Pixel};

    use super::*;

    fn header(aspect: [f32; 2]) -> Header {
        let format = tdlink_core::frame::PixelFormat::new(frame::SampleType::U8, 4, frame::ChannelOrder::Bgra).unwrap();
        Header::new(HeaderKind::VulkanV1, (4, 3), Pixel::Plain(format), aspect, Colour::SRGB).unwrap()
    }

    #[test]
    fn a_pixel_is_square_unless_its_sides_are_sound() {
        gst::init().unwrap();
        for (aspect, wanted) in [
            ([1.0, 1.0], (1, 1)),
            ([4.0, 3.0], (4, 3)),
            ([4.0 / 3.0, 1.0], (4, 3)),
            ([118.0, 81.0], (118, 81)),
            ([118.0 / 81.0, 1.0], (118, 81)),
            ([0.0, 0.0], (1, 1)),
            ([f32::NAN, 1.0], (1, 1)),
            ([1.0, f32::INFINITY], (1, 1)),
            ([-1.0, 1.0], (1, 1)),
            ([1e30, 1.0], (1, 1)),
        ] {
            assert_eq!(pixel_aspect(&header(aspect)), gst::Fraction::from(wanted), "{aspect:?}");
        }
    }

    #[test]
    fn numbers_that_nobody_has_told_say_nothing_of_colours() {
        gst::init().unwrap();
        let srgb = colorimetry(Colour::SRGB).unwrap();
        assert_eq!(srgb.to_string(), "sRGB");
        assert_eq!(
            colorimetry(Colour { primaries: 2, transfer: 0 }).unwrap().transfer(),
            VideoTransferFunction::Gamma10
        );
        assert_eq!(colorimetry(Colour { primaries: 9, transfer: 1 }), None);
        assert_eq!(colorimetry(Colour { primaries: 2, transfer: 9 }), None);
    }
}
