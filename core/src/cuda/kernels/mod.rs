// SPDX-License-Identifier: MPL-2.0
//! What the GPU does to pixels: kernels that were compiled beforehand, to text that every driver since 12.0 understands.
//!
//! Each `*.cu` is a source, the `*.ptx` of the same name what the pinned NVRTC makes of it and of the `*.cuh` it includes
//! (`cargo xtask ptx`).
//!
//! | source | kernels |
//! | --- | --- |
//! | `rows.cu` | `tdlink_rows_u8`: 8-bit pixels that stay 8-bit pixels |
//! | `packed.cu` | `tdlink_to_packed`, `tdlink_from_packed`: a wire and a picture of one plane |
//! | `yuv.cu` | `tdlink_to_yuv`, `tdlink_from_yuv`: a wire and a picture of luma and chroma |
//!
//! `tdlink_rows_u8` takes eight parameters ([`rows`]); the others take one, [`convert::Parameters`], by value. What they
//! compute stands in [`crate::pixels`], with each rounding; numbers of enumerations are those of the types there.

mod convert;
mod rows;

use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use cudarc::driver::sys::{CUfunction, CUmodule};

use super::context::report;
use super::driver::Driver;
use super::error::{CudaError, code};
use super::stream::Stream;
pub use convert::convert;
pub use rows::{Rows, rows_u8};

/// The version whose drivers understand the compiled kernels. They run on GPUs since Maxwell.
pub(super) const UNDERSTOOD_SINCE: i32 = 12_000;
/// Threads of a block, along a row.
const THREADS: usize = 128;
/// Most blocks along a row, and rows at a time: each goes on in steps of these.
const MOST: (u32, u32) = (64, 65_535);

/// A kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Rows,
    ToPacked,
    FromPacked,
    ToYuv,
    FromYuv,
}

impl Kernel {
    const fn name(self) -> &'static CStr {
        match self {
            Self::Rows => c"tdlink_rows_u8",
            Self::ToPacked => c"tdlink_to_packed",
            Self::FromPacked => c"tdlink_from_packed",
            Self::ToYuv => c"tdlink_to_yuv",
            Self::FromYuv => c"tdlink_from_yuv",
        }
    }

    /// The compiled text that has it.
    const fn text(self) -> &'static str {
        match self {
            Self::Rows => include_str!("rows.ptx"),
            Self::ToPacked | Self::FromPacked => include_str!("packed.ptx"),
            Self::ToYuv | Self::FromYuv => include_str!("yuv.ptx"),
        }
    }

    /// Where it is among the modules of a context.
    const fn module(self) -> usize {
        match self {
            Self::Rows => 0,
            Self::ToPacked | Self::FromPacked => 1,
            Self::ToYuv | Self::FromYuv => 2,
        }
    }
}

/// How much there is to do.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// Threads that a row has work for.
    threads: usize,
    /// Rows that are worked on one by one.
    rows: u32,
}

/// Has `stream` run a kernel.
///
/// # Safety
/// `parameters` are those that the kernel takes, and with them it reads and writes only memory that is there.
unsafe fn launch(kernel: Kernel, work: Work, parameters: &mut [*mut c_void], stream: &Stream) -> Result<(), CudaError> {
    let blocks = u32::try_from(work.threads.div_ceil(THREADS)).unwrap_or(u32::MAX).clamp(1, MOST.0);
    let context = stream.context();
    let driver = context.driver();
    let _current = context.enter()?;
    let function = context.kernels().function(kernel, driver)?;
    // SAFETY: the call copies the parameters, which the caller vouches for.
    let said = unsafe {
        (driver.api.cuLaunchKernel)(
            function,
            blocks,
            work.rows.min(MOST.1),
            1,
            THREADS as u32,
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

/// The kernels in one context. The driver compiles a text when one of its kernels is first asked for.
#[derive(Debug, Default)]
pub(super) struct Kernels {
    /// Each text's module, or why there will never be one.
    texts: [Mutex<Option<Result<Loaded, CudaError>>>; 3],
}

/// A text that the driver has compiled.
#[derive(Debug, Clone, Copy)]
struct Loaded(CUmodule);

// SAFETY: the driver's modules belong to no thread.
unsafe impl Send for Loaded {}
// SAFETY: as above, and the driver does its own locking.
unsafe impl Sync for Loaded {}

impl Kernels {
    /// A kernel in the context that is current. A text that the driver will never compile is not tried again.
    fn function(&self, kernel: Kernel, driver: &Driver) -> Result<CUfunction, CudaError> {
        if !driver.runs_kernels() {
            return Err(CudaError::TooOld { found: driver.version() });
        }
        // Each change of it is one assignment.
        let mut text = self.texts[kernel.module()].lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = match &*text {
            Some(known) => known.clone(),
            None => {
                let loaded = load(kernel, driver);
                if loaded.as_ref().err().is_none_or(is_for_good) {
                    *text = Some(loaded.clone());
                }
                loaded
            }
        };
        drop(text);
        let (module, mut function) = (loaded?.0, ptr::null_mut());
        // SAFETY: there is room for the answer; the name ends in 0.
        let said = unsafe { (driver.api.cuModuleGetFunction)(&mut function, module, kernel.name().as_ptr()) };
        driver.check("cuModuleGetFunction", said).map(|()| function)
    }

    /// Whether there is a module to give back.
    pub(super) fn is_loaded(&mut self) -> bool {
        self.modules().next().is_some()
    }

    /// Gives the modules back. Their context is current, and nothing of them runs any more: the caller has waited for
    /// the whole context, because streams that others own, and what was in our own when they went, outlive our part of it.
    pub(super) fn unload(&mut self, driver: &Driver) {
        for Loaded(module) in self.modules() {
            // SAFETY: loaded once, unloaded once, with its context.
            report(driver, "cuModuleUnload", unsafe { (driver.api.cuModuleUnload)(module) });
        }
    }

    fn modules(&mut self) -> impl Iterator<Item = Loaded> {
        let texts = self.texts.iter_mut();
        texts.filter_map(|text| text.get_mut().unwrap_or_else(PoisonError::into_inner).as_ref()?.as_ref().ok().copied())
    }
}

fn load(kernel: Kernel, driver: &Driver) -> Result<Loaded, CudaError> {
    let mut module = ptr::null_mut();
    let text = CString::new(kernel.text()).unwrap_or_default();
    // SAFETY: there is room for the answer; the text ends in 0.
    match unsafe { (driver.api.cuModuleLoadData)(&mut module, text.as_ptr().cast()) } {
        code::OUT_OF_MEMORY => Err(CudaError::OutOfMemory { wanted: text.as_bytes().len() }),
        said => driver.check("cuModuleLoadData", said).map(|()| Loaded(module)),
    }
}

/// Whether a text will not load later, either.
fn is_for_good(error: &CudaError) -> bool {
    matches!(error, CudaError::Failed { code, .. } if code::refuses_text(*code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kernel; 5] = [Kernel::Rows, Kernel::ToPacked, Kernel::FromPacked, Kernel::ToYuv, Kernel::FromYuv];

    #[test]
    #[cfg_attr(miri, ignore = "half a megabyte of text, and no memory by hand")]
    fn the_compiled_texts_are_for_old_gpus_and_have_the_kernels() {
        for kernel in ALL {
            let lines: Vec<&str> = kernel.text().lines().collect();
            assert!(lines.contains(&".version 8.0"), "{kernel:?}: a newer one needs a newer driver");
            assert!(lines.contains(&".target sm_50"), "{kernel:?}");
            let entry = format!(".visible .entry {}(", kernel.name().to_str().unwrap());
            let start = lines.iter().position(|line| *line == entry).expect(&entry);
            let parameters = lines[start + 1..].iter().map_while(|line| line.trim().strip_prefix(".param "));
            let kinds: Vec<&str> = parameters.map(|line| line.split(" tdlink").next().unwrap_or(line)).collect();
            match kernel {
                Kernel::Rows => assert_eq!(kinds, [".u64", ".u64", ".u32", ".u32", ".u32", ".u32", ".u32", ".u32"]),
                _ => assert_eq!(kinds, [".align 8 .b8"], "{kernel:?}"),
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "half a megabyte of text, and no memory by hand")]
    fn each_kernel_is_in_the_module_of_its_text() {
        for a in ALL {
            for b in ALL {
                assert_eq!(a.module() == b.module(), a.text() == b.text(), "{a:?} {b:?}");
            }
        }
    }
}
