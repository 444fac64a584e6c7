// SPDX-License-Identifier: MPL-2.0
//! A raw buffer as a feed of frames.

use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_video::{VideoInfo, prelude::*};
use tdlink_core::{
    protocol::raw::{ConsumeError, Consumer, FrameRead, Look, RawLayout, Settled, Standing as RawStanding},
    segment::{
        self, Identity, OpenOptions, Segment, SegmentError, SegmentName,
        wait::{Waiter, Woken},
    },
};

use super::{
    geometry::{self, FromCaps, Missing},
    hash::Hasher,
    settings::Settings,
    wire::Converted,
};
use crate::{
    live::{Attach, Feed, FeedDesc, News, Offer, Read, Standing},
    video,
};

/// The rate at which a buffer without a frame counter is sampled when nobody says another.
const SAMPLING: (i32, i32) = (60, 1);
/// How often a buffer without a frame counter is looked at for news.
pub const LOOK_EVERY: Duration = Duration::from_millis(1);
/// No more frames than looks.
pub const MOST: (i32, i32) = (1000, 1);
/// How long a writer may take over a frame until it is read all the same: one that never rests is read in passing.
const SETTLE_WITHIN: Duration = Duration::from_millis(50);
/// How long a name must be gone before that counts: a sink of ours puts it back within a frame, and a sender
/// that changes its size takes it away for a moment.
const GONE_FOR: Duration = Duration::from_millis(200);
/// Names that an error lists at most.
pub const LISTED: usize = 8;

/// A raw buffer under a name.
#[derive(Debug)]
pub struct RawFeed {
    name: SegmentName,
    settings: Settings,
    /// Where downstream is asked what properties do not say.
    pad: gst::Pad,
    layout: Result<RawLayout, Missing>,
    consumer: Option<Consumer>,
    /// Frames are hashed on their way.
    hashed: Option<(Hasher, Converted)>,
    gone_since: Option<Instant>,
    /// When the writer was first seen in the frame that is waited for.
    seen: Option<Instant>,
    /// Bytes of the first buffer that was attached: one of another size holds other frames.
    size: Option<usize>,
    /// A buffer that somebody cut short: it is waited out, since no sender does that.
    cut: Option<Identity>,
}

impl RawFeed {
    /// A feed from `name`, whose frames lie as `settings` and then downstream of `pad` say.
    pub fn new(name: SegmentName, settings: Settings, pad: gst::Pad) -> Self {
        let mut feed = Self {
            name,
            settings,
            pad,
            layout: Err(Missing::default()),
            consumer: None,
            hashed: None,
            gone_since: None,
            seen: None,
            size: None,
            cut: None,
        };
        feed.resolve();
        feed
    }

    fn resolve(&mut self) {
        let caps = self.pad.peer_query_caps(Some(&video::template_caps()));
        self.layout = geometry::resolve(&self.settings, FromCaps::of(&caps));
    }

    fn open_options(&self) -> OpenOptions {
        OpenOptions { allow_other_user: self.settings.allow_other_user }
    }

    fn describe(&self, layout: &RawLayout) -> FeedDesc {
        FeedDesc {
            name: self.name.to_string(),
            wire: layout.desc,
            sample_type: None,
            offers: Offer::of_host(layout.desc.format),
            framerate: None,
            most: MOST.into(),
            sampling: Some(SAMPLING.into()),
            pixel_aspect: (1, 1).into(),
            extras: Vec::new(),
            colorimetry: None,
            pid: None,
            protocol: "raw",
        }
    }

    /// A name without geometry: wait while nothing is there, since a producer that says its geometry may come; fail
    /// when raw bytes are there, since those never will.
    fn without_geometry(&self, missing: &Missing) -> Attach {
        let name = self.name.as_str();
        match Segment::open(&self.name, self.open_options()) {
            Ok(_) if !self.pad.is_linked() => {
                Attach::NotYet(format!("nothing is linked behind the source, and {missing}"))
            }
            Ok(segment) => Attach::Failed(gst::error_msg!(
                gst::ResourceError::Settings,
                ("{name:?} is there with {} bytes, but {missing}", segment.len())
            )),
            Err(SegmentError::NotFound { .. } | SegmentError::Empty { .. }) => {
                Attach::NotYet(format!("{name:?} is not there, and {missing}"))
            }
            Err(err) => Attach::Failed(message(&ConsumeError::Segment(err))),
        }
    }

    /// A buffer is mapped: is it one that this feed can go on with?
    fn accept(&mut self, consumer: Consumer, layout: &RawLayout) -> Attach {
        let (size, needed) = (consumer.segment_len(), layout.bytes().unwrap_or(usize::MAX));
        if let Some(first) = self.size.filter(|first| *first != size) {
            return Attach::Failed(gst::error_msg!(
                gst::ResourceError::Settings,
                (
                    "{:?} has {size} bytes now and had {first} before: the sender has changed its size or format; right would be its new width, height, channels and sample-type",
                    self.name.as_str()
                )
            ));
        }
        let spare = size.saturating_sub(needed);
        // Other systems than Linux round to pages.
        let odd = if cfg!(target_os = "linux") { spare > 0 } else { spare >= 16 * 1024 };
        let warning = odd.then(|| {
            format!(
                "{:?} has {size} bytes, a frame of {} needs {needed}: the first of them are read; if the picture is sheared or scrambled, width, height, channels or sample-type are not the sender's",
                self.name.as_str(),
                layout.desc
            )
        });
        self.size = Some(size);
        self.gone_since = None;
        self.cut = None;
        self.hashed = None;
        self.consumer = Some(consumer);
        Attach::Attached { desc: self.describe(layout), warning }
    }

    /// Whether the buffer under the name is the one that somebody has cut short.
    fn is_cut(&self) -> bool {
        let found = Segment::open(&self.name, self.open_options()).map(|segment| segment.identity());
        self.cut.is_some_and(|cut| found.is_ok_and(|found| found == cut))
    }
}

impl Feed for RawFeed {
    fn attach(&mut self) -> Attach {
        if self.layout.is_err() {
            self.resolve();
        }
        let layout = match &self.layout {
            Ok(layout) => *layout,
            Err(missing) => return self.without_geometry(missing),
        };
        // Until caps are agreed on, as on the wire.
        let options = self.settings.live.pixel_options(None);
        match Consumer::attach(&self.name, layout, layout.desc.format, options, self.open_options()) {
            Ok(consumer) => self.accept(consumer, &layout),
            Err(ConsumeError::Segment(err @ (SegmentError::NotFound { .. } | SegmentError::Empty { .. }))) => {
                Attach::NotYet(err.to_string())
            }
            Err(err @ ConsumeError::WrongSize { .. }) if self.is_cut() => Attach::NotYet(err.to_string()),
            // Cut short at this very moment: the next look says to what.
            Err(err @ ConsumeError::Access(_)) => Attach::NotYet(err.to_string()),
            Err(err) => Attach::Failed(message(&err)),
        }
    }

    fn detach(&mut self) {
        self.consumer = None;
        self.gone_since = None;
        self.seen = None;
    }

    fn expected(&self) -> Option<FeedDesc> {
        self.layout.as_ref().ok().map(|layout| self.describe(layout))
    }

    fn name(&self) -> String {
        self.name.to_string()
    }

    fn sought(&self) -> String {
        match &self.layout {
            Ok(layout) => format!("{:?} ({})", self.name.as_str(), layout.desc),
            Err(_) => format!("{:?}", self.name.as_str()),
        }
    }

    fn neighbours(&self) -> Vec<String> {
        let mut listed = segment::live_names();
        segment::sort_by_nearness(&self.name, &mut listed);
        listed.into_iter().take(LISTED).map(|found| format!("{} ({} bytes)", found.name, found.len)).collect()
    }

    fn reconsider(&mut self) -> bool {
        let before = self.layout.clone();
        self.resolve();
        match (&before, &self.layout) {
            // Downstream is between two filters: what was said last stands.
            (Ok(_), Err(_)) => {
                self.layout = before;
                false
            }
            (before, now) if before == now => false,
            _ => {
                self.size = None;
                true
            }
        }
    }

    fn standing(&mut self) -> Standing {
        let Some(consumer) = &mut self.consumer else {
            return Standing::Replaced("the buffer was let go".into());
        };
        let name = self.name.as_str();
        match consumer.standing() {
            Ok(RawStanding::Here) => {
                self.gone_since = None;
                Standing::Here
            }
            Ok(RawStanding::Gone) => {
                let since = *self.gone_since.get_or_insert_with(Instant::now);
                if since.elapsed() < GONE_FOR {
                    return Standing::Unsure;
                }
                Standing::Orphaned(format!("the name {name:?} is gone"))
            }
            Ok(RawStanding::Elsewhere) => Standing::Replaced(format!("another buffer stands under the name {name:?}")),
            Ok(RawStanding::Shrunk { found, needed }) => {
                self.cut = Some(consumer.identity());
                Standing::Replaced(format!("the buffer {name:?} was cut to {found} bytes, {needed} are needed"))
            }
            Err(err) => Standing::Replaced(err.to_string()),
        }
    }

    fn target(&mut self, info: &VideoInfo, _padded: bool) -> Option<String> {
        if let (Some(consumer), Some(pixel), Ok(layout)) =
            (&mut self.consumer, video::pixel_format(info.format()), &self.layout)
        {
            let options = self.settings.live.pixel_options(None);
            self.hashed = Hasher::new(self.settings.hashing())
                .map(|hasher| (hasher, Converted::new(layout.desc, pixel, options)));
            match &self.hashed {
                // The hash is of the bytes on the wire: they are converted after it.
                Some(_) => consumer.set_target(layout.desc.format, tdlink_core::pixels::Options::default()),
                None => consumer.set_target(pixel, options),
            }
        }
        None
    }

    fn glance(&mut self) -> bool {
        // The read that follows says what is wrong.
        self.consumer.as_mut().is_some_and(|consumer| matches!(consumer.look(), Ok(Look::Changed) | Err(_)))
    }

    fn still(&mut self, last: &gst::Buffer, info: &VideoInfo) -> bool {
        let Some(consumer) = &mut self.consumer else { return false };
        if self.hashed.is_some() || !matches!(consumer.look(), Ok(Look::Same)) {
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
            let mut next = LOOK_EVERY;
            if self.seen.is_none() {
                match consumer.look() {
                    Ok(Look::Same) => {}
                    Ok(Look::Changed) => self.seen = Some(Instant::now()),
                    // The read that follows says what is wrong.
                    Err(_) => return News::Fresh(Instant::now()),
                }
            }
            if let Some(seen) = self.seen {
                match consumer.settled() {
                    Ok(Settled::In(wait)) if seen.elapsed() < SETTLE_WITHIN => next = wait,
                    _ => {
                        self.seen = None;
                        return News::Fresh(Instant::now());
                    }
                }
            }
            let now = Instant::now();
            if now >= until || waiter.wait_until(until.min(now + next)) == Woken::Woken {
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
        let read = match &mut self.hashed {
            Some((hasher, converted)) => hashed_read(consumer, hasher, converted, rows, stride),
            None => consumer.read(rows, stride).map(|read| (read, None)),
        };
        match read {
            Ok((FrameRead { whole: true, torn_attempts, changed }, hash)) => {
                Read::Whole { changed, torn: torn_attempts, hash, made: None }
            }
            Ok((read, _)) => Read::Torn(read.torn_attempts),
            Err(err @ (ConsumeError::Access(_) | ConsumeError::Segment(_))) => {
                self.cut = self.consumer.as_ref().map(Consumer::identity);
                Read::Lost(err.to_string())
            }
            Err(err) => Read::Failed(message(&err)),
        }
    }
}

/// Reads a frame, hashes its bytes as they stand on the wire, and converts it. There is a hash when it is whole.
fn hashed_read(
    consumer: &mut Consumer,
    hasher: &mut Hasher,
    converted: &mut Converted,
    rows: &mut [u8],
    stride: usize,
) -> Result<(FrameRead, Option<String>), ConsumeError> {
    let (bytes, row) = converted.wire_rows();
    let read = consumer.read(bytes, row)?;
    if !read.whole {
        return Ok((read, None));
    }
    let hash = converted.hash(hasher);
    converted.write(rows, stride)?;
    Ok((read, Some(hash)))
}

/// What is wrong and the way out of it.
fn message(err: &ConsumeError) -> gst::ErrorMessage {
    match err {
        ConsumeError::WrongSize { .. } => gst::error_msg!(
            gst::ResourceError::Settings,
            ("{err}; right would be the sender's own width, height, channels and sample-type")
        ),
        ConsumeError::Segment(err) => segment_message(err),
        _ => gst::error_msg!(gst::ResourceError::OpenRead, ("{err}")),
    }
}

/// What is wrong with a name, and the way out of it.
pub fn segment_message(err: &SegmentError) -> gst::ErrorMessage {
    match err {
        SegmentError::AccessDenied { .. } => gst::error_msg!(
            gst::ResourceError::NotAuthorized,
            ("{err}: one side runs as another user, as administrator or in another session; start both the same way")
        ),
        SegmentError::OtherUser { .. } => gst::error_msg!(
            gst::ResourceError::NotAuthorized,
            ("{err}; run as that user, or set allow-other-user=true")
        ),
        _ => gst::error_msg!(gst::ResourceError::OpenRead, ("{err}")),
    }
}
