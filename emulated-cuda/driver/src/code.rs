// SPDX-License-Identifier: MPL-2.0
//! Result codes: `CUresult`, whose numbers the runtime's `cudaError_t` shares.

use std::ffi::CStr;

/// A result that is not success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(pub u32);

/// What every entry and everything below it answers with.
pub type Outcome<T = ()> = Result<T, Code>;

macro_rules! codes {
    ($($name:ident = $number:literal, $symbol:literal, $text:literal;)*) => {
        impl Code {
            $(pub const $name: Code = Code($number);)*
        }

        /// The symbol and a sentence for a code; none for a number that this driver never gives.
        pub fn describe(code: u32) -> Option<(&'static CStr, &'static CStr)> {
            match code {
                0 => Some((c"CUDA_SUCCESS", c"no error")),
                $($number => Some(($symbol, $text)),)*
                _ => None,
            }
        }
    };
}

codes! {
    INVALID_VALUE = 1, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument";
    OUT_OF_MEMORY = 2, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory";
    NOT_INITIALIZED = 3, c"CUDA_ERROR_NOT_INITIALIZED", c"cuInit has not been called";
    DEVICE_UNAVAILABLE = 46, c"CUDA_ERROR_DEVICE_UNAVAILABLE", c"the device cannot be used now";
    NO_DEVICE = 100, c"CUDA_ERROR_NO_DEVICE", c"no device";
    INVALID_DEVICE = 101, c"CUDA_ERROR_INVALID_DEVICE", c"no such device";
    INVALID_IMAGE = 200, c"CUDA_ERROR_INVALID_IMAGE", c"the module image is not valid";
    INVALID_CONTEXT = 201, c"CUDA_ERROR_INVALID_CONTEXT", c"no context, or one that cannot do this";
    MAP_FAILED = 205, c"CUDA_ERROR_MAP_FAILED", c"memory could not be mapped";
    ALREADY_MAPPED = 208, c"CUDA_ERROR_ALREADY_MAPPED", c"already mapped";
    NO_BINARY_FOR_GPU = 209, c"CUDA_ERROR_NO_BINARY_FOR_GPU", c"the module has no code for this device";
    ECC_UNCORRECTABLE = 214, c"CUDA_ERROR_ECC_UNCORRECTABLE", c"uncorrectable memory error";
    PEER_ACCESS_UNSUPPORTED = 217, c"CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", c"these devices cannot reach each other";
    INVALID_PTX = 218, c"CUDA_ERROR_INVALID_PTX", c"the module text does not compile";
    INVALID_HANDLE = 400, c"CUDA_ERROR_INVALID_HANDLE", c"not a handle of a living object of this context";
    ILLEGAL_STATE = 401, c"CUDA_ERROR_ILLEGAL_STATE", c"not allowed in this state";
    NOT_FOUND = 500, c"CUDA_ERROR_NOT_FOUND", c"no such name";
    NOT_READY = 600, c"CUDA_ERROR_NOT_READY", c"not yet complete";
    ILLEGAL_ADDRESS = 700, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"a kernel reached outside its memory; the context is lost";
    PEER_ACCESS_ALREADY_ENABLED = 704, c"CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", c"peer access is on already";
    PEER_ACCESS_NOT_ENABLED = 705, c"CUDA_ERROR_PEER_ACCESS_NOT_ENABLED", c"peer access is not on";
    PRIMARY_CONTEXT_ACTIVE = 708, c"CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", c"the primary context is in use";
    CONTEXT_IS_DESTROYED = 709, c"CUDA_ERROR_CONTEXT_IS_DESTROYED", c"the current context was destroyed";
    LAUNCH_FAILED = 719, c"CUDA_ERROR_LAUNCH_FAILED", c"the device failed; the context is lost";
    NOT_SUPPORTED = 801, c"CUDA_ERROR_NOT_SUPPORTED", c"not supported";
    CAPTURE_UNSUPPORTED = 900, c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", c"not allowed while a stream is captured";
    CAPTURE_INVALIDATED = 901, c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", c"the capture was spoilt by an earlier error";
    UNKNOWN = 999, c"CUDA_ERROR_UNKNOWN", c"the emulated driver itself failed";
}
