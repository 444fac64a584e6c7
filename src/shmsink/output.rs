// SPDX-License-Identifier: MPL-2.0
//! Frames of a pipeline on their way to a raw buffer.

use gst_video::{VideoInfo, prelude::*};
use tdlink_core::{
    frame::{FrameDesc, PixelFormat},
    pixels,
    protocol::{
        copy::CopyThreads,
        raw::{ProduceError, Producer, RawLayout},
    },
    segment::{AccessError, Published, SegmentError, SegmentName},
};

use super::settings::Settings;
use crate::video;

/// A name, and from the first caps on the buffer under it.
#[derive(Debug)]
pub struct Output {
    name: SegmentName,
    settings: Settings,
    buffer: Option<Buffer>,
}

#[derive(Debug)]
struct Buffer {
    info: VideoInfo,
    from: PixelFormat,
    layout: RawLayout,
    producer: Producer,
    /// No frame has been written yet.
    blank: bool,
}

/// Why a frame does not reach the buffer.
#[derive(Debug)]
pub enum Trouble {
    /// The buffer.
    Produce(ProduceError),
    /// Another producer has the name.
    Taken(SegmentName),
    /// The frame: upstream sent something else than its caps say.
    Frame(gst::ErrorMessage),
    /// Frames before caps.
    NoCaps,
}

impl From<ProduceError> for Trouble {
    fn from(err: ProduceError) -> Self {
        Self::Produce(err)
    }
}

impl Output {
    /// Nothing is published yet.
    pub fn new(name: SegmentName, settings: Settings) -> Self {
        Self { name, settings, buffer: None }
    }

    /// The buffer's name.
    pub fn name(&self) -> &SegmentName {
        &self.name
    }

    /// What stands in the buffer.
    pub fn desc(&self) -> Option<FrameDesc> {
        self.buffer.as_ref().map(|buffer| buffer.layout.desc)
    }

    /// Whether there is a buffer without a frame in it.
    pub fn is_blank(&self) -> bool {
        self.buffer.as_ref().is_some_and(|buffer| buffer.blank)
    }

    /// Makes the buffer for frames of `info`, whose pixels are `from`, or publishes another one under the same name.
    /// Gives its description when it is another one than before.
    pub fn publish(&mut self, info: VideoInfo, from: PixelFormat) -> Result<Option<FrameDesc>, Trouble> {
        let layout = self.settings.layout(&info, from);
        if let Some(buffer) = &mut self.buffer {
            let same = buffer.layout == layout;
            if !same || buffer.from != from {
                buffer.producer.set_layout(layout, from)?;
            }
            (buffer.info, buffer.from, buffer.layout) = (info, from, layout);
            buffer.blank |= !same;
            return Ok((!same).then_some(layout.desc));
        }
        let options = self.settings.create_options();
        let producer =
            Producer::create(&self.name, layout, from, pixels::Options::default(), &options, CopyThreads::new(0))?;
        tracing::info!("{}: {:?}", self.name, producer.acquired());
        self.buffer = Some(Buffer { info, from, layout, producer, blank: true });
        Ok(Some(layout.desc))
    }

    /// Writes a frame, in one pass from its rows to the wire's. Says what had become of the name before.
    pub fn write(&mut self, frame: &gst::BufferRef) -> Result<Published, Trouble> {
        let Buffer { info, from, layout, producer, blank } = self.buffer.as_mut().ok_or(Trouble::NoCaps)?;
        let mut published = producer.tend()?;
        if published == Published::TakenByOther {
            return Err(Trouble::Taken(self.name.clone()));
        }
        let unmapped = || Trouble::Frame(video::unmapped(frame, info));
        let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(frame, info).map_err(|_| unmapped())?;
        let stride = usize::try_from(mapped.plane_stride()[0]).map_err(|_| unmapped())?;
        let rows = mapped.plane_data(0).map_err(|_| unmapped())?;
        match producer.write(rows, stride) {
            // A reader has cut the buffer short: the next one is whole.
            Err(ProduceError::Access(AccessError::Truncated { .. })) => {
                producer.set_layout(*layout, *from)?;
                producer.write(rows, stride)?;
                published = Published::Recreated;
            }
            written => written?,
        }
        *blank = false;
        Ok(published)
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Produce(err) => write!(f, "{err}{}", way_out(err)),
            Self::Taken(name) => write!(
                f,
                "another producer has taken the name {:?}: two producers on one name; stop one of them or give it another shm-name",
                name.as_str()
            ),
            Self::Frame(message) => write!(f, "{message}"),
            Self::NoCaps => f.write_str("a frame came before its caps"),
        }
    }
}

impl From<Trouble> for gst::ErrorMessage {
    fn from(trouble: Trouble) -> Self {
        use gst::ResourceError::{Busy, NoSpaceLeft, NotAuthorized, Write};
        let kind = match &trouble {
            Trouble::Frame(_) => Write,
            Trouble::NoCaps => return gst::error_msg!(gst::CoreError::Negotiation, ("{trouble}")),
            Trouble::Taken(_) => Busy,
            Trouble::Produce(ProduceError::Segment(err)) => match err {
                SegmentError::LiveProducer { .. } | SegmentError::InUse { .. } => Busy,
                SegmentError::NoSpace { .. } => NoSpaceLeft,
                SegmentError::AccessDenied { .. } | SegmentError::OtherUser { .. } => NotAuthorized,
                _ => Write,
            },
            Trouble::Produce(_) => Write,
        };
        match trouble {
            Trouble::Frame(message) => message,
            trouble => gst::error_msg!(kind, ("{trouble}")),
        }
    }
}

/// What the user can do about it.
fn way_out(err: &ProduceError) -> &'static str {
    let ProduceError::Segment(err) = err else { return "" };
    match err {
        SegmentError::LiveProducer { .. } => "; stop that producer, choose another shm-name, or set takeover=true",
        SegmentError::InUse { .. } => {
            "; stop those processes, choose another shm-name, or send the size that they expect"
        }
        SegmentError::OtherUser { .. } => "; run as that user, or set allow-other-user=true",
        SegmentError::NoSpace { .. } => "; make /dev/shm larger (docker: --shm-size), or send smaller frames",
        _ => "",
    }
}
