// SPDX-License-Identifier: MPL-2.0
//! What the sink says when it has published a buffer.

use tdlink_core::{frame::FrameDesc, segment::SegmentName};

/// The LOP's own limit per side.
const LOP_MAX_SIDE: u32 = 4096;

/// The element message.
pub fn published(name: &SegmentName, desc: &FrameDesc) -> gst::Structure {
    gst::Structure::builder("tdlink-published")
        .field("name", name.as_str())
        .field("protocol", "raw")
        .field("width", desc.width)
        .field("height", desc.height)
        .field("format", desc.format.to_string())
        .build()
}

/// What to type on the other side.
pub fn what_to_type(name: &SegmentName, desc: &FrameDesc, slots: u32) -> String {
    let quoted = name.as_str();
    if slots > 1 {
        return format!("GStreamer: tdshmsrc shm-name={quoted:?}; Python: tdlink.Reader({quoted:?}); {slots} slots");
    }
    format!(
        "Shared Memory LOP: Receive, Buffer Name {name}, {}×{}×{}; Python: SharedMemory(name={quoted:?}), {} bytes",
        desc.width,
        desc.height,
        desc.format.channels,
        desc.bytes().unwrap_or_default()
    )
}

/// Why frames are dropped although all is well with them.
pub fn no_room(name: &SegmentName) -> String {
    format!(
        "a program has the buffer {name} open, which is too small for these frames, and Windows lets no section grow \
         that is open: frames are dropped until that program has let go of it (stop it, or send the former size)"
    )
}

/// What is wrong with the size for TouchDesigner, if anything is.
pub fn too_large(desc: &FrameDesc, slots: u32) -> Option<String> {
    (slots == 1 && desc.width.max(desc.height) > LOP_MAX_SIDE).then(|| {
        format!(
            "{}×{} is more than the Shared Memory LOP takes ({LOP_MAX_SIDE} per side); Python reads it",
            desc.width, desc.height
        )
    })
}
