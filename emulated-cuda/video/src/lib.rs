// SPDX-License-Identifier: MPL-2.0
//! A video decoder that supports no codec. GStreamer's nvcodec plugin registers nothing, not even upload and download,
//! unless a decoder or an encoder library loads with all of these names.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "a C ABI")]
#![allow(non_snake_case, reason = "the entries bear the library's names")]

const NOT_SUPPORTED: u32 = 801;

/// `CUVIDDECODECAPS`, as far as it is answered: what is asked for stands in the first 24 bytes, then `bIsSupported`.
const IS_SUPPORTED: usize = 24;

/// Answers that the codec is not supported.
///
/// # Safety
/// `caps` is null or points to a `CUVIDDECODECAPS`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuvidGetDecoderCaps(caps: *mut u8) -> u32 {
    if caps.is_null() {
        return 1;
    }
    // SAFETY: the caller's structure is longer than that.
    let supported = unsafe { caps.add(IS_SUPPORTED) };
    // SAFETY: as above.
    unsafe { supported.write(0) };
    0
}

macro_rules! unsupported {
    ($($name:ident)*) => {$(
        /// Not supported; it ignores what it is given.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> u32 {
            NOT_SUPPORTED
        }
    )*};
}

unsupported! {
    cuvidCtxLock
    cuvidCtxLockCreate
    cuvidCtxLockDestroy
    cuvidCtxUnlock
    cuvidCreateDecoder
    cuvidDestroyDecoder
    cuvidDecodePicture
    cuvidReconfigureDecoder
    cuvidGetDecodeStatus
    cuvidCreateVideoParser
    cuvidParseVideoData
    cuvidDestroyVideoParser
    cuvidMapVideoFrame
    cuvidMapVideoFrame64
    cuvidUnmapVideoFrame
    cuvidUnmapVideoFrame64
}
