// SPDX-License-Identifier: MPL-2.0
//! What can go wrong with the driver: that it is not there, and that a call of it fails.

use thiserror::Error;

/// Why there is no usable CUDA driver.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The library cannot be loaded.
    #[error(
        "there is no NVIDIA driver here: {library} cannot be loaded ({why}); install the driver, or start the container \
         with its GPUs"
    )]
    NotThere {
        /// Name of the library.
        library: &'static str,
        /// What the loader said.
        why: String,
    },
    /// The system never has one.
    #[error("there is no CUDA on {system}; Linux and Windows have it")]
    NoSystem {
        /// The system.
        system: &'static str,
    },
    /// The library lacks a function.
    #[error("{library} has no {symbol}; the driver is too old or damaged: install version 525 or a newer one")]
    MissingSymbol {
        /// Name of the library.
        library: &'static str,
        /// Name of the function.
        symbol: &'static str,
    },
    /// What was found is the stand-in that programs are linked to, which does nothing.
    #[error("{library} is the CUDA toolkit's stub and no driver; take the toolkit's \"stubs\" out of the library path")]
    Stub {
        /// Name of the library.
        library: &'static str,
    },
    /// The driver is there, a GPU that it serves is not.
    #[error("the NVIDIA driver finds no GPU; is one built in, visible to this process and not hidden by its settings?")]
    NoDevice,
    /// Library and kernel module are of different versions.
    #[error("the NVIDIA library and the loaded kernel module are of different versions; restart the machine")]
    Mismatch,
    /// The driver refuses to start.
    #[error("the NVIDIA driver does not start: {what} ({code})")]
    Init {
        /// The driver's number.
        code: u32,
        /// The driver's word for it.
        what: String,
    },
}

/// Why a call of the driver failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no driver.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// Nothing will work any more: what a context met cannot be cleared in this process.
    #[error("the GPU was reset; this process must restart ({call}: {what})")]
    Lost {
        /// The driver's function.
        call: &'static str,
        /// The driver's word for it.
        what: String,
    },
    /// The device is full.
    #[error("the GPU has no {wanted} bytes free")]
    OutOfMemory {
        /// Bytes that were wanted.
        wanted: usize,
    },
    /// What this very process exports cannot be opened in it; what another one exports can be, in one context only.
    #[error(
        "the driver does not open this memory here: its producer is this very process, or another context of this process \
         has opened memory of that producer"
    )]
    OwnProcess,
    /// A handle leads to nothing (any more).
    #[error("a handle of shared GPU {of} does not open ({what}, {code}): its producer has gone, or uses another GPU")]
    DeadHandle {
        /// What it should lead to: "memory", or "event".
        of: &'static str,
        /// The driver's number.
        code: u32,
        /// The driver's word for it.
        what: String,
    },
    /// Less memory stands behind a pointer than was announced.
    #[error("{found} bytes of GPU memory stand where {needed} are announced")]
    TooSmall {
        /// Bytes that are there.
        found: usize,
        /// Bytes that are needed.
        needed: usize,
    },
    /// Rows that do not fit their memory, or each other.
    #[error("{rows} rows of {row_bytes} bytes, {pitch} bytes apart, do not fit {len} bytes of memory")]
    Plane {
        /// Rows.
        rows: usize,
        /// Bytes of a row.
        row_bytes: usize,
        /// Bytes from one row to the next.
        pitch: usize,
        /// Bytes of memory.
        len: usize,
    },
    /// The driver does not understand the kernels.
    #[error("the NVIDIA driver is for CUDA {}.{}, kernels need 12.0: install version 525 or a newer one", found / 1000, found % 1000 / 10)]
    TooOld {
        /// Its version, as [`Driver::version`](super::Driver::version) says it.
        found: i32,
    },
    /// Two sides of a copy have other shapes.
    #[error("{src_rows} rows of {src_bytes} bytes cannot become {dst_rows} rows of {dst_bytes} bytes")]
    Shapes {
        /// Rows of the source.
        src_rows: usize,
        /// Bytes of its rows.
        src_bytes: usize,
        /// Rows of the destination.
        dst_rows: usize,
        /// Bytes of its rows.
        dst_bytes: usize,
    },
    /// A picture or a wire has another number of planes.
    #[error("{found} planes are given where the format has {wanted}")]
    Planes {
        /// Planes that are given.
        found: usize,
        /// Planes that the format has.
        wanted: usize,
    },
    /// Samples would not stand where the GPU can read them.
    #[error(
        "rows at {address:#x}, {pitch} bytes apart, do not begin at multiples of {align} bytes, as their samples must"
    )]
    Unaligned {
        /// Address of the first row.
        address: u64,
        /// Bytes from one row to the next.
        pitch: usize,
        /// What both must be multiples of.
        align: usize,
    },
    /// A size that kernels cannot count.
    #[error("{found} pixels, rows or bytes between rows are more than the {} that kernels count", u32::MAX)]
    TooLarge {
        /// The size.
        found: usize,
    },
    /// Things of two contexts were mixed.
    #[error("{what} belongs to another CUDA context")]
    OtherContext {
        /// What does.
        what: &'static str,
    },
    /// Another call failed.
    #[error("{call} failed: {what} ({code})")]
    Failed {
        /// The driver's function.
        call: &'static str,
        /// The driver's number.
        code: u32,
        /// The driver's word for it.
        what: String,
    },
}

/// Numbers of the driver that mean something here.
pub(super) mod code {
    pub const SUCCESS: u32 = 0;
    pub const OUT_OF_MEMORY: u32 = 2;
    pub const STUB_LIBRARY: u32 = 34;
    pub const DEVICE_UNAVAILABLE: u32 = 46;
    pub const NO_DEVICE: u32 = 100;
    pub const INVALID_IMAGE: u32 = 200;
    pub const INVALID_CONTEXT: u32 = 201;
    pub const NO_BINARY_FOR_GPU: u32 = 209;
    pub const ECC_UNCORRECTABLE: u32 = 214;
    pub const INVALID_PTX: u32 = 218;
    pub const NVLINK_UNCORRECTABLE: u32 = 220;
    pub const JIT_COMPILER_NOT_FOUND: u32 = 221;
    pub const UNSUPPORTED_DEVICE_SYNC: u32 = 225;
    pub const NOT_READY: u32 = 600;
    pub const ILLEGAL_ADDRESS: u32 = 700;
    pub const LAUNCH_TIMEOUT: u32 = 702;
    pub const CONTEXT_IS_DESTROYED: u32 = 709;
    pub const HARDWARE_STACK_ERROR: u32 = 714;
    pub const LAUNCH_FAILED: u32 = 719;
    pub const CONTAINED: u32 = 721;
    pub const SYSTEM_NOT_READY: u32 = 802;
    pub const SYSTEM_DRIVER_MISMATCH: u32 = 803;
    pub const UNKNOWN: u32 = 999;

    /// Whether a driver that has said this of a compiled text says it each time: the text, the GPU or the driver's own
    /// compiler would have to be another one.
    pub fn refuses_text(code: u32) -> bool {
        matches!(
            code,
            INVALID_IMAGE | NO_BINARY_FOR_GPU | INVALID_PTX | JIT_COMPILER_NOT_FOUND..=UNSUPPORTED_DEVICE_SYNC
        )
    }

    /// Whether a context that has said this says nothing else any more.
    pub fn is_lost(code: u32) -> bool {
        matches!(
            code,
            DEVICE_UNAVAILABLE
                | ECC_UNCORRECTABLE
                | NVLINK_UNCORRECTABLE
                | ILLEGAL_ADDRESS
                | LAUNCH_TIMEOUT
                | CONTEXT_IS_DESTROYED
                | HARDWARE_STACK_ERROR..=LAUNCH_FAILED | CONTAINED | SYSTEM_NOT_READY | UNKNOWN
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_a_text_is_told_from_one_that_passes() {
        assert!([200, 209, 218, 221, 222, 223, 224, 225].into_iter().all(code::refuses_text));
        assert!(![0, 1, 2, 201, 220, 226, 600, 719].into_iter().any(code::refuses_text));
    }

    #[test]
    fn a_lost_context_is_told_from_a_call_that_failed() {
        for lost in [46, 214, 220, 700, 702, 709, 714, 716, 719, 721, 802, 999] {
            assert!(code::is_lost(lost), "{lost}");
        }
        for passing in [1, 2, 100, 201, 400, 600, 701, 713, 720] {
            assert!(!code::is_lost(passing), "{passing}");
        }
        let lost = CudaError::Lost { call: "cuEventQuery", what: "an illegal address".to_owned() };
        assert!(lost.to_string().starts_with("the GPU was reset; this process must restart"));
    }
}
