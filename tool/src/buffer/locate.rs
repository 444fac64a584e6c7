// SPDX-License-Identifier: MPL-2.0
//! From a name and what the user says of its geometry to the one buffer that is meant.

use tdlink_core::discover::{Detail, Found, Look, Protocol, State, all, named};
use tdlink_core::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use tdlink_core::segment::{Listed, SegmentName, nearest};

use crate::cli::Geometry;
use crate::failure::Failure;

/// The buffer under a name: that with a control segment, else a TOP's, else what there is.
pub fn find(name: &str, look: Look) -> Result<Found, Failure> {
    let mut found = named(name, look);
    found.sort_by_key(|found| {
        let rank = match found.protocol() {
            Protocol::Control => 0,
            Protocol::Touch => 1,
            Protocol::CudaLink => 2,
            Protocol::Raw => 3,
        };
        (found.state == State::Stale, rank)
    });
    found.into_iter().next().ok_or_else(|| missing(name))
}

/// Nothing stands under the name: what was looked for, and what there is.
fn missing(name: &str) -> Failure {
    let there = all(Look::Segments);
    let listed: Vec<Listed> = there
        .iter()
        .filter_map(|found| {
            let name = SegmentName::new(&found.name).ok()?;
            Some(Listed { name, len: found.bytes, uid: found.uid, writable: false })
        })
        .collect();
    let meant = SegmentName::new(name).ok().and_then(|wanted| Some(nearest(&wanted, &listed)?.name.to_string()));
    let rest = match (meant, there.len()) {
        (Some(meant), _) => format!("did you mean {meant:?}?"),
        (None, 0) => "there is none at all; `tdlink testcard --to NAME` makes one".to_owned(),
        (None, _) => {
            let names: Vec<String> = there.iter().take(8).map(|found| format!("{:?}", found.name)).collect();
            format!("there are {}", names.join(", "))
        }
    };
    Failure::NotFound(format!(
        "there is no buffer {name:?}: neither {name:?} nor {:?} nor {:?} exists; {rest}",
        format!("{name}.tdlink"),
        format!("TouchSHM{name}")
    ))
}

impl Geometry {
    /// Whether the user said anything.
    pub fn is_empty(&self) -> bool {
        let Self { width, height, channels, sample_type, channel_order, origin } = self;
        width.is_none()
            && height.is_none()
            && channels.is_none()
            && sample_type.is_none()
            && channel_order.is_none()
            && origin.is_none()
    }

    /// The frame of headerless bytes, from what the user says; what is left out is 4 components of 8 bits, RGBA, bottom
    /// row first, as TouchDesigner's LOP has it.
    pub fn of_raw(&self, name: &str, bytes: u64) -> Result<FrameDesc, Failure> {
        let (Some(width), Some(height)) = (self.width, self.height) else {
            return Err(Failure::Usage(format!(
                "{name:?} is {bytes} bytes without a header: say --width and --height (and --channels, --sample-type if \
                 they are not 4 and u8); `tdlink info {name}` proposes some"
            )));
        };
        let sample = self.sample_type.map_or(SampleType::U8, Into::into);
        let order = self.channel_order.map_or(ChannelOrder::Rgba, Into::into);
        let channels = self.channels.unwrap_or(4);
        let format = PixelFormat::new(sample, channels, order)
            .ok_or_else(|| Failure::Usage(format!("--channels is {channels}; 1 to 4 can be")))?;
        let origin = self.origin.map_or(Origin::BottomLeft, Into::into);
        let desc = FrameDesc { width, height, format, origin };
        match desc.bytes() {
            Some(needed) if needed as u64 <= bytes => Ok(desc),
            needed => Err(Failure::Usage(format!(
                "{desc} takes {} bytes, but {name:?} has {bytes}; `tdlink info {name}` proposes geometries that fit",
                needed.map_or("too many".to_owned(), |needed| needed.to_string()),
            ))),
        }
    }

    /// The frame of `found`: what its header says, but for what the user says against it.
    pub fn of(&self, found: &Found) -> Result<FrameDesc, Failure> {
        let Some(frame) = found.frame else {
            return match &found.detail {
                Detail::Raw => self.of_raw(&found.name, found.bytes),
                _ if found.trouble.is_empty() => Err(Failure::Failed(format!(
                    "{:?} holds {}, which no command here can read",
                    found.name,
                    found.pixels.as_deref().unwrap_or("pixels")
                ))),
                _ => Err(Failure::Failed(format!("{:?}: {}", found.name, found.trouble.join(" ")))),
            };
        };
        if self.width.is_some_and(|width| width != frame.width)
            || self.height.is_some_and(|height| height != frame.height)
        {
            return Err(Failure::Usage(format!(
                "{:?} says itself that it is {}×{}; leave --width and --height out",
                found.name, frame.width, frame.height
            )));
        }
        let mut format = frame.format;
        if let Some(order) = self.channel_order {
            format.order = order.into();
        }
        Ok(FrameDesc { format, origin: self.origin.map_or(frame.origin, Into::into), ..frame })
    }
}
