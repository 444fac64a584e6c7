// SPDX-License-Identifier: MPL-2.0
//! The driver's functions that are used here, each looked up by its exact name before the first one is called.
//!
//! Types are cudarc's. Results are plain numbers: a newer driver may say one that no list has.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::transmute_copy;

use cudarc::driver::sys::{
    CUDA_MEMCPY2D, CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction, CUipcEventHandle, CUipcMemHandle, CUmodule,
    CUstream,
};

macro_rules! api {
    ($($name:ident($($argument:ty),* $(,)?);)*) => {
        /// Entry points of one driver library.
        #[derive(Debug, Clone, Copy)]
        #[allow(non_snake_case)] // the driver's names
        pub(super) struct Api {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> u32,)*
        }

        impl Api {
            /// Every name that is looked up.
            pub(super) const SYMBOLS: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Looks all names up; gives the first one that is missing.
            ///
            /// # Safety
            /// What `look_up` gives for a name is the CUDA driver's function of that name, and stays callable for as long
            /// as the value is used.
            #[allow(non_snake_case)] // the driver's names
            pub(super) unsafe fn load(
                mut look_up: impl FnMut(&'static CStr) -> Option<*const c_void>,
            ) -> Result<Self, &'static str> {
                $(
                    let name = stringify!($name);
                    let address = look_up(cstr(concat!(stringify!($name), "\0"))).filter(|found| !found.is_null());
                    let address: *const c_void = address.ok_or(name)?;
                    // SAFETY: a function pointer has the size of an address, this one is not null, and the caller says
                    // that the driver's function of this name stands there, whose signature is NVIDIA's.
                    let $name: unsafe extern "C" fn($($argument),*) -> u32 = unsafe { transmute_copy(&address) };
                )*
                Ok(Self { $($name),* })
            }
        }
    };
}

fn cstr(text: &'static str) -> &'static CStr {
    // The table's names contain no other zero.
    CStr::from_bytes_with_nul(text.as_bytes()).unwrap_or_default()
}

api! {
    cuInit(c_uint);
    cuDriverGetVersion(*mut c_int);
    cuGetErrorString(u32, *mut *const c_char);
    cuDeviceGetCount(*mut c_int);
    cuDeviceGet(*mut CUdevice, c_int);
    cuDeviceGetName(*mut c_char, c_int, CUdevice);
    cuDeviceGetAttribute(*mut c_int, c_uint, CUdevice);
    cuDevicePrimaryCtxRetain(*mut CUcontext, CUdevice);
    cuDevicePrimaryCtxRelease_v2(CUdevice);
    cuCtxPushCurrent_v2(CUcontext);
    cuCtxPopCurrent_v2(*mut CUcontext);
    cuCtxSynchronize();
    cuStreamCreate(*mut CUstream, c_uint);
    cuStreamDestroy_v2(CUstream);
    cuStreamSynchronize(CUstream);
    cuStreamQuery(CUstream);
    cuStreamWaitEvent(CUstream, CUevent, c_uint);
    cuEventCreate(*mut CUevent, c_uint);
    cuEventDestroy_v2(CUevent);
    cuEventRecord(CUevent, CUstream);
    cuEventQuery(CUevent);
    cuEventSynchronize(CUevent);
    cuMemAlloc_v2(*mut CUdeviceptr, usize);
    cuMemFree_v2(CUdeviceptr);
    cuMemGetAddressRange_v2(*mut CUdeviceptr, *mut usize, CUdeviceptr);
    cuMemHostAlloc(*mut *mut c_void, usize, c_uint);
    cuMemFreeHost(*mut c_void);
    cuMemcpy2DAsync_v2(*const CUDA_MEMCPY2D, CUstream);
    cuMemcpyDtoDAsync_v2(CUdeviceptr, CUdeviceptr, usize, CUstream);
    cuMemcpyDtoHAsync_v2(*mut c_void, CUdeviceptr, usize, CUstream);
    cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream);
    cuIpcGetMemHandle(*mut CUipcMemHandle, CUdeviceptr);
    cuIpcOpenMemHandle_v2(*mut CUdeviceptr, CUipcMemHandle, c_uint);
    cuIpcCloseMemHandle(CUdeviceptr);
    cuIpcGetEventHandle(*mut CUipcEventHandle, CUevent);
    cuIpcOpenEventHandle(*mut CUevent, CUipcEventHandle);
    cuModuleLoadData(*mut CUmodule, *const c_void);
    cuModuleUnload(CUmodule);
    cuModuleGetFunction(*mut CUfunction, CUmodule, *const c_char);
    cuLaunchKernel(
        CUfunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, CUstream, *mut *mut c_void, *mut *mut c_void,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn nothing() -> u32 {
        0
    }

    #[test]
    fn each_missing_name_is_told_by_its_name() {
        let there = nothing as *const c_void;
        // SAFETY: nothing of what is loaded is called.
        assert!(unsafe { Api::load(|_| Some(there)) }.is_ok());
        for hidden in Api::SYMBOLS {
            let look_up = |name: &CStr| (name.to_str() != Ok(hidden)).then_some(there);
            // SAFETY: as above.
            assert_eq!(unsafe { Api::load(look_up) }.err(), Some(*hidden));
            let null = |name: &CStr| Some(if name.to_str() == Ok(hidden) { std::ptr::null() } else { there });
            // SAFETY: as above.
            assert_eq!(unsafe { Api::load(null) }.err(), Some(*hidden));
        }
        assert!(Api::SYMBOLS.len() > 30);
    }
}
