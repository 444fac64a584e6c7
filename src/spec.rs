// SPDX-License-Identifier: MPL-2.0
//! A control segment's description of frames, and the caps of a pipeline.

use gst_video::{
    VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoInfo, VideoTransferFunction,
};
use tdlink_core::{
    frame::{FrameDesc, PixelFormat},
    protocol::control::{Colorimetry, FrameSpec, MAX_CAPS_BYTES, Ratio},
};

use crate::video;

/// Code point of ITU-T H.273 for "unspecified".
const UNKNOWN: u32 = 2;

/// What caps say of frames that are `desc` on the wire, without padding between rows.
pub fn of(caps: &gst::CapsRef, info: &VideoInfo, from: PixelFormat, desc: FrameDesc) -> FrameSpec {
    let structure = caps.structure(0);
    let fraction = |name: &str| structure.and_then(|structure| structure.get::<gst::Fraction>(name).ok());
    let mut spec = FrameSpec::packed(desc);
    spec.framerate = ratio(info.fps()).unwrap_or(Ratio::NONE);
    spec.max_framerate = fraction("max-framerate").and_then(ratio).unwrap_or(Ratio::NONE);
    spec.pixel_aspect = ratio(info.par()).filter(|par| par.num > 0).unwrap_or(Ratio::ONE);
    spec.colorimetry = to_iso(&info.colorimetry());
    // Only where they say what is on the wire.
    if desc.format == from {
        let text = caps.to_string();
        if text.len() <= MAX_CAPS_BYTES {
            spec.caps = text;
        }
    }
    spec
}

fn ratio(fraction: gst::Fraction) -> Option<Ratio> {
    let num = u32::try_from(fraction.numer()).ok()?;
    let den = u32::try_from(fraction.denom()).ok().filter(|den| *den > 0)?;
    Some(Ratio { num, den })
}

/// The fraction, if it says anything.
pub fn fraction(ratio: Ratio) -> Option<gst::Fraction> {
    let num = i32::try_from(ratio.num).ok().filter(|num| *num > 0)?;
    let den = i32::try_from(ratio.den).ok().filter(|den| *den > 0)?;
    Some(gst::Fraction::new(num, den))
}

fn to_iso(colorimetry: &VideoColorimetry) -> Colorimetry {
    let range = match colorimetry.range() {
        VideoColorRange::Range0_255 => 1,
        VideoColorRange::Range16_235 => 2,
        _ => 0,
    };
    // GStreamer's 0 is "unknown" for the matrix and RGB alike.
    let matrix = match colorimetry.matrix() {
        VideoColorMatrix::Unknown => UNKNOWN,
        matrix => matrix.to_iso(),
    };
    let transfer = match colorimetry.transfer() {
        VideoTransferFunction::Unknown => UNKNOWN,
        transfer => transfer.to_iso(),
    };
    Colorimetry { range, matrix, transfer, primaries: colorimetry.primaries().to_iso() }
}

/// What the wire says of its colours, if it says anything.
pub fn colorimetry(wire: Colorimetry) -> Option<VideoColorimetry> {
    let range = match wire.range {
        1 => VideoColorRange::Range0_255,
        2 => VideoColorRange::Range16_235,
        _ => VideoColorRange::Unknown,
    };
    let colorimetry = VideoColorimetry::new(
        range,
        VideoColorMatrix::from_iso(wire.matrix),
        VideoTransferFunction::from_iso(wire.transfer),
        VideoColorPrimaries::from_iso(wire.primaries),
    );
    let unknown = VideoColorimetry::new(
        VideoColorRange::Unknown,
        VideoColorMatrix::Unknown,
        VideoTransferFunction::Unknown,
        VideoColorPrimaries::Unknown,
    );
    (colorimetry != unknown).then_some(colorimetry)
}

/// Fields of a producer's caps that plain numbers do not carry, and that still hold for frames pushed on.
pub fn extras(spec: &FrameSpec) -> Vec<(String, gst::glib::SendValue)> {
    const CARRIED: [&str; 5] =
        ["mastering-display-info", "content-light-level", "multiview-mode", "interlace-mode", "field-order"];
    // A peer wrote it: what cannot be parsed is not there.
    let Ok(caps) = spec.caps.parse::<gst::Caps>() else { return Vec::new() };
    let Some(structure) = caps.structure(0).filter(|structure| structure.name() == "video/x-raw") else {
        return Vec::new();
    };
    let same = structure.get::<&str>("format").is_ok_and(|name| {
        video::pixel_format(gst_video::VideoFormat::from_string(name)).is_some_and(|pixel| pixel == spec.desc.format)
    });
    let carried = CARRIED.iter().filter(|_| same);
    carried.filter_map(|name| Some((name.to_string(), structure.value(*name).ok()?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst_video::VideoFormat;

    #[test]
    fn colours_come_back_as_they_went() {
        gst::init().unwrap();
        for name in ["sRGB", "bt709", "bt2020", "bt2100-pq", "bt2100-hlg", "bt601", "1:1:5:1"] {
            let colorimetry: VideoColorimetry = name.parse().unwrap();
            let back = super::colorimetry(to_iso(&colorimetry)).unwrap();
            let same_transfer = back.transfer().to_iso() == colorimetry.transfer().to_iso();
            assert!(same_transfer && back.range() == colorimetry.range(), "{name}: {back}");
            assert_eq!((back.primaries(), back.matrix()), (colorimetry.primaries(), colorimetry.matrix()), "{name}");
        }
    }

    #[test]
    fn what_is_unknown_stays_unknown() {
        gst::init().unwrap();
        assert_eq!(super::colorimetry(Colorimetry { range: 0, matrix: 2, transfer: 2, primaries: 2 }), None);
        assert_eq!(fraction(Ratio::NONE), None);
        assert_eq!(fraction(Ratio { num: u32::MAX, den: 1 }), None);
    }

    #[test]
    fn caps_become_numbers() {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::Rgb, 17, 5)
            .fps(gst::Fraction::new(30000, 1001))
            .par(gst::Fraction::new(4, 3))
            .build()
            .unwrap();
        let from = video::pixel_format(info.format()).unwrap();
        let origin = tdlink_core::frame::Origin::TopLeft;
        let desc = FrameDesc { width: 17, height: 5, format: from, origin };
        let caps = info.to_caps().unwrap();
        let spec = of(&caps, &info, from, desc);
        assert_eq!((spec.framerate, spec.pixel_aspect), (Ratio { num: 30000, den: 1001 }, Ratio { num: 4, den: 3 }));
        assert_eq!(spec.stride, 51);
        assert_eq!(spec.caps, caps.to_string());
    }

    #[test]
    fn caps_from_a_hostile_peer_add_nothing() {
        gst::init().unwrap();
        let format = video::pixel_format(VideoFormat::Rgba).unwrap();
        let desc = FrameDesc { width: 1, height: 1, format, origin: tdlink_core::frame::Origin::TopLeft };
        for text in
            ["", "video/x-raw, format=(string)NV12, content-light-level=(string)1", "audio/x-raw", "\u{1}(", ";;"]
        {
            let spec = FrameSpec { caps: text.into(), ..FrameSpec::packed(desc) };
            assert!(extras(&spec).is_empty(), "{text}");
        }
        let text = "video/x-raw, format=(string)RGBA, content-light-level=(string)1000:400";
        assert_eq!(extras(&FrameSpec { caps: text.into(), ..FrameSpec::packed(desc) }).len(), 1);
    }
}
