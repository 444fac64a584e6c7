// SPDX-License-Identifier: MPL-2.0
//! What the GPU does to pixels: kernels that were compiled beforehand, to text that every driver since 12.0 understands.
//!
//! `rows.cu` is the source, `rows.ptx` what the pinned NVRTC makes of it (`cargo xtask ptx`).

use std::ffi::{CString, c_void};
use std::ptr;

use cudarc::driver::sys::{CUfunction, CUmodule};

use super::context::report;
use super::copy::Plane;
use super::driver::Driver;
use super::error::CudaError;
use super::stream::Stream;

/// The compiled kernels, for GPUs since Maxwell.
const ROWS_PTX: &str = include_str!("rows.ptx");
/// The version whose drivers understand it.
const UNDERSTOOD_SINCE: i32 = 12_000;
/// Threads of a block, along a row.
const THREADS: u32 = 128;
/// Bytes that one thread handles at a time, at best.
const WIDE: usize = 16;
/// Most blocks along a row, and rows at a time: each goes on in steps of these.
const MOST: (u32, u32) = (64, 65_535);

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
        return super::copy::copy_2d(dst, src, stream);
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
    let chunks = row_bytes.div_ceil(WIDE).div_ceil(THREADS as usize);
    let blocks = u32::try_from(chunks).unwrap_or(u32::MAX).clamp(1, MOST.0);

    let context = stream.context();
    let driver = context.driver();
    let module = context.rows_module()?;
    let _current = context.enter()?;
    // SAFETY: the kernel takes these eight parameters, which the call copies; planes lie within memory that their makers
    // vouch for, and the kernel writes nothing beside them.
    let said = unsafe {
        (driver.api.cuLaunchKernel)(
            module.rows,
            blocks,
            height.min(MOST.1),
            1,
            THREADS,
            1,
            1,
            0,
            stream.handle(),
            parameters.as_mut_ptr(),
            ptr::null_mut(),
        )
    };
    driver.check("cuLaunchKernel", said)
}

/// The kernels in one context.
#[derive(Debug)]
pub(super) struct Module {
    module: CUmodule,
    rows: CUfunction,
}

// SAFETY: the driver's modules belong to no thread.
unsafe impl Send for Module {}
// SAFETY: as above, and the driver does its own locking.
unsafe impl Sync for Module {}

impl Module {
    /// Has the driver compile the kernels for the GPU of the context that is current.
    pub(super) fn load(driver: &Driver) -> Result<Self, CudaError> {
        if driver.version() < UNDERSTOOD_SINCE {
            return Err(CudaError::TooOld { found: driver.version() });
        }
        let mut module = ptr::null_mut();
        let text = CString::new(ROWS_PTX).unwrap_or_default();
        // SAFETY: there is room for the answer; the text ends in 0.
        let said = unsafe { (driver.api.cuModuleLoadData)(&mut module, text.as_ptr().cast()) };
        driver.check("cuModuleLoadData", said)?;
        let mut rows = ptr::null_mut();
        // SAFETY: there is room for the answer; the name ends in 0.
        let said = unsafe { (driver.api.cuModuleGetFunction)(&mut rows, module, c"tdlink_rows_u8".as_ptr()) };
        let loaded = Self { module, rows };
        driver.check("cuModuleGetFunction", said).map(|()| loaded)
    }

    /// Gives the module back. Its context is current, and nothing of it runs any more: streams went before the context.
    pub(super) fn unload(&self, driver: &Driver) {
        // SAFETY: loaded once, unloaded once, with its context.
        report(driver, "cuModuleUnload", unsafe { (driver.api.cuModuleUnload)(self.module) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_text_is_for_old_gpus_and_has_the_kernel() {
        let lines: Vec<&str> = ROWS_PTX.lines().collect();
        assert!(lines.contains(&".version 8.0"), "a newer one needs a newer driver");
        assert!(lines.contains(&".target sm_50"));
        assert!(ROWS_PTX.contains(".visible .entry tdlink_rows_u8("));
        let parameters: Vec<&str> = lines.iter().filter_map(|line| line.trim_start().strip_prefix(".param ")).collect();
        let kinds: Vec<&str> = parameters.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(kinds, [".u64", ".u64", ".u32", ".u32", ".u32", ".u32", ".u32", ".u32"]);
    }

    #[test]
    fn what_a_copy_does_as_well_is_left_to_a_copy() {
        let rows = |bytes_per_pixel, flip, swap, opaque| Rows { bytes_per_pixel, flip, swap, opaque }.is_copy();
        assert!(rows(4, false, false, false) && rows(2, false, true, true) && rows(3, false, false, true));
        assert!(!rows(1, true, false, false) && !rows(3, false, true, false) && !rows(4, false, false, true));
        assert_eq!(Rows { bytes_per_pixel: 4, flip: true, swap: true, opaque: true }.flags(), 7);
    }
}
