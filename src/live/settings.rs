// SPDX-License-Identifier: MPL-2.0
//! The properties that both sources have.

use std::time::Duration;

use gst::{glib, prelude::*};
use gst_video::{VideoColorPrimaries, VideoColorimetry};
use tdlink_core::pixels;

use crate::enums::{Alpha, OnDisconnect, Origin, Pacing, TimestampMode, Transfer, WhileWaiting};

/// Values of the shared properties.
#[derive(Debug, Clone)]
pub struct LiveSettings {
    pub origin: Origin,
    /// 0/1: as produced.
    pub framerate: gst::Fraction,
    pub pacing: Pacing,
    pub keepalive_ms: u32,
    pub while_waiting: WhileWaiting,
    pub timestamp_mode: TimestampMode,
    pub connection_timeout_s: u32,
    pub on_disconnect: OnDisconnect,
    pub stall_timeout_s: u32,
    pub alpha: Alpha,
    pub transfer: Transfer,
    /// Nits.
    pub reference_white: f32,
    /// Empty: what the wire says, else sRGB.
    pub colorimetry: String,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            origin: Origin::Auto,
            framerate: gst::Fraction::new(0, 1),
            pacing: Pacing::Auto,
            keepalive_ms: 500,
            while_waiting: WhileWaiting::Nothing,
            timestamp_mode: TimestampMode::Auto,
            connection_timeout_s: 0,
            on_disconnect: OnDisconnect::Wait,
            stall_timeout_s: 0,
            alpha: Alpha::Passthrough,
            transfer: Transfer::Passthrough,
            reference_white: 203.0,
            colorimetry: String::new(),
        }
    }
}

impl LiveSettings {
    /// The specifications of these properties, for an element's list.
    pub fn param_specs() -> Vec<glib::ParamSpec> {
        let d = Self::default();
        vec![
            glib::ParamSpecEnum::builder_with_default("origin", d.origin)
                .nick("Origin")
                .blurb("Where row 0 stands on the wire; auto: what the wire says, else bottom-left")
                .mutable_ready()
                .build(),
            gst::ParamSpecFraction::builder("framerate")
                .nick("Framerate")
                .blurb("Frames per second; 0/1: as produced (raw buffers, which carry no rate, are sampled at 60/1)")
                .minimum(gst::Fraction::new(0, 1))
                .maximum(gst::Fraction::new(i32::MAX, 1))
                .default_value(d.framerate)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("pacing", d.pacing)
                .nick("Pacing")
                .blurb("As-produced: each new frame once; constant: exactly framerate per second; auto: constant when framerate or downstream fixes a rate")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("keepalive")
                .nick("Keepalive")
                .blurb("As-produced: milliseconds without news after which the last frame is pushed again, so that encoders and muxers never starve; 0: off")
                .maximum(3_600_000)
                .default_value(d.keepalive_ms)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("while-waiting", d.while_waiting)
                .nick("While waiting")
                .blurb("What to push before the first frame")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("timestamp-mode", d.timestamp_mode)
                .nick("Timestamp mode")
                .blurb("Where timestamps come from")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("connection-timeout")
                .nick("Connection timeout")
                .blurb("Seconds to wait for the first producer before failing; 0: for ever")
                .default_value(d.connection_timeout_s)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("on-disconnect", d.on_disconnect)
                .nick("On disconnect")
                .blurb("What to do when the producer has gone: on proof only (name gone, other object under the name), never on silence")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("stall-timeout")
                .nick("Stall timeout")
                .blurb("Seconds without news after which silence counts as a disconnect; 0: never")
                .default_value(d.stall_timeout_s)
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("alpha", d.alpha)
                .nick("Alpha")
                .blurb("What is done to alpha")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder_with_default("transfer", d.transfer)
                .nick("Transfer")
                .blurb("What is done to light, before clamping")
                .mutable_ready()
                .build(),
            glib::ParamSpecFloat::builder("reference-white")
                .nick("Reference white")
                .blurb("Nits of linear 1.0 for transfer=linear-to-pq and linear-to-hlg")
                .minimum(1.0)
                .maximum(10_000.0)
                .default_value(d.reference_white)
                .mutable_ready()
                .build(),
            glib::ParamSpecString::builder("colorimetry")
                .nick("Colorimetry")
                .blurb("Colorimetry of the caps, such as sRGB or 1:1:7:1, and the matrix and range of NV12 and P010_10LE; empty: what the wire says, else sRGB")
                .default_value(Some(""))
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("connected")
                .nick("Connected")
                .blurb("Whether a producer's buffer is attached")
                .default_value(false)
                .read_only()
                .build(),
            glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                .nick("Statistics")
                .blurb("frames, repeated, skipped, torn, overwritten, reattached, lock-timeouts, last-frame-age-ms, latency-ns, wake-jitter-us")
                .read_only()
                .build(),
        ]
    }

    /// Takes `value` if `name` is one of these properties.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        fn get<'v, T: glib::value::FromValue<'v>>(value: &'v glib::Value) -> T {
            // GObject has checked the type against the specification before it calls us.
            value.get().expect("a value of the property's own type")
        }
        match name {
            "origin" => self.origin = get(value),
            "framerate" => self.framerate = get(value),
            "pacing" => self.pacing = get(value),
            "keepalive" => self.keepalive_ms = get(value),
            "while-waiting" => self.while_waiting = get(value),
            "timestamp-mode" => self.timestamp_mode = get(value),
            "connection-timeout" => self.connection_timeout_s = get(value),
            "on-disconnect" => self.on_disconnect = get(value),
            "stall-timeout" => self.stall_timeout_s = get(value),
            "alpha" => self.alpha = get(value),
            "transfer" => self.transfer = get(value),
            "reference-white" => self.reference_white = get(value),
            "colorimetry" => self.colorimetry = get::<Option<String>>(value).unwrap_or_default(),
            _ => return false,
        }
        true
    }

    /// The value of `name` if it is one of these properties.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "origin" => self.origin.to_value(),
            "framerate" => self.framerate.to_value(),
            "pacing" => self.pacing.to_value(),
            "keepalive" => self.keepalive_ms.to_value(),
            "while-waiting" => self.while_waiting.to_value(),
            "timestamp-mode" => self.timestamp_mode.to_value(),
            "connection-timeout" => self.connection_timeout_s.to_value(),
            "on-disconnect" => self.on_disconnect.to_value(),
            "stall-timeout" => self.stall_timeout_s.to_value(),
            "alpha" => self.alpha.to_value(),
            "transfer" => self.transfer.to_value(),
            "reference-white" => self.reference_white.to_value(),
            "colorimetry" => self.colorimetry.to_value(),
            _ => return None,
        })
    }

    /// Says what is wrong between these values, if anything is.
    pub fn check(&self) -> Result<(), gst::ErrorMessage> {
        if !self.colorimetry.is_empty() && self.colorimetry.parse::<VideoColorimetry>().is_err() {
            return Err(gst::error_msg!(
                gst::ResourceError::Settings,
                (
                    "colorimetry={} is not a colorimetry; right would be a name such as sRGB, bt709 or bt2020, or range:matrix:transfer:primaries such as 1:1:7:1",
                    self.colorimetry
                )
            ));
        }
        if self.timestamp_mode == TimestampMode::Count && self.framerate.numer() == 0 {
            return Err(gst::error_msg!(
                gst::ResourceError::Settings,
                ("timestamp-mode=count divides the frame index by framerate, which is 0/1; right would be for example framerate=60/1")
            ));
        }
        Ok(())
    }

    /// The conversion that alpha and transfer ask for, of pixels of which the wire says `wire`.
    ///
    /// The signals of BT.2100 have BT.2020's primaries: pixels that have them already keep them.
    pub fn pixel_options(&self, wire: Option<&VideoColorimetry>) -> pixels::Options {
        let wide = wire.is_some_and(|wire| wire.primaries() == VideoColorPrimaries::Bt2020);
        let gamut = match self.transfer {
            Transfer::LinearToPq | Transfer::LinearToHlg if !wide => pixels::Gamut::Bt709ToBt2020,
            _ => pixels::Gamut::Passthrough,
        };
        pixels::Options {
            alpha: self.alpha.into(),
            transfer: self.transfer.into(),
            reference_white: self.reference_white,
            gamut,
        }
    }

    /// How long without news until the last frame is repeated; `None`: never.
    pub fn keepalive(&self) -> Option<Duration> {
        (self.keepalive_ms > 0).then(|| Duration::from_millis(self.keepalive_ms.into()))
    }

    /// How long without news until silence counts as a disconnect; `None`: never.
    pub fn stall_timeout(&self) -> Option<Duration> {
        (self.stall_timeout_s > 0).then(|| Duration::from_secs(self.stall_timeout_s.into()))
    }

    /// How long to wait for the first producer; `None`: for ever.
    pub fn connection_timeout(&self) -> Option<Duration> {
        (self.connection_timeout_s > 0).then(|| Duration::from_secs(self.connection_timeout_s.into()))
    }
}
