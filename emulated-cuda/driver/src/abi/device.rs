// SPDX-License-Identifier: MPL-2.0
//! Devices, versions and error texts.

use std::ffi::{c_char, c_int};

use super::types::*;
use crate::calls::{entries, put, put_if_wanted};
use crate::code::{self, Code, Outcome};
use crate::config::config;
use crate::machine::state;

/// A device that exists.
pub(super) fn device(device: Device) -> Outcome<Device> {
    state::ready()?;
    match u32::try_from(device) {
        Ok(number) if number < config().devices => Ok(device),
        _ => Err(Code::INVALID_DEVICE),
    }
}

const NAME: &[u8] = b"Emulated CUDA device";

/// Attributes that are not 0: what a device of compute capability 8.9 says.
fn attribute(attribute: c_int) -> c_int {
    match attribute {
        1 => 1024,                        // threads of a block
        2 | 3 => 1024,                    // block x, y
        4 => 64,                          // block z
        5 => i32::MAX,                    // grid x
        6 | 7 => 65_535,                  // grid y, z
        8 => 49_152,                      // shared memory of a block
        9 => 65_536,                      // constant memory
        10 => 32,                         // warp
        11 => i32::MAX,                   // pitch
        12 => 65_536,                     // registers of a block
        13 => 2_520_000,                  // kHz
        14 => 512,                        // texture alignment
        15 | 41 => 1,                     // overlap, unified addressing
        16 => 128,                        // multiprocessors
        19 => 1,                          // host memory can be mapped
        31 => 1,                          // concurrent kernels
        33..=34 => 0,                     // PCI bus and device
        36 => 10_501_000,                 // memory kHz
        37 => 384,                        // memory bus
        38 => 72 << 20,                   // L2
        39 => 1536,                       // threads of a multiprocessor
        40 => 2,                          // copy engines
        51 => 32,                         // texture pitch alignment
        75 => 8,                          // compute capability
        76 => 9,                          //
        78 => 1,                          // stream priorities
        99 => 1,                          // host registration
        102 | 103 => config().vmm.into(), // virtual memory, by file descriptors
        115 => config().pools.into(),     // pools
        125 => config().events.into(),    // IPC events
        _ => 0,
    }
}

entries! {
    fn cuInit(flags: u32) {
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        state::initialize()
    }

    fn cuDriverGetVersion(version: *mut c_int) {
        put!(version, config().version);
        Ok(())
    }

    fn cuGetErrorName(error: u32, text: *mut *const c_char) {
        let known = code::describe(error);
        put!(text, known.map_or(std::ptr::null(), |(name, _)| name.as_ptr()));
        known.map(drop).ok_or(Code::INVALID_VALUE)
    }

    fn cuGetErrorString(error: u32, text: *mut *const c_char) {
        let known = code::describe(error);
        put!(text, known.map_or(std::ptr::null(), |(_, sentence)| sentence.as_ptr()));
        known.map(drop).ok_or(Code::INVALID_VALUE)
    }

    fn cuDeviceGet(number: *mut Device, ordinal: c_int) {
        put!(number, device(ordinal)?);
        Ok(())
    }

    fn cuDeviceGetCount(count: *mut c_int) {
        state::ready()?;
        put!(count, config().devices as c_int);
        Ok(())
    }

    fn cuDeviceGetName(name: *mut c_char, len: c_int, number: Device) {
        device(number)?;
        let len = usize::try_from(len).unwrap_or(0);
        if name.is_null() || len == 0 {
            return Err(Code::INVALID_VALUE);
        }
        for at in 0..len.min(NAME.len() + 1) {
            let byte = if at + 1 == len { 0 } else { NAME.get(at).copied().unwrap_or(0) };
            // The caller says that it has room for `len` bytes.
            put!(name.wrapping_add(at), byte as c_char);
        }
        Ok(())
    }

    fn cuDeviceGetUuid(uuid: *mut [u8; 16], number: Device) {
        let number = device(number)?;
        let mut bytes = *b"emulated-cuda-00";
        bytes[15] = b'0' + number as u8;
        put!(uuid, bytes);
        Ok(())
    }

    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], number: Device) {
        let number = device(number)?;
        let mut bytes = *b"emulated-cuda-00";
        bytes[15] = b'0' + number as u8;
        put!(uuid, bytes);
        Ok(())
    }

    fn cuDeviceGetAttribute(value: *mut c_int, which: c_int, number: Device) {
        device(number)?;
        if !(1..=200).contains(&which) {
            return Err(Code::INVALID_VALUE);
        }
        put!(value, attribute(which));
        Ok(())
    }

    fn cuDeviceTotalMem_v2(bytes: *mut usize, number: Device) {
        device(number)?;
        put!(bytes, config().memory as usize);
        Ok(())
    }

    fn cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, number: Device) {
        device(number)?;
        put!(major, attribute(75));
        put!(minor, attribute(76));
        Ok(())
    }

    fn cuDeviceCanAccessPeer(can: *mut c_int, one: Device, other: Device) {
        let (one, other) = (device(one)?, device(other)?);
        put!(can, c_int::from(one != other));
        Ok(())
    }

    fn cuDeviceGetPCIBusId(text: *mut c_char, len: c_int, number: Device) {
        let number = device(number)?;
        let id = format!("0000:{number:02x}:00.0\0");
        if text.is_null() || usize::try_from(len).unwrap_or(0) < id.len() {
            return Err(Code::INVALID_VALUE);
        }
        for (at, byte) in id.bytes().enumerate() {
            // The caller says that it has room for `len` bytes.
            put!(text.wrapping_add(at), byte as c_char);
        }
        Ok(())
    }

    fn cuDeviceGetByPCIBusId(number: *mut Device, text: *const c_char) {
        state::ready()?;
        if text.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, and a string as the driver asks for.
        let wanted = unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy();
        let found = (0..config().devices).find(|device| format!("0000:{device:02x}:00.0") == wanted);
        put!(number, found.ok_or(Code::INVALID_DEVICE)? as Device);
        Ok(())
    }

    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let context = crate::machine::context::current()?;
        let used = state::state().memory.used(context.device);
        put_if_wanted!(free, config().memory.saturating_sub(used) as usize);
        put_if_wanted!(total, config().memory as usize);
        Ok(())
    }
}
