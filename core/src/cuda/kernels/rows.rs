// SPDX-License-Identifier: MPL-2.0
//! Rows of 8-bit pixels that stay 8-bit pixels.

use std::ffi::c_void;
use std::ptr;

use super::super::copy::{Plane, copy_2d};
use super::super::error::CudaError;
use super::super::stream::Stream;
use super::{Kernel, Work};

/// Bytes that one thread handles at a time, at best.
const WIDE: usize = 16;

const FLIP: u32 = 1;
const SWAP: u32 = 2;
const OPAQUE: u32 = 4;

/// What happens to rows of 8-bit pixels on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rows {
    /// Bytes of a pixel, 1 to 4.
    pub bytes_per_pixel: u32,
    /// The first row becomes the last.
    pub flip: bool,
    /// Red and blue change places; with 3 or 4 bytes per pixel.
    pub swap: bool,
    /// The fourth byte becomes 255.
    pub opaque: bool,
}

impl Rows {
    /// Whether nothing happens that a copy would not do.
    pub fn is_copy(&self) -> bool {
        !(self.flip || self.swap && self.bytes_per_pixel > 2 || self.opaque && self.bytes_per_pixel == 4)
    }

    fn flags(&self) -> u32 {
        u32::from(self.flip) * FLIP + u32::from(self.swap) * SWAP + u32::from(self.opaque) * OPAQUE
    }
}

/// Has `stream` bring `src` to `dst` in one pass. The two must not overlap. Where nothing but a copy is asked for, it is
/// one.
///
/// # Errors
/// Other shapes, rows that are no whole number of pixels or too long for the kernel, a driver that is too old, or the
/// driver's refusal.
pub fn rows_u8(dst: Plane, src: Plane, rows: Rows, stream: &Stream) -> Result<(), CudaError> {
    if rows.is_copy() {
        return copy_2d(dst, src, stream);
    }
    dst.same_shape(&src)?;
    let (row_bytes, height) = (src.row_bytes(), src.rows());
    let size = rows.bytes_per_pixel as usize;
    let bad = CudaError::Plane { rows: height, row_bytes, pitch: src.pitch(), len: size };
    if !(1..=4).contains(&size) || !row_bytes.is_multiple_of(size) {
        return Err(bad);
    }
    let number = |value: usize| u32::try_from(value).map_err(|_| bad.clone());
    let (src_at, dst_at, flags) = (src.ptr(), dst.ptr(), rows.flags());
    let (src_pitch, dst_pitch) = (number(src.pitch())?, number(dst.pitch())?);
    let (width, height, size) = (number(row_bytes / size)?, number(height)?, rows.bytes_per_pixel);
    let mut parameters: [*mut c_void; 8] = [
        ptr::from_ref(&src_at).cast_mut().cast(),
        ptr::from_ref(&dst_at).cast_mut().cast(),
        ptr::from_ref(&src_pitch).cast_mut().cast(),
        ptr::from_ref(&dst_pitch).cast_mut().cast(),
        ptr::from_ref(&width).cast_mut().cast(),
        ptr::from_ref(&height).cast_mut().cast(),
        ptr::from_ref(&size).cast_mut().cast(),
        ptr::from_ref(&flags).cast_mut().cast(),
    ];
    let work = Work { threads: row_bytes.div_ceil(WIDE), rows: height };
    // SAFETY: the kernel takes these eight parameters; planes lie within memory that their makers vouch for, and the kernel
    // writes nothing beside them.
    unsafe { super::launch(Kernel::Rows, work, &mut parameters, stream) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_copy_does_as_well_is_left_to_a_copy() {
        let rows = |bytes_per_pixel, flip, swap, opaque| Rows { bytes_per_pixel, flip, swap, opaque }.is_copy();
        assert!(rows(4, false, false, false) && rows(2, false, true, true) && rows(3, false, false, true));
        assert!(!rows(1, true, false, false) && !rows(3, false, true, false) && !rows(4, false, false, true));
        assert_eq!(Rows { bytes_per_pixel: 4, flip: true, swap: true, opaque: true }.flags(), 7);
    }
}
