// SPDX-License-Identifier: MPL-2.0
//! The properties of `tdshmsink`, and what they make of caps.

use gst::{glib, prelude::*};
use gst_video::VideoInfo;
use std::time::Duration;
use tdlink_core::{
    frame::{self, FrameDesc, PixelFormat},
    protocol::{
        control::{self, FrameSpec, MAX_SLOTS, ProducerOptions},
        copy::CopyThreads,
        touch::{self, Colour},
    },
    segment::CreateOptions,
};

use crate::{
    enums::{Delivery, SinkChannelOrder, SinkOrigin, SinkProtocol, SinkSampleType, TouchHeader},
    spec,
};

/// Values of the properties.
#[derive(Debug, Clone)]
pub struct Settings {
    pub shm_name: String,
    pub protocol: SinkProtocol,
    /// 1: raw bytes under the name; more: a ring.
    pub slots: u32,
    /// The header of touch.
    pub touch_header: TouchHeader,
    /// Whether a control segment stands beside the pixels; `None`: nobody has said.
    pub control: Option<bool>,
    pub delivery: Delivery,
    /// 0: never.
    pub lossless_timeout_ms: u32,
    /// 0: as many as help.
    pub copy_threads: u32,
    pub origin: SinkOrigin,
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
            slots: 1,
            touch_header: TouchHeader::VulkanV1,
            control: None,
            delivery: Delivery::Latest,
            lossless_timeout_ms: 2000,
            copy_threads: 0,
            origin: SinkOrigin::Auto,
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
                .blurb("Name of the buffer: the LOP's Buffer Name, Python's SharedMemory(name=…), the TOP's Shared Mem Name. Required")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("protocol", d.protocol)
                .nick("Protocol")
                .blurb("What is written")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("touch-header", d.touch_header)
                .nick("Touch header")
                .blurb("Generation of the header that protocol=touch writes")
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("slots")
                .nick("Slots")
                .blurb("1: raw bytes that the LOP and Python read; more: a ring for GStreamer and for programs that read the control segment, never torn, and from 3 on without a copy")
                .minimum(1)
                .maximum(MAX_SLOTS.cast_signed())
                .default_value(d.slots.cast_signed())
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("control")
                .nick("Control segment")
                .blurb("Publish NAME.tdlink beside the pixels: caps, times and a wake-up for readers that know it (protocol=touch has none)")
                .default_value(true)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("delivery", d.delivery)
                .nick("Delivery")
                .blurb("Whether frames are left out for readers that are too slow; lossless needs a ring")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("lossless-timeout")
                .nick("Lossless timeout")
                .blurb("Milliseconds after which a lossless sink goes on without a reader that takes nothing; 0: never")
                .default_value(d.lossless_timeout_ms)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("copy-threads")
                .nick("Copy threads")
                .blurb("Threads that copy a frame of several megabytes; 0: two where there are two processors or more")
                .maximum(16)
                .default_value(d.copy_threads)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("origin", d.origin)
                .nick("Origin")
                .blurb("Where row 0 stands on the wire; auto: bottom-left for slots=1 and touch, as TouchDesigner has it, top-left for a ring")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("sample-type", d.sample_type)
                .nick("Sample type")
                .blurb("Type of one sample on the wire")
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("channels")
                .nick("Channels")
                .blurb("Components per pixel on the wire; 0: the caps', for touch 4 instead of 3; 1: R, 2: R and G, 3: R, G, B")
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
                .blurb("Take the name from a live producer; a stale one is always taken over (touch: once its receivers have let go)")
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
            glib::ParamSpecUInt::builder("num-clients")
                .nick("Number of clients")
                .blurb("Readers of the control segment")
                .read_only()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb("frames (dropped ones too), frames-copied, frames-zero-copy, dropped, clients, and the base class's average-rate and rendered")
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
            "slots" => self.slots = value.get::<i32>().expect("checked").cast_unsigned(),
            "touch-header" => self.touch_header = value.get().expect("checked"),
            "control" => self.control = Some(value.get().expect("checked")),
            "delivery" => self.delivery = value.get().expect("checked"),
            "lossless-timeout" => self.lossless_timeout_ms = value.get().expect("checked"),
            "copy-threads" => self.copy_threads = value.get().expect("checked"),
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
            "slots" => self.slots.cast_signed().to_value(),
            "touch-header" => self.touch_header.to_value(),
            "control" => self.control.unwrap_or(true).to_value(),
            "delivery" => self.delivery.to_value(),
            "lossless-timeout" => self.lossless_timeout_ms.to_value(),
            "copy-threads" => self.copy_threads.to_value(),
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

    /// Says what is wrong between these values, if anything is.
    pub fn check(&self) -> Result<(), gst::ErrorMessage> {
        let wrong = if self.is_touch() && cfg!(target_os = "macos") {
            "protocol=touch: TouchDesigner's Shared Mem TOPs are not supported on macOS; right would be protocol=raw with the Shared Memory LOP".to_string()
        } else if self.is_touch() && self.control == Some(true) {
            "control=true with protocol=touch: what a Shared Mem In TOP reads has its own header, and no control segment; right would be control=false, or protocol=raw".to_string()
        } else if self.is_touch() && self.slots > 1 {
            format!(
                "slots={} with protocol=touch: a Shared Mem In TOP reads one picture; right would be slots=1",
                self.slots
            )
        } else if self.is_touch() && self.channels == 3 {
            "channels=3 with protocol=touch: Shared Mem TOPs know no pixels of three components; right would be channels=4".to_string()
        } else if self.slots > 1 && !self.has_control() {
            format!(
                "control=false with slots={}: a ring is found by its control segment; right would be control=true, or slots=1",
                self.slots
            )
        } else if self.is_lossless() && !self.is_ring() {
            "delivery=lossless with slots=1: one slot cannot keep a frame that somebody has yet to take; right would be slots=4".to_string()
        } else {
            return Ok(());
        };
        Err(gst::error_msg!(gst::ResourceError::Settings, ("{wrong}")))
    }

    fn is_ring(&self) -> bool {
        self.slots > 1
    }

    /// Whether Shared Mem TOPs are spoken to.
    pub fn is_touch(&self) -> bool {
        self.protocol == SinkProtocol::Touch
    }

    /// Whether a control segment stands beside the pixels.
    pub fn has_control(&self) -> bool {
        !self.is_touch() && self.control.unwrap_or(true)
    }

    /// Whether no frame may be left out.
    pub fn is_lossless(&self) -> bool {
        self.delivery == Delivery::Lossless
    }

    /// How long to wait for a reader that takes nothing; `None`: for ever.
    pub fn lossless_timeout(&self) -> Option<Duration> {
        (self.lossless_timeout_ms > 0).then(|| Duration::from_millis(self.lossless_timeout_ms.into()))
    }

    /// How frames are offered with a control segment.
    pub fn producer_options(&self, create: CreateOptions) -> ProducerOptions {
        let delivery = if self.is_lossless() { control::Delivery::Lossless } else { control::Delivery::Latest };
        ProducerOptions { slots: self.slots, delivery, lossless_timeout: self.lossless_timeout(), create }
    }

    /// How frames are offered to Shared Mem TOPs.
    pub fn touch_options(&self, spec: &FrameSpec, threads: CopyThreads) -> touch::ProducerOptions {
        let (aspect, colour) = touch_extras(spec);
        let known = matches!((spec.colorimetry.primaries, spec.colorimetry.transfer), (1 | 2, 8 | 13 | 2));
        if self.touch_header == TouchHeader::VulkanV2 && !known {
            tracing::warn!("the header says Rec. 709 and sRGB: no other numbers are known, {:?}", spec.colorimetry);
        }
        touch::ProducerOptions {
            header: self.touch_header.into(),
            aspect,
            colour,
            create: self.create_options(),
            threads,
        }
    }

    /// The frame on the wire for these caps, whose pixels are `from`.
    pub fn desc(&self, info: &VideoInfo, from: PixelFormat) -> FrameDesc {
        let ring = self.is_ring();
        let sample = self.sample_type.or(from.sample);
        let channels = match self.channels {
            // There is no number for three.
            0 if self.is_touch() && from.channels == 3 => 4,
            0 => from.channels,
            channels => channels,
        };
        let order = match self.protocol {
            _ if ring => from.order,
            // What TouchDesigner's own textures of 8 bits are.
            SinkProtocol::Touch if sample == frame::SampleType::U8 && channels == 4 => frame::ChannelOrder::Bgra,
            SinkProtocol::Touch | SinkProtocol::Raw => frame::ChannelOrder::Rgba,
        };
        let format = PixelFormat {
            sample,
            channels,
            // With one or two components both orders are the same bytes, and the header knows one.
            order: if self.is_touch() && channels < 3 { order } else { self.channel_order.or(order) },
            // Raw bytes have nobody to say that the fourth component is padding: it is written as maximum.
            fourth: if ring { from.fourth } else { frame::Fourth::Alpha },
        };
        let origin = self.origin.or(if ring { frame::Origin::TopLeft } else { frame::Origin::BottomLeft });
        FrameDesc { width: info.width(), height: info.height(), format, origin }
    }

    /// Whether frames lie in slots as they lie in GStreamer's memory, so that they can be made there.
    pub fn is_direct(&self, desc: FrameDesc, from: PixelFormat) -> bool {
        self.is_ring() && desc.format == from && desc.origin == frame::Origin::TopLeft
    }

    /// All that the control segment says of frames of these caps.
    pub fn spec(&self, caps: &gst::CapsRef, info: &VideoInfo, from: PixelFormat, desc: FrameDesc) -> FrameSpec {
        let mut spec = spec::of(caps, info, from, desc);
        if self.is_direct(desc, from) {
            // GStreamer's rows may be padded.
            spec.stride = info.stride()[0].unsigned_abs();
        }
        spec
    }
}

/// What a header says of frames beside their size and pixels.
pub fn touch_extras(spec: &FrameSpec) -> ([f32; 2], Colour) {
    let aspect = spec.pixel_aspect;
    // H.273: 8 is linear. Nothing else than that and sRGB is known to have a number, nor are other primaries.
    let transfer = if spec.colorimetry.transfer == 8 { Colour::LINEAR } else { Colour::SRGB_TRANSFER };
    ([aspect.num as f32, aspect.den as f32], Colour { primaries: Colour::REC709, transfer })
}
