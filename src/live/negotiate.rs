// SPDX-License-Identifier: MPL-2.0
//! Caps of a source: what the wire has, cut down to what downstream takes.

use gst::prelude::*;
use gst_video::{VideoChromaSite, VideoFormat, VideoInfo};
use tdlink_core::frame::PixelFormat;

use super::{FeedDesc, LiveSettings, colour};
use crate::{enums::Pacing, gstcuda::CAPS_FEATURE, video};

/// The agreed form of the stream.
#[derive(Debug, Clone)]
pub struct Negotiated {
    /// Caps as set on the pad.
    pub info: VideoInfo,
    /// Frames per second of constant pacing; `None`: as produced.
    pub constant: Option<gst::Fraction>,
    /// Frames lie in memory of a CUDA device.
    pub device: bool,
}

/// What frames can be pushed as: where they lie, and in which format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// In memory of a CUDA device.
    pub device: bool,
    /// The format.
    pub format: VideoFormat,
}

impl Offer {
    /// What the host makes of pixels `wire`, the nearest to their own form first.
    pub fn of_host(wire: PixelFormat) -> Vec<Self> {
        video::formats_for(wire).into_iter().map(|format| Self { device: false, format }).collect()
    }
}

const ZERO: (i32, i32) = (0, 1);

/// Caps for these frames, the best first, before downstream is asked.
fn caps_for(feed: &FeedDesc, settings: &LiveSettings) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    {
        let caps = caps.get_mut().expect("caps that were just made");
        for rate in rates(feed, settings) {
            for Offer { device, format } in &feed.offers {
                let mut structure = gst::Structure::builder("video/x-raw")
                    .field("format", format.to_str())
                    .field("width", feed.wire.width.cast_signed())
                    .field("height", feed.wire.height.cast_signed())
                    .field("pixel-aspect-ratio", feed.pixel_aspect)
                    .field("interlace-mode", "progressive")
                    .build();
                match rate {
                    Rate::Fixed(rate) => {
                        structure.set("framerate", rate);
                        if rate.numer() == 0 {
                            structure.set("max-framerate", feed.most);
                        }
                    }
                    Rate::Any => structure.set(
                        "framerate",
                        gst::FractionRange::new(gst::Fraction::new(1, i32::MAX), gst::Fraction::new(i32::MAX, 1)),
                    ),
                }
                match &colour::colorimetries(feed, settings, *format)[..] {
                    [] => {}
                    [one] => structure.set("colorimetry", one),
                    several => structure.set("colorimetry", gst::List::new(several)),
                }
                if crate::video::has_chroma_aside(*format) {
                    // What is made is what caps say. First what H.264 and HEVC mean where nobody says anything: not every
                    // encoder writes it down.
                    let sites = [VideoChromaSite::MPEG2, VideoChromaSite::JPEG];
                    structure.set("chroma-site", gst::List::new(sites.map(|site| site.to_str().to_string())));
                }
                for (name, value) in colour::light(feed, settings) {
                    structure.set(name, value);
                }
                for (name, value) in &feed.extras {
                    structure.set_value(name, value.clone());
                }
                let features = device.then(|| gst::CapsFeatures::new([CAPS_FEATURE]));
                caps.append_structure_full(structure, features);
            }
        }
    }
    caps
}

#[derive(Clone, Copy)]
enum Rate {
    Fixed(gst::Fraction),
    Any,
}

/// Rates to offer, the best first.
fn rates(feed: &FeedDesc, settings: &LiveSettings) -> Vec<Rate> {
    let asked = (settings.framerate.numer() > 0).then_some(settings.framerate);
    let nominal = feed.framerate.filter(|rate| rate.numer() > 0);
    let variable = Rate::Fixed(ZERO.into());
    match settings.pacing {
        Pacing::AsProduced => match asked.or(nominal) {
            // A nominal rate; the intervals are the producer's own.
            Some(rate) => vec![Rate::Fixed(rate)],
            None => vec![variable, Rate::Any],
        },
        Pacing::Constant | Pacing::Auto => match asked {
            Some(rate) => vec![Rate::Fixed(rate)],
            None => match nominal.or(feed.sampling) {
                Some(rate) if settings.pacing == Pacing::Constant => vec![Rate::Fixed(rate), Rate::Any],
                None if settings.pacing == Pacing::Constant => vec![Rate::Fixed((60, 1).into()), Rate::Any],
                // Downstream may insist on another rate, or on none.
                Some(rate) => vec![Rate::Fixed(rate), Rate::Any, variable],
                None => vec![variable, Rate::Any],
            },
        },
    }
}

/// Agrees with downstream of `pad` on one of the feed's offers, without setting anything yet.
///
/// # Errors
/// When downstream takes none of them: says both.
pub fn negotiate(
    pad: &gst::Pad,
    feed: &FeedDesc,
    settings: &LiveSettings,
) -> Result<(gst::Caps, Negotiated), gst::ErrorMessage> {
    let offered = caps_for(feed, settings);
    let taken = pad.peer_query_caps(Some(&offered));
    let mut agreed = offered.intersect_with_mode(&taken, gst::CapsIntersectMode::First);
    if agreed.is_empty() {
        return Err(gst::error_msg!(
            gst::StreamError::Format,
            (
                "downstream takes none of what the buffer has ({}): it takes {}; a videoconvert, videoscale or videorate between them, or other values of width, height, framerate, colorimetry and chroma-site, would help",
                feed.wire,
                pad.peer_query_caps(None)
            )
        ));
    }
    let fixed_downstream = agreed
        .structure(0)
        .filter(|_| settings.framerate.numer() == 0)
        .and_then(|structure| structure.get::<gst::Fraction>("framerate").ok())
        .filter(|rate| rate.numer() > 0);
    agreed.truncate();
    {
        let structure = agreed.make_mut().structure_mut(0).expect("one structure");
        let wish = feed.framerate.or(feed.sampling).unwrap_or((60, 1).into());
        structure.fixate_field_nearest_fraction("framerate", wish);
    }
    agreed.fixate();
    let device = agreed.features(0).is_some_and(|features| features.contains(CAPS_FEATURE));
    let info = VideoInfo::from_caps(&agreed)
        .map_err(|err| gst::error_msg!(gst::StreamError::Format, ("{agreed} are no video caps: {err}")))?;
    let constant = match settings.pacing {
        Pacing::Constant => Some(info.fps()),
        Pacing::AsProduced => None,
        // Fixed by the user, by downstream, or by the need to sample.
        Pacing::Auto => (settings.framerate.numer() > 0 || feed.sampling.is_some() || forced(feed, fixed_downstream))
            .then(|| info.fps()),
    }
    .filter(|rate| rate.numer() > 0);
    Ok((agreed, Negotiated { info, constant, device }))
}

/// Whether downstream insists on a rate that is not the producer's own.
fn forced(feed: &FeedDesc, fixed: Option<gst::Fraction>) -> bool {
    fixed.is_some_and(|rate| feed.framerate != Some(rate))
}
