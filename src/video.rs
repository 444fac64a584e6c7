// SPDX-License-Identifier: MPL-2.0
//! The core's pixels and GStreamer's video formats, translated in one place.

use std::sync::LazyLock;

use crate::gstcuda::CAPS_FEATURE;
use gst_video::{
    VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoInfo, VideoTransferFunction,
};
use tdlink_core::{
    frame::{ChannelOrder, Fourth, PixelFormat, SampleType},
    pixels::{Converter, Options, Transfer},
};

/// Every packed format that we speak, its name and its pixel. The float ones exist from GStreamer 1.30 on.
const FORMATS: [(&str, PixelFormat); 11] = [
    ("RGBA", pixel(SampleType::U8, 4, ChannelOrder::Rgba, Fourth::Alpha)),
    ("BGRA", pixel(SampleType::U8, 4, ChannelOrder::Bgra, Fourth::Alpha)),
    ("RGBx", pixel(SampleType::U8, 4, ChannelOrder::Rgba, Fourth::Padding)),
    ("BGRx", pixel(SampleType::U8, 4, ChannelOrder::Bgra, Fourth::Padding)),
    ("RGB", pixel(SampleType::U8, 3, ChannelOrder::Rgba, Fourth::Alpha)),
    ("BGR", pixel(SampleType::U8, 3, ChannelOrder::Bgra, Fourth::Alpha)),
    ("GRAY8", pixel(SampleType::U8, 1, ChannelOrder::Rgba, Fourth::Alpha)),
    ("RGBA64_LE", pixel(SampleType::U16, 4, ChannelOrder::Rgba, Fourth::Alpha)),
    ("GRAY16_LE", pixel(SampleType::U16, 1, ChannelOrder::Rgba, Fourth::Alpha)),
    ("RGBA_F16LE", pixel(SampleType::F16, 4, ChannelOrder::Rgba, Fourth::Alpha)),
    ("RGBA_F32LE", pixel(SampleType::F32, 4, ChannelOrder::Rgba, Fourth::Alpha)),
];

const fn pixel(sample: SampleType, channels: u8, order: ChannelOrder, fourth: Fourth) -> PixelFormat {
    PixelFormat { sample, channels, order, fourth }
}

/// The formats of [`FORMATS`] that the running GStreamer knows.
static KNOWN: LazyLock<Vec<(gst_video::VideoFormat, PixelFormat)>> = LazyLock::new(|| {
    FORMATS
        .iter()
        .map(|(name, pixel)| (gst_video::VideoFormat::from_string(name), *pixel))
        .filter(|(format, _)| *format != gst_video::VideoFormat::Unknown)
        .collect()
});

/// The pixel of a GStreamer format, if it is one of ours.
pub fn pixel_format(format: gst_video::VideoFormat) -> Option<PixelFormat> {
    KNOWN.iter().find(|(known, _)| *known == format).map(|(_, pixel)| *pixel)
}

/// The formats that pixels from the wire can be pushed as, the nearest to the wire's own first.
///
/// Grey stays grey where it can; colour is never offered as grey, since which mix of R, G and B that means
/// is for a converter downstream to decide.
pub fn formats_for(wire: PixelFormat) -> Vec<gst_video::VideoFormat> {
    let mut formats: Vec<_> = KNOWN.iter().filter(|(_, to)| wire.channels == 1 || to.channels > 1).copied().collect();
    formats.sort_by_key(|(_, to)| distance(wire, *to));
    formats.into_iter().map(|(format, _)| format).collect()
}

/// How much is lost or invented between the wire and a format: depth first, then channels, then order.
fn distance(wire: PixelFormat, to: PixelFormat) -> (u8, u8, u8) {
    let depth = match (wire.sample, to.sample) {
        (from, to) if from == to => 0,
        // A wider sample keeps all that a narrow one has; the reverse does not.
        (SampleType::U8, SampleType::U16) => 1,
        (SampleType::F16, SampleType::F32) => 1,
        (SampleType::F16 | SampleType::F32, SampleType::U16) => 2,
        (SampleType::U16, SampleType::U8) | (SampleType::F16 | SampleType::F32, SampleType::U8) => 3,
        _ => 4,
    };
    let channels = match wire.channels {
        1 => u8::from(to.channels != 1),
        2 => u8::from(to.channels != 4),
        n => u8::from(to.channels != n),
    };
    let order = u8::from(wire.order != to.order) + 2 * u8::from(to.channels == 4 && !to.has_alpha());
    (depth, channels, order)
}

/// Everything that the pads of both shm elements can carry in system memory.
pub fn template_caps() -> gst::Caps {
    gst_video::VideoCapsBuilder::new().format_list(KNOWN.iter().map(|(format, _)| *format)).build()
}

/// Formats that memory of a CUDA device can have, in every GStreamer. Those that encoders take as they are come first:
/// given R, G and B they would make the first of them by BT.601, whatever caps say.
pub const DEVICE_FORMATS: [gst_video::VideoFormat; 9] = [
    gst_video::VideoFormat::Nv12,
    gst_video::VideoFormat::P01010le,
    gst_video::VideoFormat::Rgb10a2Le,
    gst_video::VideoFormat::Rgba,
    gst_video::VideoFormat::Bgra,
    gst_video::VideoFormat::Rgbx,
    gst_video::VideoFormat::Bgrx,
    gst_video::VideoFormat::Rgb,
    gst_video::VideoFormat::Bgr,
];

/// The formats of [`DEVICE_FORMATS`] in the order in which pixels from the wire are offered as them: those of encoders,
/// the deeper ones first where 8 bits lose something (`deep`, or a wire of more than 8), then the nearest to the wire's own.
pub fn device_formats_for(wire: PixelFormat, deep: bool) -> Vec<gst_video::VideoFormat> {
    use gst_video::VideoFormat::{Nv12, P01010le, Rgb10a2Le};
    let encoders =
        if deep || wire.sample != SampleType::U8 { [P01010le, Rgb10a2Le, Nv12] } else { [Nv12, P01010le, Rgb10a2Le] };
    let mut packed: Vec<_> =
        DEVICE_FORMATS.into_iter().filter_map(|format| Some((format, pixel_format(format)?))).collect();
    packed.sort_by_key(|(_, to)| distance(wire, *to));
    encoders.into_iter().chain(packed.into_iter().map(|(format, _)| format)).collect()
}

/// The planes of a frame: bytes of a row without padding, and rows.
pub fn planes(info: &gst_video::VideoInfo) -> Option<Vec<(usize, usize)>> {
    let components = || 0..u8::try_from(info.n_components()).unwrap_or_default();
    let shape = |plane| {
        let first = components().find(|component| info.comp_plane(*component) == plane)?;
        let pixel = usize::try_from(info.comp_pstride(first)).ok()?;
        Some(((info.comp_width(first) as usize).checked_mul(pixel)?, info.comp_height(first) as usize))
    };
    (0..info.n_planes()).map(shape).collect()
}

/// The bytes of black, opaque where there is alpha, of which rows of each plane consist.
pub fn black(info: &gst_video::VideoInfo) -> Option<Vec<Vec<u8>>> {
    use gst_video::VideoFormat::{Nv12, P01010le, Rgb10a2Le};
    let full = info.colorimetry().range() == VideoColorRange::Range0_255;
    Some(match info.format() {
        Nv12 => vec![vec![if full { 0 } else { 16 }], vec![128, 128]],
        // 10 bits, in the upper ones of 16.
        P01010le => vec![vec![0, if full { 0 } else { 16 }], vec![0, 128, 0, 128]],
        Rgb10a2Le => vec![vec![0, 0, 0, 0xC0]],
        format => {
            let pixel = pixel_format(format)?;
            let mut black = vec![0; pixel.bytes()];
            let grey = PixelFormat { channels: 1, sample: SampleType::U8, ..pixel };
            Converter::new(grey, pixel, Options::default()).row(&[0], &mut black).ok()?;
            vec![black]
        }
    })
}

/// Everything that the pads of both CUDA elements can carry, device memory first.
pub fn template_caps_with_device() -> gst::Caps {
    let mut caps = gst_video::VideoCapsBuilder::new().features([CAPS_FEATURE]).format_list(DEVICE_FORMATS).build();
    caps.merge(template_caps());
    caps
}

/// What fixed caps of raw video say. Where they say nothing of colorimetry, GStreamer's `VideoInfo` forgets what they say
/// of the chroma's site; here it stays. Where they say nothing of the site but something of colorimetry, it depends on
/// GStreamer's version what it takes; here it is what H.264 and HEVC mean then.
///
/// # Errors
/// They are no such caps.
pub fn info(caps: &gst::CapsRef) -> Result<VideoInfo, gst::glib::BoolError> {
    let told = |caps: &gst::CapsRef, field| caps.structure(0).is_some_and(|structure| structure.has_field(field));
    let info = VideoInfo::from_caps(caps)?;
    let mut caps = caps.to_owned();
    match (told(&caps, "colorimetry"), told(&caps, "chroma-site")) {
        (false, true) => caps.make_mut().set("colorimetry", info.colorimetry().to_string()),
        (true, false) if has_chroma_aside(info.format()) => caps.make_mut().set("chroma-site", "mpeg2"),
        _ => return Ok(info),
    }
    VideoInfo::from_caps(&caps)
}

/// Whether several pixels of a row share Cb and Cr, so that these stand somewhere among them.
pub fn has_chroma_aside(format: gst_video::VideoFormat) -> bool {
    gst_video::VideoFormatInfo::from_format(format).w_sub().iter().any(|sub| *sub > 0)
}

/// Whether frames of `caps` lie on a CUDA device.
pub fn is_device(caps: &gst::CapsRef) -> bool {
    caps.features(0).is_some_and(|features| features.contains(CAPS_FEATURE))
}

/// What the pixels mean after `transfer`, of which the wire says `wire`. Where it says nothing they are sRGB, which is what
/// TouchDesigner's fixed-point textures hold unless a project asks for a working colour space.
pub fn colorimetry_after(transfer: Transfer, wire: Option<&VideoColorimetry>) -> VideoColorimetry {
    let primaries = wire.map_or(VideoColorPrimaries::Bt709, VideoColorimetry::primaries);
    let (function, primaries) = match transfer {
        Transfer::Passthrough | Transfer::LinearToSrgb => (VideoTransferFunction::Srgb, primaries),
        Transfer::SrgbToLinear => (VideoTransferFunction::Gamma10, primaries),
        Transfer::LinearToPq => (VideoTransferFunction::Smpte2084, VideoColorPrimaries::Bt2020),
        Transfer::LinearToHlg => (VideoTransferFunction::AribStdB67, VideoColorPrimaries::Bt2020),
    };
    VideoColorimetry::new(VideoColorRange::Range0_255, VideoColorMatrix::Rgb, function, primaries)
}

/// A buffer that is no frame of `info`: both sizes.
pub fn unmapped(buffer: &gst::BufferRef, info: &gst_video::VideoInfo) -> gst::ErrorMessage {
    gst::error_msg!(
        gst::ResourceError::Failed,
        (
            "a buffer of {} bytes cannot be mapped: a frame of {}×{} {} has {}",
            buffer.size(),
            info.width(),
            info.height(),
            info.format(),
            info.size()
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_name(sample: SampleType, channels: u8, order: ChannelOrder) -> String {
        gst::init().unwrap();
        let wire = PixelFormat::new(sample, channels, order).unwrap();
        formats_for(wire)[0].to_str().to_string()
    }

    #[test]
    fn the_wires_own_format_is_offered_first() {
        assert_eq!(first_name(SampleType::U8, 4, ChannelOrder::Rgba), "RGBA");
        assert_eq!(first_name(SampleType::U8, 4, ChannelOrder::Bgra), "BGRA");
        assert_eq!(first_name(SampleType::U8, 3, ChannelOrder::Bgra), "BGR");
        assert_eq!(first_name(SampleType::U8, 1, ChannelOrder::Rgba), "GRAY8");
        assert_eq!(first_name(SampleType::U16, 1, ChannelOrder::Rgba), "GRAY16_LE");
        assert_eq!(first_name(SampleType::U16, 4, ChannelOrder::Rgba), "RGBA64_LE");
    }

    #[test]
    fn two_channels_become_rgba() {
        assert_eq!(first_name(SampleType::U8, 2, ChannelOrder::Rgba), "RGBA");
    }

    #[test]
    fn colour_is_never_offered_as_grey() {
        gst::init().unwrap();
        let wire = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).unwrap();
        assert!(formats_for(wire).iter().all(|format| pixel_format(*format).unwrap().channels > 1));
    }
}
