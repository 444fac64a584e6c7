// SPDX-License-Identifier: MPL-2.0
//! What the sink says when it has published a buffer.

use tdlink_core::{
    frame::FrameDesc,
    protocol::touch::TouchNames,
    segment::{NamedMutex, SegmentName},
};

use super::settings::Settings;

/// The LOP's own limit per side.
const LOP_MAX_SIDE: u32 = 4096;

/// The element message.
pub fn published(name: &SegmentName, desc: &FrameDesc, settings: &Settings) -> gst::Structure {
    gst::Structure::builder("tdlink-published")
        .field("name", name.as_str())
        .field("protocol", if settings.is_touch() { "touch" } else { "raw" })
        .field("width", desc.width)
        .field("height", desc.height)
        .field("format", desc.format.to_string())
        .build()
}

/// What to type on the other side.
pub fn what_to_type(name: &SegmentName, desc: &FrameDesc, settings: &Settings) -> String {
    let (quoted, slots) = (name.as_str(), settings.slots);
    if settings.is_touch() {
        let typed = TouchNames::new(quoted).map_or_else(|_| quoted.to_owned(), |names| names.typed().to_owned());
        return format!(
            "Shared Mem In TOP: Shared Mem Name {typed}, Shared Mem Type Local; GStreamer: tdshmsrc shm-name={typed:?}"
        );
    }
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
pub fn too_large(desc: &FrameDesc, settings: &Settings) -> Option<String> {
    (settings.slots == 1 && !settings.is_touch() && desc.width.max(desc.height) > LOP_MAX_SIDE).then(|| {
        format!(
            "{}×{} is more than the Shared Memory LOP takes ({LOP_MAX_SIDE} per side); Python reads it",
            desc.width, desc.height
        )
    })
}

/// Whether a TOP waits that will never see these bytes.
pub fn other_protocol(name: &SegmentName, settings: &Settings) -> Option<String> {
    let names = TouchNames::new(name.as_str()).ok().filter(|_| !settings.is_touch())?;
    // Where there are no such mutexes nobody waits at one.
    let waits = NamedMutex::exists(names.mutex()).unwrap_or(false);
    waits.then(|| {
        format!(
            "a Shared Mem TOP has the name {:?} open: it reads what protocol=touch writes; raw bytes are for the Shared Memory LOP and Python",
            names.typed()
        )
    })
}
