// SPDX-License-Identifier: MPL-2.0
//! Which buffers are devices, and what is said of them.

use std::collections::HashSet;

use tdlink_core::{
    discover::{self, Found, Look, Protocol, State},
    frame::FrameDesc,
    segment::Identity,
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

    /// `protocol` of that element, where it has one: an element that read another buffer before must not keep that one's.
    pub fn protocol_property(&self) -> Option<&'static str> {
        match self.protocol {
            Protocol::CudaLink => None,
            Protocol::Touch => Some("touch"),
            Protocol::Raw | Protocol::Control => Some("auto"),
        }
    }
}

/// Objects that producers of ours were seen to hold. What of cuda-link's is held no more has lost its producer, whoever
/// else has it open; what never was may be another program's.
pub type Held = HashSet<(String, Identity)>;

/// All of them, in the order of their names.
pub fn all(held: &mut Held) -> Vec<Described> {
    let mut found = discover::all(Look::Segments);
    found.retain(|found| is_ours(found) && described(found).is_some());
    // A control segment's producer holds a lock, which goes with it, and so does ours of cuda-link's. What a killed one of
    // the others leaves looks as ever, and only the processes that have it open tell.
    let says_itself = |found: &Found| found.protocol() == Protocol::Control || found.is_held() == Some(true);
    if cfg!(target_os = "linux") && !found.iter().all(says_itself) {
        found = discover::all(Look::Processes);
        found.retain(|found| is_ours(found) && (says_itself(found) || found.is_written()));
    }
    let key = |found: &Found| Some((found.name.clone(), found.identity()?));
    found.retain(|found| found.is_held() == Some(true) || key(found).is_none_or(|key| !held.contains(&key)));
    *held = found.iter().filter(|found| found.is_held() == Some(true)).filter_map(key).collect();
    let mut all: Vec<Described> = found.iter().filter_map(described).collect();
    all.sort();
    all
}

/// Whether the sources would open it: not another user's, unless they are told to.
#[cfg(target_os = "linux")]
fn is_ours(found: &Found) -> bool {
    found.uid == tdlink_core::segment::user_id()
}

/// A session's sections are its user's.
#[cfg(not(target_os = "linux"))]
const fn is_ours(_: &Found) -> bool {
    true
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
