// SPDX-License-Identifier: MPL-2.0
//! Which buffers are devices, and what is said of them.

use tdlink_core::{
    discover::{self, Found, Look, Protocol, State},
    frame::FrameDesc,
};

use crate::{gstcuda::CAPS_FEATURE, spec, video};

/// A buffer that says what its frames are, and that somebody fills.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Described {
    pub name: String,
    pub protocol: Protocol,
    /// Frames as caps.
    pub caps: String,
    /// Process id of who fills it, where that is known.
    pub pid: Option<u32>,
}

impl Described {
    /// The element that reads it.
    pub fn element(&self) -> &'static str {
        match self.protocol {
            Protocol::CudaLink => "tdcudaipcsrc",
            Protocol::Raw | Protocol::Control | Protocol::Touch => "tdshmsrc",
        }
    }

    /// `protocol` of that element, where it would not find out by itself which of two buffers of one name is meant.
    pub fn protocol_property(&self) -> Option<&'static str> {
        (self.protocol == Protocol::Touch).then_some("touch")
    }
}

/// All of them, in the order of their names.
pub fn all() -> Vec<Described> {
    let mut all: Vec<Described> = discover::all(Look::Segments).iter().filter_map(described).collect();
    all.sort();
    all
}

fn described(found: &Found) -> Option<Described> {
    let alive = matches!(found.state, State::Live | State::Stalled);
    let says = found.protocol() != Protocol::Raw;
    let frame = found.frame.filter(|_| alive && says)?;
    Some(Described {
        name: found.name.clone(),
        protocol: found.protocol(),
        caps: caps(found, frame).to_string(),
        pid: found.producer.as_ref().map(|program| program.pid),
    })
}

/// What its source may push, in the order in which it offers that.
fn caps(found: &Found, frame: FrameDesc) -> gst::Caps {
    let rate = found.framerate.and_then(spec::fraction);
    let of = |formats: &[gst_video::VideoFormat]| {
        let builder = gst_video::VideoCapsBuilder::new().format_list(formats.iter().copied());
        let builder = builder.width(frame.width.cast_signed()).height(frame.height.cast_signed());
        match rate {
            Some(rate) => builder.framerate(rate).build(),
            None => builder.build(),
        }
    };
    let mut caps = gst::Caps::new_empty();
    if found.protocol() == Protocol::CudaLink {
        let mut device = of(&video::device_formats_for(frame.format, false));
        device.make_mut().set_features_simple(Some(gst::CapsFeatures::new([CAPS_FEATURE])));
        caps.merge(device);
    }
    caps.merge(of(&video::formats_for(frame.format)));
    caps
}
