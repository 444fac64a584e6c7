// SPDX-License-Identifier: MPL-2.0
//! The properties of `tdshmsink`, and what they make of caps.

use gst::{glib, prelude::*};
use gst_video::VideoInfo;
use tdlink_core::{
    frame::{self, FrameDesc, PixelFormat},
    protocol::raw::RawLayout,
    segment::CreateOptions,
};

use crate::enums::{Origin, SinkChannelOrder, SinkProtocol, SinkSampleType};

/// Values of the properties.
#[derive(Debug, Clone)]
pub struct Settings {
    pub shm_name: String,
    pub protocol: SinkProtocol,
    pub origin: Origin,
    pub sample_type: SinkSampleType,
    /// 0: the caps'.
    pub channels: u8,
    pub channel_order: SinkChannelOrder,
    pub takeover: bool,
    pub perms: u32,
    pub allow_other_user: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shm_name: String::new(),
            protocol: SinkProtocol::Raw,
            origin: Origin::Auto,
            sample_type: SinkSampleType::Auto,
            channels: 0,
            channel_order: SinkChannelOrder::Auto,
            takeover: false,
            perms: 0o600,
            allow_other_user: false,
        }
    }
}

impl Settings {
    /// The specifications of all properties.
    pub fn param_specs() -> Vec<glib::ParamSpec> {
        let d = Self::default();
        vec![
            glib::ParamSpecString::builder("shm-name")
                .nick("Shared memory name")
                .blurb("Name of the buffer: the LOP's Buffer Name, Python's SharedMemory(name=…). Required")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("protocol", d.protocol)
                .nick("Protocol")
                .blurb("What is written")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("origin", d.origin)
                .nick("Origin")
                .blurb("Where row 0 stands on the wire; auto: bottom-left, as TouchDesigner has it")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("sample-type", d.sample_type)
                .nick("Sample type")
                .blurb("Type of one sample on the wire")
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("channels")
                .nick("Channels")
                .blurb("Components per pixel on the wire; 0: the caps'; 1: R, 2: R and G, 3: R, G, B")
                .minimum(0)
                .maximum(4)
                .default_value(d.channels.into())
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("channel-order", d.channel_order)
                .nick("Channel order")
                .blurb("Order of colour components on the wire")
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("takeover")
                .nick("Take over")
                .blurb("Take the name from a live producer; a stale one is always taken over")
                .default_value(d.takeover)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("perms")
                .nick("Permissions")
                .blurb("POSIX mode of what is created, whatever the umask; octal with a leading 0, as in 0600")
                .maximum(0o777)
                .default_value(d.perms)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("allow-other-user")
                .nick("Allow other user")
                .blurb("Use a buffer that another user owns")
                .default_value(d.allow_other_user)
                .mutable_ready()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb("frames, frames-copied, and the base class's average-rate, dropped and rendered")
                .read_only()
                .build(),
        ]
    }

    /// Takes `value` if `name` is one of these properties.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        // GObject has checked each value against its specification before it calls us.
        match name {
            "shm-name" => self.shm_name = value.get::<Option<String>>().expect("checked").unwrap_or_default(),
            "protocol" => self.protocol = value.get().expect("checked"),
            "origin" => self.origin = value.get().expect("checked"),
            "sample-type" => self.sample_type = value.get().expect("checked"),
            "channels" => self.channels = value.get::<i32>().expect("checked").to_le_bytes()[0],
            "channel-order" => self.channel_order = value.get().expect("checked"),
            "takeover" => self.takeover = value.get().expect("checked"),
            "perms" => self.perms = value.get().expect("checked"),
            "allow-other-user" => self.allow_other_user = value.get().expect("checked"),
            _ => return false,
        }
        true
    }

    /// The value of `name` if it is one of these properties.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "shm-name" => self.shm_name.to_value(),
            "protocol" => self.protocol.to_value(),
            "origin" => self.origin.to_value(),
            "sample-type" => self.sample_type.to_value(),
            "channels" => i32::from(self.channels).to_value(),
            "channel-order" => self.channel_order.to_value(),
            "takeover" => self.takeover.to_value(),
            "perms" => self.perms.to_value(),
            "allow-other-user" => self.allow_other_user.to_value(),
            _ => return None,
        })
    }

    /// How the buffer is created.
    pub fn create_options(&self) -> CreateOptions {
        CreateOptions { mode: self.perms, takeover: self.takeover, allow_other_user: self.allow_other_user }
    }

    /// The frame on the wire for these caps, whose pixels are `from`.
    pub fn layout(&self, info: &VideoInfo, from: PixelFormat) -> RawLayout {
        let format = PixelFormat {
            sample: self.sample_type.or(from.sample),
            channels: if self.channels == 0 { from.channels } else { self.channels },
            order: self.channel_order.or(frame::ChannelOrder::Rgba),
            fourth: frame::Fourth::Alpha,
        };
        let origin = self.origin.or(frame::Origin::BottomLeft);
        RawLayout { desc: FrameDesc { width: info.width(), height: info.height(), format, origin }, offset: 0 }
    }
}
