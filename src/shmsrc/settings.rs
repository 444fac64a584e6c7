// SPDX-License-Identifier: MPL-2.0
//! The properties of `tdshmsrc` that are its own.

use gst::{glib, prelude::*};

use crate::{
    enums::{ChangeDetection, IoMode, SrcChannelOrder, SrcProtocol, SrcSampleType},
    live::LiveSettings,
};

/// Longest side of a picture that we map, in pixels.
pub const MAX_SIDE: i32 = 32_768;

/// Values of the properties.
#[derive(Debug, Clone)]
pub struct Settings {
    pub shm_name: String,
    pub protocol: SrcProtocol,
    /// 0: from downstream's caps.
    pub width: u32,
    /// 0: from downstream's caps.
    pub height: u32,
    /// 0: from downstream's caps.
    pub channels: u8,
    /// `None`: not set, so downstream's caps may say.
    pub sample_type: Option<SrcSampleType>,
    /// `None`: not set, so downstream's caps may say.
    pub channel_order: Option<SrcChannelOrder>,
    /// Bytes of a foreign header to skip.
    pub offset: u64,
    pub lock_timeout_ms: u32,
    pub change_detection: ChangeDetection,
    pub skip_unchanged: bool,
    pub io_mode: IoMode,
    pub allow_other_user: bool,
    pub live: LiveSettings,
}

/// Default of `lock-timeout`.
const LOCK_TIMEOUT_MS: u32 = 20;

impl Default for Settings {
    fn default() -> Self {
        Self {
            shm_name: String::new(),
            protocol: SrcProtocol::default(),
            width: 0,
            height: 0,
            channels: 0,
            sample_type: None,
            channel_order: None,
            offset: 0,
            lock_timeout_ms: LOCK_TIMEOUT_MS,
            change_detection: ChangeDetection::default(),
            skip_unchanged: false,
            io_mode: IoMode::default(),
            allow_other_user: false,
            live: LiveSettings::default(),
        }
    }
}

impl Settings {
    /// The specifications of all properties.
    pub fn param_specs() -> Vec<glib::ParamSpec> {
        let mut specs = vec![
            glib::ParamSpecString::builder("shm-name")
                .nick("Shared memory name")
                .blurb("Name of the buffer: the LOP's Buffer Name, Python's SharedMemory(name=…), the TOP's Shared Mem Name. Required")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("protocol", SrcProtocol::default())
                .nick("Protocol")
                .blurb("What is read")
                .mutable_ready()
                .build(),
            size("width", "Width", "Pixels per row of a raw buffer; 0: from a downstream capsfilter"),
            size("height", "Height", "Rows of a raw buffer; 0: from a downstream capsfilter"),
            glib::ParamSpecInt::builder("channels")
                .nick("Channels")
                .blurb("Components per pixel of a raw buffer (1 grey, 2 R and G, 3 colour, 4 colour and alpha); 0: from a downstream capsfilter's format")
                .minimum(0)
                .maximum(4)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("sample-type", SrcSampleType::default())
                .nick("Sample type")
                .blurb("Type of one sample of a raw buffer; when it and channels are not set, a downstream capsfilter's format says")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("channel-order", SrcChannelOrder::default())
                .nick("Channel order")
                .blurb("Order of colour components of a raw buffer; when it and channels are not set, a downstream capsfilter's format says")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt64::builder("offset")
                .nick("Offset")
                .blurb("Bytes of a foreign header to skip")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("lock-timeout")
                .nick("Lock timeout")
                .blurb("Touch: milliseconds to wait for TouchDesigner's mutex; then the last frame is repeated, and counted as lock-timeouts")
                .minimum(1)
                .maximum(10_000)
                .default_value(LOCK_TIMEOUT_MS)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("change-detection", ChangeDetection::default())
                .nick("Change detection")
                .blurb("Hash each frame; on change emit image-changed and post tdlink-image-changed")
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("skip-unchanged")
                .nick("Skip unchanged")
                .blurb("Push only frames whose hash changed (by checksum when change-detection=none); beats keepalive")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("io-mode", IoMode::default())
                .nick("I/O mode")
                .blurb("Whether slots of a ring are pushed as they lie; a buffer with one slot is always copied")
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("allow-other-user")
                .nick("Allow other user")
                .blurb("Read a buffer that another user owns")
                .mutable_ready()
                .build(),
        ];
        specs.extend(LiveSettings::param_specs());
        specs
    }

    /// Takes `value` if `name` is one of these properties.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        // GObject has checked each value against its specification before it calls us.
        let int = || value.get::<i32>().expect("checked").unsigned_abs();
        match name {
            "shm-name" => self.shm_name = value.get::<Option<String>>().expect("checked").unwrap_or_default(),
            "protocol" => self.protocol = value.get().expect("checked"),
            "width" => self.width = int(),
            "height" => self.height = int(),
            "channels" => self.channels = int().to_le_bytes()[0],
            "sample-type" => self.sample_type = Some(value.get().expect("checked")),
            "channel-order" => self.channel_order = Some(value.get().expect("checked")),
            "lock-timeout" => self.lock_timeout_ms = value.get().expect("checked"),
            "offset" => self.offset = value.get().expect("checked"),
            "change-detection" => self.change_detection = value.get().expect("checked"),
            "skip-unchanged" => self.skip_unchanged = value.get().expect("checked"),
            "io-mode" => self.io_mode = value.get().expect("checked"),
            "allow-other-user" => self.allow_other_user = value.get().expect("checked"),
            _ => return self.live.set(name, value),
        }
        true
    }

    /// The value of `name` if it is one of these properties.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "shm-name" => self.shm_name.to_value(),
            "protocol" => self.protocol.to_value(),
            "width" => self.width.cast_signed().to_value(),
            "height" => self.height.cast_signed().to_value(),
            "channels" => i32::from(self.channels).to_value(),
            "sample-type" => self.sample_type.unwrap_or_default().to_value(),
            "channel-order" => self.channel_order.unwrap_or_default().to_value(),
            "lock-timeout" => self.lock_timeout_ms.to_value(),
            "offset" => self.offset.to_value(),
            "change-detection" => self.change_detection.to_value(),
            "skip-unchanged" => self.skip_unchanged.to_value(),
            "io-mode" => self.io_mode.to_value(),
            "allow-other-user" => self.allow_other_user.to_value(),
            _ => return self.live.get(name),
        })
    }

    /// Puts a property back to what it is when nobody has set it.
    pub fn reset(&mut self, name: &str) {
        let default = Self::default();
        match name {
            "sample-type" => self.sample_type = default.sample_type,
            "channel-order" => self.channel_order = default.channel_order,
            name => {
                if let Some(value) = default.get(name) {
                    self.set(name, &value);
                }
            }
        }
    }

    /// Whether somebody has set a property for which that makes a difference, even to its default.
    pub fn is_explicit(&self, name: &str) -> bool {
        match name {
            "sample-type" => self.sample_type.is_some(),
            "channel-order" => self.channel_order.is_some(),
            _ => false,
        }
    }

    /// Says what is wrong between these values, if anything is.
    pub fn check(&self) -> Result<(), gst::ErrorMessage> {
        if self.protocol == SrcProtocol::Touch && cfg!(target_os = "macos") {
            return Err(gst::error_msg!(
                gst::ResourceError::Settings,
                ("protocol=touch: TouchDesigner's Shared Mem TOPs are not supported on macOS; right would be protocol=raw with the Shared Memory LOP")
            ));
        }
        self.live.check()
    }

    /// How frames are hashed, if they are.
    pub fn hashing(&self) -> ChangeDetection {
        match self.change_detection {
            ChangeDetection::None if self.skip_unchanged => ChangeDetection::Checksum,
            chosen => chosen,
        }
    }
}

fn size(name: &str, nick: &str, blurb: &str) -> glib::ParamSpec {
    glib::ParamSpecInt::builder(name).nick(nick).blurb(blurb).minimum(0).maximum(MAX_SIDE).mutable_ready().build()
}
