// SPDX-License-Identifier: MPL-2.0
//! Rows of GPU memory, and copies of them.

use std::ffi::c_void;
use std::ptr;

use cudarc::driver::sys::{CUDA_MEMCPY2D, CUmemorytype};

use super::error::CudaError;
use super::stream::Stream;

/// Rows of one piece of memory, known to lie within it. It is a place and keeps nothing: whoever uses it has the memory,
/// and has it until the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    ptr: u64,
    pitch: usize,
    row_bytes: usize,
    rows: usize,
}

impl Plane {
    /// `rows` rows of `row_bytes` bytes, `pitch` bytes apart, the first at `ptr`.
    ///
    /// # Safety
    /// They are GPU memory of the context in whose streams they are used, and stay it until that work is done. (On some
    /// machines a GPU reaches all memory of the host, too: a wrong address is a wrong pointer.)
    pub const unsafe fn raw(ptr: u64, pitch: usize, row_bytes: usize, rows: usize) -> Self {
        Self { ptr, pitch, row_bytes, rows }
    }

    /// The same, at the beginning of `len` bytes at `ptr`.
    pub(super) fn within(ptr: u64, len: usize, pitch: usize, row_bytes: usize, rows: usize) -> Result<Self, CudaError> {
        let span = rows.saturating_sub(1).checked_mul(pitch).and_then(|before| before.checked_add(row_bytes));
        let apart = pitch >= row_bytes || rows <= 1;
        match span {
            Some(span) if span <= len && apart && rows > 0 && row_bytes > 0 => Ok(Self { ptr, pitch, row_bytes, rows }),
            _ => Err(CudaError::Plane { rows, row_bytes, pitch, len }),
        }
    }

    /// Address of the first row on the GPU.
    pub const fn ptr(&self) -> u64 {
        self.ptr
    }

    /// Bytes from one row's start to the next one's.
    pub const fn pitch(&self) -> usize {
        self.pitch
    }

    /// Bytes of a row.
    pub const fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The part of each row from byte `from` on, `row_bytes` long: a picture that has less columns.
    ///
    /// # Errors
    /// It reaches beyond the row.
    pub fn columns(&self, from: usize, row_bytes: usize) -> Result<Self, CudaError> {
        match from.checked_add(row_bytes) {
            Some(end) if end <= self.row_bytes && row_bytes > 0 => {
                Ok(Self { ptr: self.ptr + from as u64, row_bytes, ..*self })
            }
            _ => Err(CudaError::Plane { rows: self.rows, row_bytes, pitch: self.pitch, len: self.row_bytes }),
        }
    }

    /// Whether no byte stands between rows.
    fn is_tight(&self) -> bool {
        self.pitch == self.row_bytes || self.rows == 1
    }

    /// Checks that rows of `self` can become those of `src`.
    pub(super) fn same_shape(&self, src: &Self) -> Result<(), CudaError> {
        if (self.row_bytes, self.rows) == (src.row_bytes, src.rows) {
            return Ok(());
        }
        let (src_rows, src_bytes, dst_rows, dst_bytes) = (src.rows, src.row_bytes, self.rows, self.row_bytes);
        Err(CudaError::Shapes { src_rows, src_bytes, dst_rows, dst_bytes })
    }
}

/// Where one side of a copy is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Device,
    Host,
}

/// Has `stream` copy `src` to `dst`, both on its GPU. Rows without a gap on either side are copied as one.
///
/// # Errors
/// Other shapes, or the driver's refusal.
pub fn copy_2d(dst: Plane, src: Plane, stream: &Stream) -> Result<(), CudaError> {
    copy(dst, Side::Device, src, Side::Device, stream)
}

/// The same to the host; `host` stays, and is not looked at, until the stream is past it.
pub(super) fn to_host(host: Plane, src: Plane, stream: &Stream) -> Result<(), CudaError> {
    copy(host, Side::Host, src, Side::Device, stream)
}

/// The same from the host; `host` stays, and is not changed, until the stream is past it.
pub(super) fn from_host(dst: Plane, host: Plane, stream: &Stream) -> Result<(), CudaError> {
    copy(dst, Side::Device, host, Side::Host, stream)
}

fn copy(dst: Plane, dst_side: Side, src: Plane, src_side: Side, stream: &Stream) -> Result<(), CudaError> {
    dst.same_shape(&src)?;
    let context = stream.context();
    let (driver, raw) = (context.driver(), stream.handle());
    let _current = context.enter()?;
    if dst.is_tight() && src.is_tight() {
        let bytes = src.row_bytes * src.rows;
        let (call, said) = match (dst_side, src_side) {
            (Side::Device, Side::Device) => {
                // SAFETY: planes lie within memory that their makers vouch for.
                let said = unsafe { (driver.api.cuMemcpyDtoDAsync_v2)(dst.ptr, src.ptr, bytes, raw) };
                ("cuMemcpyDtoDAsync", said)
            }
            (Side::Host, _) => {
                // SAFETY: as above.
                let said = unsafe { (driver.api.cuMemcpyDtoHAsync_v2)(dst.ptr as *mut c_void, src.ptr, bytes, raw) };
                ("cuMemcpyDtoHAsync", said)
            }
            (_, Side::Host) => {
                // SAFETY: as above.
                let said = unsafe { (driver.api.cuMemcpyHtoDAsync_v2)(dst.ptr, src.ptr as *const c_void, bytes, raw) };
                ("cuMemcpyHtoDAsync", said)
            }
        };
        return driver.check(call, said);
    }
    let kind = |side| match side {
        Side::Device => CUmemorytype::CU_MEMORYTYPE_DEVICE,
        Side::Host => CUmemorytype::CU_MEMORYTYPE_HOST,
    };
    let on = |side, wanted: Side, ptr: u64| if side == wanted { ptr } else { 0 };
    let request = CUDA_MEMCPY2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: kind(src_side),
        srcHost: on(src_side, Side::Host, src.ptr) as *const c_void,
        srcDevice: on(src_side, Side::Device, src.ptr),
        srcArray: ptr::null_mut(),
        srcPitch: src.pitch,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: kind(dst_side),
        dstHost: on(dst_side, Side::Host, dst.ptr) as *mut c_void,
        dstDevice: on(dst_side, Side::Device, dst.ptr),
        dstArray: ptr::null_mut(),
        dstPitch: dst.pitch,
        WidthInBytes: src.row_bytes,
        Height: src.rows,
    };
    // SAFETY: planes lie within memory that their makers vouch for; the request is read before the call returns.
    driver.check("cuMemcpy2DAsync", unsafe { (driver.api.cuMemcpy2DAsync_v2)(&request, raw) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_within_their_memory_or_are_refused() {
        let plane = Plane::within(4096, 3 * 64 + 10, 64, 10, 4).unwrap();
        assert_eq!((plane.ptr(), plane.pitch(), plane.row_bytes(), plane.rows()), (4096, 64, 10, 4));
        for (len, pitch, row_bytes, rows) in [
            (3 * 64 + 9, 64, 10, 4),
            (1 << 30, 9, 10, 2),
            (1 << 30, usize::MAX, 1, 3),
            (1 << 30, 0, usize::MAX, 1),
            (100, 10, 10, 0),
            (100, 10, 0, 10),
        ] {
            let error = Plane::within(4096, len, pitch, row_bytes, rows).unwrap_err();
            assert_eq!(error, CudaError::Plane { rows, row_bytes, pitch, len });
        }
        assert!(Plane::within(0, 10, 3, 10, 1).is_ok());
    }

    #[test]
    fn columns_are_cut_within_the_row() {
        let plane = Plane::within(4096, 100, 20, 20, 5).unwrap();
        let cut = plane.columns(4, 16).unwrap();
        assert_eq!((cut.ptr(), cut.pitch(), cut.row_bytes(), cut.rows()), (4100, 20, 16, 5));
        assert!(plane.columns(5, 16).is_err());
        assert!(plane.columns(usize::MAX, 2).is_err());
        assert!(plane.columns(0, 0).is_err());
        assert!(!cut.is_tight() && plane.is_tight());
    }

    #[test]
    fn only_equal_shapes_can_be_copied() {
        let plane = Plane::within(4096, 100, 20, 20, 5).unwrap();
        assert!(plane.same_shape(&plane.columns(0, 10).unwrap()).is_err());
        assert!(plane.same_shape(&plane).is_ok());
    }
}
