// SPDX-License-Identifier: MPL-2.0
//! Frames change their form on the device, in one pass.

use gst_video::{VideoChromaSite, VideoColorMatrix, VideoColorRange, VideoFormat, VideoInfo};
use tdlink_core::{
    cuda::{self, Context, CudaError, DeviceMem, PinnedMem, Plane, Rows, Stream},
    pixels::{
        Alpha, ChromaSite, Components, Conversion, Gamut, Matrix, Options, Picture, Range, Transfer, Wire, WireSample,
        Yuv,
    },
};

use crate::video;

/// What the device is to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// Bytes change places at most.
    Rows(Rows),
    /// Numbers change.
    Convert(Conversion),
}

/// The device's site that chroma of `info` stands at, or next to: what stands on its row's or between two fields'
/// lines (`cosited`, `dv`, …) is at most half a pixel away.
pub fn chroma_site(info: &VideoInfo) -> ChromaSite {
    let site = info.chroma_site();
    if site.is_empty() || site.contains(VideoChromaSite::H_COSITED) { ChromaSite::Left } else { ChromaSite::Middle }
}

/// Whether chroma of `info` stands exactly there.
pub fn is_at_its_site(info: &VideoInfo) -> bool {
    let site = info.chroma_site();
    site.is_empty() || [VideoChromaSite::MPEG2, VideoChromaSite::JPEG].contains(&site)
}

/// The picture that frames of `info` are, if the device can make it.
pub fn picture(info: &VideoInfo) -> Option<Picture> {
    let yuv = || {
        let colorimetry = info.colorimetry();
        let matrix = match colorimetry.matrix() {
            VideoColorMatrix::Bt601 => Matrix::Bt601,
            VideoColorMatrix::Bt2020 => Matrix::Bt2020,
            VideoColorMatrix::Bt709 => Matrix::Bt709,
            _ => return None,
        };
        let full = colorimetry.range() == VideoColorRange::Range0_255;
        let range = if full { Range::Full } else { Range::Limited };
        Some(Yuv { matrix, range, site: chroma_site(info) })
    };
    Some(match info.format() {
        VideoFormat::Rgba => Picture::Rgba,
        VideoFormat::Bgra => Picture::Bgra,
        VideoFormat::Rgbx => Picture::Rgbx,
        VideoFormat::Bgrx => Picture::Bgrx,
        VideoFormat::Rgb => Picture::Rgb,
        VideoFormat::Bgr => Picture::Bgr,
        VideoFormat::Rgb10a2Le => Picture::Rgb10A2,
        VideoFormat::Nv12 => Picture::Nv12(yuv()?),
        VideoFormat::P01010le => Picture::P010(yuv()?),
        _ => return None,
    })
}

/// The components of a picture of 3 or 4 bytes a pixel.
fn bytes_of(picture: Picture) -> Option<Components> {
    Some(match picture {
        Picture::Rgba => Components::Rgba,
        Picture::Bgra => Components::Bgra,
        Picture::Rgbx => Components::Rgbx,
        Picture::Bgrx => Components::Bgrx,
        Picture::Rgb => Components::Rgb,
        Picture::Bgr => Components::Bgr,
        Picture::Rgb10A2 | Picture::Nv12(_) | Picture::P010(_) => return None,
    })
}

/// How bytes `from` become bytes `to` without being looked at, if they can.
fn rows(from: Wire, to: Wire, flip: bool, options: Options) -> Option<Rows> {
    use Components::{Bgr, Bgra, Bgrx, Rgbx};
    let count = from.components.count();
    let light = options.transfer != Transfer::Passthrough || options.gamut != Gamut::default();
    let same = (from.sample, to.sample) == (WireSample::U8, WireSample::U8) && count == to.components.count();
    if !same || count < 3 || light {
        return None;
    }
    let padded = |wire: Wire| matches!(wire.components, Rgbx | Bgrx);
    let opaque = match options.alpha {
        _ if count < 4 => false,
        Alpha::PremultipliedToStraight | Alpha::StraightToPremultiplied if !padded(from) => return None,
        Alpha::Passthrough => padded(from) || padded(to),
        _ => true,
    };
    let blue_first = |wire: Wire| matches!(wire.components, Bgr | Bgra | Bgrx);
    Some(Rows { bytes_per_pixel: count as u32, flip, swap: blue_first(from) != blue_first(to), opaque })
}

impl Work {
    /// Pixels of a wire become frames of `info`. `None` if the device cannot make those.
    pub fn to_picture(wire: Wire, info: &VideoInfo, flip: bool, options: Options) -> Option<Self> {
        let picture = picture(info)?;
        let bytes = bytes_of(picture).map(|components| Wire { sample: WireSample::U8, components });
        if let Some(rows) = bytes.and_then(|to| rows(wire, to, flip, options)) {
            return Some(Self::Rows(rows));
        }
        Some(Self::Convert(Conversion::to_picture(wire, picture).flipped(flip).with(options)))
    }

    /// Frames of `info` become pixels of a wire. `None` if the device cannot read those, or not write these.
    pub fn to_wire(info: &VideoInfo, wire: Wire, flip: bool) -> Option<Self> {
        let picture = picture(info)?;
        let bytes = bytes_of(picture).map(|components| Wire { sample: WireSample::U8, components });
        if let Some(rows) = bytes.and_then(|from| rows(from, wire, flip, Options::default())) {
            return Some(Self::Rows(rows));
        }
        Conversion::to_wire(picture, wire).ok().map(|conversion| Self::Convert(conversion.flipped(flip)))
    }

    /// Whether what comes out is what went in.
    pub fn is_copy(&self) -> bool {
        matches!(self, Self::Rows(rows) if rows.is_copy())
    }

    /// Has `stream` do it.
    ///
    /// # Errors
    /// Other planes than it takes, or the driver's refusal.
    pub fn run(&self, dst: &[Plane], src: &[Plane], stream: &Stream) -> Result<(), CudaError> {
        match (self, dst, src) {
            (Self::Rows(rows), [dst], [src]) => cuda::rows_u8(*dst, *src, *rows, stream),
            (Self::Rows(_), ..) => Err(CudaError::Planes { found: dst.len().max(src.len()), wanted: 1 }),
            (Self::Convert(conversion), ..) => cuda::convert(dst, src, conversion, stream),
        }
    }
}

/// A frame's planes on a device, tight, each with a place on the host from or to which the device copies it.
#[derive(Debug)]
pub struct Halfway {
    planes: Vec<(DeviceMem, Plane)>,
    host: Vec<PinnedMem>,
}

impl Halfway {
    /// For frames of `info`.
    ///
    /// # Errors
    /// The device or the host has not that much memory.
    pub fn new(context: &Context, info: &VideoInfo) -> Result<Self, CudaError> {
        let too_large = || CudaError::OutOfMemory { wanted: usize::MAX };
        let (mut planes, mut host) = (Vec::new(), Vec::new());
        for (row_bytes, rows) in video::planes(info).ok_or_else(too_large)? {
            let len = row_bytes.checked_mul(rows).ok_or_else(too_large)?;
            let memory = DeviceMem::new(context, len)?;
            let plane = memory.plane(row_bytes, row_bytes, rows)?;
            planes.push((memory, plane));
            host.push(PinnedMem::new(context, len)?);
        }
        Ok(Self { planes, host })
    }

    /// The planes on the device.
    pub fn planes(&self) -> Vec<Plane> {
        self.planes.iter().map(|(_, plane)| *plane).collect()
    }

    /// Has `stream` bring them to the host.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn download(&mut self, stream: &Stream) -> Result<(), CudaError> {
        let mut each = self.planes.iter().zip(&mut self.host);
        each.try_for_each(|((_, plane), host)| host.download(*plane, plane.pitch(), stream))
    }

    /// Has `stream` bring what is on the host to the device.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn upload(&mut self, stream: &Stream) -> Result<(), CudaError> {
        let mut each = self.planes.iter().zip(&mut self.host);
        each.try_for_each(|((_, plane), host)| host.upload(*plane, plane.pitch(), stream))
    }

    /// The bytes of each plane on the host, rows without padding, once the copy that is going on is done; with the bytes
    /// of a row.
    ///
    /// # Errors
    /// What the copy failed with.
    pub fn bytes_mut(&mut self) -> Result<Vec<(&mut [u8], usize)>, CudaError> {
        let each = self.planes.iter().zip(&mut self.host);
        each.map(|((_, plane), host)| Ok((host.bytes_mut()?, plane.row_bytes()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(format: VideoFormat) -> VideoInfo {
        gst::init().unwrap();
        VideoInfo::builder(format, 64, 48).build().unwrap()
    }

    const BGRA: Wire = Wire { sample: WireSample::U8, components: Components::Bgra };

    #[test]
    fn bytes_that_change_places_at_most_are_not_looked_at() {
        let plain = Options::default();
        let of = |format, flip, options| Work::to_picture(BGRA, &info(format), flip, options).unwrap();
        assert!(of(VideoFormat::Bgra, false, plain).is_copy());
        let rows = |flip, swap, opaque| Work::Rows(Rows { bytes_per_pixel: 4, flip, swap, opaque });
        assert_eq!(of(VideoFormat::Bgra, true, plain), rows(true, false, false));
        assert_eq!(of(VideoFormat::Rgbx, false, plain), rows(false, true, true));
        let with = |alpha| Options { alpha, ..plain };
        assert_eq!(of(VideoFormat::Bgra, false, with(Alpha::Opaque)), rows(false, false, true));
        for (format, options) in [
            (VideoFormat::Bgr, plain),
            (VideoFormat::Nv12, plain),
            (VideoFormat::Bgrx, with(Alpha::PremultipliedToStraight)),
            (VideoFormat::Bgra, Options { transfer: Transfer::LinearToSrgb, ..plain }),
            (VideoFormat::Bgra, Options { gamut: Gamut::Bt709ToBt2020, ..plain }),
        ] {
            assert!(matches!(of(format, false, options), Work::Convert(_)), "{format:?} {options:?}");
        }
    }

    #[test]
    fn padding_on_the_way_to_a_wire_is_written_as_maximum() {
        let work = Work::to_wire(&info(VideoFormat::Bgrx), BGRA, true);
        assert_eq!(work, Some(Work::Rows(Rows { bytes_per_pixel: 4, flip: true, swap: false, opaque: true })));
        let float = Wire { sample: WireSample::F32, components: Components::Rgba };
        assert!(matches!(Work::to_wire(&info(VideoFormat::Nv12), float, true), Some(Work::Convert(_))));
        let unwritten = Wire { sample: WireSample::Bf16, components: Components::Rgba };
        assert_eq!(Work::to_wire(&info(VideoFormat::Nv12), unwritten, true), None);
        assert_eq!(Work::to_wire(&info(VideoFormat::Gray8), BGRA, true), None, "the host has that alone");
    }

    #[test]
    fn caps_say_which_matrix_range_and_site() {
        gst::init().unwrap();
        let with = |said: &str, height| {
            let caps = format!("video/x-raw,format=NV12,width=64,height={height},framerate=1/1{said}");
            picture(&video::info(&caps.parse::<gst::Caps>().unwrap()).unwrap()).and_then(Picture::yuv)
        };
        let yuv = |matrix, range, site| Some(Yuv { matrix, range, site });
        use ChromaSite::{Left, Middle};
        let bt601 = yuv(Matrix::Bt601, Range::Limited, Left);
        assert_eq!(with(",colorimetry=bt601,chroma-site=mpeg2", 48), bt601);
        assert_eq!(with(",colorimetry=bt601", 48), bt601, "what no caps tell is what H.264 means");
        assert_eq!(with(",colorimetry=1:3:7:1,chroma-site=jpeg", 48), yuv(Matrix::Bt709, Range::Full, Middle));
        assert_eq!(with(",colorimetry=bt2100-pq", 48), yuv(Matrix::Bt2020, Range::Limited, Left));
        assert_eq!(with(",colorimetry=smpte240m,chroma-site=mpeg2", 48), None);
        for (site, near) in [("cosited", Left), ("dv", Left), ("v-cosited", Middle)] {
            let found = with(&format!(",colorimetry=bt709,chroma-site={site}"), 48);
            assert_eq!(found, yuv(Matrix::Bt709, Range::Limited, near), "{site}");
        }
        // Where caps say nothing of either, GStreamer's defaults stand; what they do say stays.
        assert_eq!(with("", 48), yuv(Matrix::Bt601, Range::Limited, Middle));
        assert_eq!(with("", 1080), yuv(Matrix::Bt709, Range::Limited, Left));
        assert_eq!(with(",chroma-site=mpeg2", 48), bt601);
        assert_eq!(with(",chroma-site=jpeg", 1080), yuv(Matrix::Bt709, Range::Limited, Middle));
    }
}
