// SPDX-License-Identifier: MPL-2.0
//! The properties of `tdcudaipcsink`, and what they make of caps.

use gst::{glib, prelude::*};
use gst_video::VideoInfo;
use tdlink_core::{
    frame::{Fourth, FrameDesc, PixelFormat, SampleType},
    segment::CreateOptions,
};

use crate::{
    cudaproperties,
    enums::{CudaChannelOrder, CudaOrigin, SinkSampleType},
    video,
};

/// What TouchDesigner's receiver listens to when nobody has changed it.
const DEFAULT_NAME: &str = "cudalink_ipc_Python>>TD";

/// Values of the properties.
#[derive(Debug, Clone)]
pub struct Settings {
    pub shm_name: String,
    pub slots: u32,
    /// −1: the pipeline's, else the first.
    pub device: i32,
    pub origin: CudaOrigin,
    pub sample_type: SinkSampleType,
    /// 0: the caps'.
    pub channels: u8,
    pub channel_order: CudaChannelOrder,
    /// Flags on the wire stay 0, for readers before cuda-link 1.8.
    pub legacy_flags: bool,
    /// A copy is done before its frame is published.
    pub export_sync: bool,
    pub takeover: bool,
    pub perms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shm_name: DEFAULT_NAME.into(),
            slots: 3,
            device: -1,
            origin: CudaOrigin::default(),
            sample_type: SinkSampleType::Auto,
            channels: 0,
            channel_order: CudaChannelOrder::default(),
            legacy_flags: false,
            export_sync: false,
            takeover: false,
            perms: 0o600,
        }
    }
}

impl Settings {
    /// The specifications of all properties.
    pub fn param_specs() -> Vec<glib::ParamSpec> {
        let d = Self::default();
        let flag = |name: &str, nick: &str, blurb: &str, default: bool| {
            glib::ParamSpecBoolean::builder(name).nick(nick).blurb(blurb).default_value(default).mutable_ready().build()
        };
        vec![
            cudaproperties::shm_name(&d.shm_name, "TouchDesigner's receiver listens to"),
            glib::ParamSpecInt::builder("slots")
                .nick("Slots")
                .blurb("Frames in the ring, each in device memory; a reader has slots − 2 frames of time to copy one")
                .minimum(2)
                .maximum(10)
                .default_value(d.slots.cast_signed())
                .mutable_ready()
                .build(),
            cudaproperties::device("the first"),
            glib::ParamSpecEnum::builder_with_default("origin", d.origin)
                .nick("Origin")
                .blurb("Where row 0 stands on the wire")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("sample-type", d.sample_type)
                .nick("Sample type")
                .blurb("Type of one sample on the wire; auto: that of the caps, 16 bits where those have 10")
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("channels")
                .nick("Channels")
                .blurb("Components per pixel on the wire; 0: the caps', 4 for NV12 and P010_10LE; 1: R, 2: R and G, 3: R, G, B")
                .minimum(0)
                .maximum(4)
                .default_value(d.channels.into())
                .mutable_ready()
                .build(),
            cudaproperties::channel_order(),
            flag("legacy-flags", "Legacy flags", "Write 0 for flags: readers before cuda-link 1.8 take any flag for another format", d.legacy_flags),
            flag("export-sync", "Export sync", "Publish a frame when its copy is done, not when it is queued, for readers that do not wait for the event", d.export_sync),
            flag("takeover", "Take over", "Take the name from a live producer; a stale one is always taken over", d.takeover),
            glib::ParamSpecUInt::builder("perms")
                .nick("Permissions")
                .blurb("POSIX mode of what is created, whatever the umask; octal with a leading 0, as in 0600")
                .maximum(0o777)
                .default_value(d.perms)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb("frames, frames-copied, frames-zero-copy (none: each frame is copied into the ring), dropped, clients (none: cuda-link's readers do not say that they are there), and the base class's average-rate and rendered")
                .read_only()
                .build(),
        ]
    }

    /// Takes `value` if `name` is one of these properties.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        // GObject has checked each value against its specification before it calls us.
        match name {
            "shm-name" => self.shm_name = value.get::<Option<String>>().expect("checked").unwrap_or_default(),
            "slots" => self.slots = value.get::<i32>().expect("checked").cast_unsigned(),
            "cuda-device-id" => self.device = value.get().expect("checked"),
            "origin" => self.origin = value.get().expect("checked"),
            "sample-type" => self.sample_type = value.get().expect("checked"),
            "channels" => self.channels = value.get::<i32>().expect("checked").to_le_bytes()[0],
            "channel-order" => self.channel_order = value.get().expect("checked"),
            "legacy-flags" => self.legacy_flags = value.get().expect("checked"),
            "export-sync" => self.export_sync = value.get().expect("checked"),
            "takeover" => self.takeover = value.get().expect("checked"),
            "perms" => self.perms = value.get().expect("checked"),
            _ => return false,
        }
        true
    }

    /// The value of `name` if it is one of these properties.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "shm-name" => self.shm_name.to_value(),
            "slots" => self.slots.cast_signed().to_value(),
            "cuda-device-id" => self.device.to_value(),
            "origin" => self.origin.to_value(),
            "sample-type" => self.sample_type.to_value(),
            "channels" => i32::from(self.channels).to_value(),
            "channel-order" => self.channel_order.to_value(),
            "legacy-flags" => self.legacy_flags.to_value(),
            "export-sync" => self.export_sync.to_value(),
            "takeover" => self.takeover.to_value(),
            "perms" => self.perms.to_value(),
            _ => return None,
        })
    }

    /// How the control segment is created.
    pub fn create_options(&self) -> CreateOptions {
        CreateOptions { mode: self.perms, takeover: self.takeover, allow_other_user: false }
    }

    /// The frame on the wire for these caps.
    pub fn desc(&self, info: &VideoInfo) -> FrameDesc {
        let (sample, channels) = match video::pixel_format(info.format()) {
            Some(pixel) => (pixel.sample, pixel.channels),
            // What only the device has: luma and chroma, or 10 bits of each.
            None if info.comp_depth(0) > 8 => (SampleType::U16, 4),
            None => (SampleType::U8, 4),
        };
        let sample = self.sample_type.or(sample);
        let channels = if self.channels == 0 { channels } else { self.channels };
        // Nobody says on the wire that the fourth component is padding: it is written as maximum.
        let (order, fourth) = (self.channel_order.of(sample, channels), Fourth::Alpha);
        let format = PixelFormat { sample, channels, order, fourth };
        FrameDesc { width: info.width(), height: info.height(), format, origin: self.origin.into() }
    }
}
