// SPDX-License-Identifier: MPL-2.0
//! Wires to pictures and back, as a [`Conversion`] says.

use std::ffi::c_void;
use std::ptr;

use super::super::copy::Plane;
use super::super::error::CudaError;
use super::super::stream::Stream;
use super::{Kernel, Work};
use crate::pixels::{ChromaSite, Conversion, Direction, Matrix, PlaneSize, Range, Yuv};

/// Pixels of a row that one thread handles at a time.
const GROUP: usize = 4;

/// What the kernels take, by value: 104 bytes, little-endian, each number at the offset that stands beside it.
/// `pixel.cuh` has the same.
///
/// A wire and a picture of one plane have no second plane: address and pitch of it are 0. With `flip`, row y of the
/// picture is row height − 1 − y of the wire.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Parameters {
    /// 0: address of the source, or of its luma.
    src: u64,
    /// 8: address of the source's chroma.
    src_chroma: u64,
    /// 16: address of the destination, or of its luma.
    dst: u64,
    /// 24: address of the destination's chroma.
    dst_chroma: u64,
    /// 32: bytes from one row of the source to the next.
    src_pitch: u32,
    /// 36: the same for its chroma.
    src_chroma_pitch: u32,
    /// 40: the same for the destination.
    dst_pitch: u32,
    /// 44: the same for its chroma.
    dst_chroma_pitch: u32,
    /// 48: pixels of a row.
    width: u32,
    /// 52: rows.
    height: u32,
    /// 56: 1 where the first row becomes the last, else 0.
    flip: u32,
    /// 60: samples of the wire, a `WireSample`.
    sample: u32,
    /// 64: components of the wire, a `Components`.
    components: u32,
    /// 68: the picture, a `Picture::code`.
    picture: u32,
    /// 72: an `Alpha`.
    alpha: u32,
    /// 76: a `Transfer`.
    transfer: u32,
    /// 80: nits of linear 1.0, from 1 to 10 000.
    white: f32,
    /// 84: a `Gamut`.
    gamut: u32,
    /// 88: a `Matrix`; 1 where there is no chroma.
    matrix: u32,
    /// 92: a `Range`; 0 where there is no chroma.
    range: u32,
    /// 96: a `ChromaSite`; 0 where there is no chroma.
    site: u32,
    /// 100: 0.
    unused: u32,
}

/// Has `stream` bring `src` to `dst` as `conversion` says, in one pass. Each side is one plane, or luma and chroma. The
/// sides must not overlap.
///
/// The size of the picture is that of the wire's rows.
///
/// # Errors
/// Planes that are not those of such a picture ([`CudaError::Shapes`]), or not where samples can be
/// ([`CudaError::Unaligned`]); a driver that is too old, or its refusal.
pub fn convert(dst: &[Plane], src: &[Plane], conversion: &Conversion, stream: &Stream) -> Result<(), CudaError> {
    let wire = match conversion.direction() {
        Direction::ToPicture => src.first(),
        Direction::ToWire => dst.first(),
    };
    let (width, height) = wire.map_or((0, 0), |w| (w.row_bytes() / conversion.wire().pixel_bytes(), w.rows()));
    let (wanted_src, wanted_dst) = conversion.planes(width, height);
    let [src, src_chroma] = fitting(src, wanted_src)?;
    let [dst, dst_chroma] = fitting(dst, wanted_dst)?;
    let number = |value: usize| {
        let too_large = CudaError::TooLarge { found: value };
        u32::try_from(value).map_err(|_| too_large)
    };
    let (options, yuv) = (conversion.options(), conversion.picture().yuv());
    let none = Yuv { matrix: Matrix::Bt709, range: Range::Limited, site: ChromaSite::Middle };
    let Yuv { matrix, range, site } = yuv.unwrap_or(none);
    let address = |plane: Option<Plane>| plane.map_or(0, |plane| plane.ptr());
    let pitch = |plane: Option<Plane>| plane.map_or(Ok(0), |plane| number(plane.pitch()));
    let parameters = Parameters {
        src: address(src),
        src_chroma: address(src_chroma),
        dst: address(dst),
        dst_chroma: address(dst_chroma),
        src_pitch: pitch(src)?,
        src_chroma_pitch: pitch(src_chroma)?,
        dst_pitch: pitch(dst)?,
        dst_chroma_pitch: pitch(dst_chroma)?,
        width: number(width)?,
        height: number(height)?,
        flip: conversion.flips().into(),
        sample: conversion.wire().sample as u32,
        components: conversion.wire().components as u32,
        picture: conversion.picture().code(),
        alpha: options.alpha as u32,
        transfer: options.transfer as u32,
        white: options.white(),
        gamut: options.gamut as u32,
        matrix: matrix as u32,
        range: range as u32,
        site: site as u32,
        unused: 0,
    };
    let (kernel, rows) = match (conversion.direction(), yuv) {
        (Direction::ToPicture, None) => (Kernel::ToPacked, parameters.height),
        (Direction::ToPicture, Some(_)) => (Kernel::ToYuv, parameters.height.div_ceil(2)),
        (Direction::ToWire, None) => (Kernel::FromPacked, parameters.height),
        (Direction::ToWire, Some(_)) => (Kernel::FromYuv, parameters.height),
    };
    let work = Work { threads: width.div_ceil(GROUP), rows };
    let mut all: [*mut c_void; 1] = [ptr::from_ref(&parameters).cast_mut().cast()];
    // SAFETY: these kernels take one parameter, these 104 bytes; planes lie within memory that their makers vouch for, have
    // the shapes of the picture and the wire, and the kernels touch nothing beside them.
    unsafe { super::launch(kernel, work, &mut all, stream) }
}

/// The planes of one side, if they are those that are wanted.
fn fitting(found: &[Plane], wanted: [Option<PlaneSize>; 2]) -> Result<[Option<Plane>; 2], CudaError> {
    let number = wanted.iter().flatten().count();
    if found.len() != number {
        return Err(CudaError::Planes { found: found.len(), wanted: number });
    }
    for (plane, size) in found.iter().zip(wanted.iter().flatten()) {
        if (plane.row_bytes(), plane.rows()) != (size.row_bytes, size.rows) || size.row_bytes == 0 || size.rows == 0 {
            let (src_rows, src_bytes) = (plane.rows(), plane.row_bytes());
            return Err(CudaError::Shapes { src_rows, src_bytes, dst_rows: size.rows, dst_bytes: size.row_bytes });
        }
        let align = size.align as u64;
        if !plane.ptr().is_multiple_of(align) || !(plane.pitch() as u64).is_multiple_of(align) {
            return Err(CudaError::Unaligned { address: plane.ptr(), pitch: plane.pitch(), align: size.align });
        }
    }
    Ok([found.first().copied(), found.get(1).copied()])
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn parameters_lie_where_the_kernels_look_for_them() {
        assert_eq!((size_of::<Parameters>(), align_of::<Parameters>()), (104, 8));
        let eights = [
            offset_of!(Parameters, src),
            offset_of!(Parameters, src_chroma),
            offset_of!(Parameters, dst),
            offset_of!(Parameters, dst_chroma),
        ];
        assert_eq!(eights, [0, 8, 16, 24]);
        assert_eq!((offset_of!(Parameters, src_pitch), offset_of!(Parameters, dst_chroma_pitch)), (32, 44));
        assert_eq!((offset_of!(Parameters, width), offset_of!(Parameters, flip)), (48, 56));
        assert_eq!((offset_of!(Parameters, sample), offset_of!(Parameters, components)), (60, 64));
        assert_eq!((offset_of!(Parameters, picture), offset_of!(Parameters, alpha)), (68, 72));
        assert_eq!((offset_of!(Parameters, white), offset_of!(Parameters, gamut)), (80, 84));
        assert_eq!((offset_of!(Parameters, matrix), offset_of!(Parameters, range)), (88, 92));
        assert_eq!((offset_of!(Parameters, site), offset_of!(Parameters, unused)), (96, 100));
        for kernel in [Kernel::ToPacked, Kernel::FromPacked, Kernel::ToYuv, Kernel::FromYuv] {
            let declared = format!(".param .align 8 .b8 {}_param_0[104]", kernel.name().to_str().unwrap());
            assert!(kernel.text().contains(&declared), "{kernel:?}");
        }
    }
}
