// SPDX-License-Identifier: MPL-2.0
//! The CUDA runtime over the emulated driver, as far as cuda-link and a peer of our own ask for it. Streams, events and
//! pointers are the driver's, and so are the numbers of errors.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "a C ABI over another one")]
#![allow(non_snake_case, reason = "the entries bear the runtime's names")]
#![allow(clippy::missing_safety_doc, reason = "the macro that writes the entries says it once for all")]

mod driver;

use std::cell::Cell;
use std::ffi::{c_char, c_int};

use driver::*;

const INVALID_VALUE: u32 = 1;
const INVALID_CONTEXT: u32 = 201;
const NOT_READY: u32 = 600;
const NOT_SUPPORTED: u32 = 801;
const VERSION: c_int = 12_040;

thread_local! {
    static LAST_ERROR: Cell<u32> = const { Cell::new(0) };
    static DEVICE: Cell<c_int> = const { Cell::new(0) };
}

/// Keeps an error for cudaGetLastError. "Not yet" is no error to keep.
fn keep(code: u32) -> u32 {
    if code != 0 && code != NOT_READY {
        // A thread that is ending has nobody to ask for it.
        let _ = LAST_ERROR.try_with(|last| last.set(code));
    }
    code
}

fn check(code: u32) -> Result<(), u32> {
    if code == 0 { Ok(()) } else { Err(code) }
}

/// Calls an entry of the driver.
macro_rules! cu {
    ($name:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: the driver's entries take the same pointers as the runtime's, whose caller vouches for them.
        check(unsafe { $name($($argument),*) })
    };
}

/// Makes the primary context of this thread's device current, if none is.
fn enter() -> Result<(), u32> {
    cu!(cuInit(0))?;
    let mut current = 0;
    cu!(cuCtxGetCurrent(&raw mut current))?;
    if current == 0 {
        // The runtime holds it to the end of the process.
        let device = DEVICE.try_with(Cell::get).map_err(|_| INVALID_CONTEXT)?;
        cu!(cuDevicePrimaryCtxRetain(&raw mut current, device))?;
        cu!(cuCtxSetCurrent(current))?;
    }
    Ok(())
}

macro_rules! entries {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        /// # Safety
        /// Pointers are null or valid, as the real runtime wants them.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> u32 {
            let body = || -> Result<(), u32> {
                enter()?;
                $body
            };
            keep(body().err().unwrap_or(0))
        }
    )*};
}

/// Writes what an entry gives back.
fn put<T>(to: *mut T, value: T) -> Result<(), u32> {
    if to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: not null, and every entry's contract says valid.
    unsafe { to.write_unaligned(value) };
    Ok(())
}

const HOST_TO_HOST: c_int = 0;
const HOST_TO_DEVICE: c_int = 1;
const DEVICE_TO_HOST: c_int = 2;
const DEVICE_TO_DEVICE: c_int = 3;
const DEFAULT: c_int = 4;

/// The driver's memory types of source and destination.
fn ends(kind: c_int) -> Result<(u32, u32), u32> {
    let (host, device, unified) = (1, 2, 4);
    match kind {
        HOST_TO_HOST => Ok((host, host)),
        HOST_TO_DEVICE => Ok((host, device)),
        DEVICE_TO_HOST => Ok((device, host)),
        DEVICE_TO_DEVICE => Ok((device, device)),
        DEFAULT => Ok((unified, unified)),
        _ => Err(21), // cudaErrorInvalidMemcpyDirection
    }
}

/// A picture's worth of rows: address and pitch of both sides.
fn rows(to: (u64, usize), from: (u64, usize), width: usize, height: usize, kind: c_int) -> Result<Copy2d, u32> {
    let (src_type, dst_type) = ends(kind)?;
    Ok(Copy2d {
        src_type,
        src_host: from.0 as usize,
        src_device: from.0,
        src_pitch: from.1,
        dst_type,
        dst_host: to.0 as usize,
        dst_device: to.0,
        dst_pitch: to.1,
        width,
        height,
        ..Copy2d::default()
    })
}

/// `cudaPointerAttributes`, the part that all versions of the runtime have.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PointerAttributes {
    kind: c_int,
    device: c_int,
    device_pointer: u64,
    host_pointer: u64,
}

entries! {
    fn cudaSetDevice(device: c_int) {
        let mut context = 0;
        cu!(cuDevicePrimaryCtxRetain(&raw mut context, device))?;
        DEVICE.try_with(|own| own.set(device)).map_err(|_| INVALID_CONTEXT)?;
        cu!(cuCtxSetCurrent(context))
    }

    fn cudaGetDevice(device: *mut c_int) {
        cu!(cuCtxGetDevice(device))
    }

    fn cudaGetDeviceCount(count: *mut c_int) {
        cu!(cuDeviceGetCount(count))
    }

    fn cudaDeviceGetAttribute(value: *mut c_int, which: c_int, device: c_int) {
        cu!(cuDeviceGetAttribute(value, which, device))
    }

    fn cudaDeviceCanAccessPeer(can: *mut c_int, one: c_int, other: c_int) {
        cu!(cuDeviceCanAccessPeer(can, one, other))
    }

    fn cudaDeviceGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        cu!(cuCtxGetStreamPriorityRange(least, greatest))
    }

    fn cudaDeviceSynchronize() {
        cu!(cuCtxSynchronize())
    }

    fn cudaDriverGetVersion(version: *mut c_int) {
        cu!(cuDriverGetVersion(version))
    }

    fn cudaRuntimeGetVersion(version: *mut c_int) {
        put(version, VERSION)
    }

    fn cudaMemGetInfo(free: *mut usize, total: *mut usize) {
        cu!(cuMemGetInfo_v2(free, total))
    }

    fn cudaMalloc(pointer: *mut u64, size: usize) {
        cu!(cuMemAlloc_v2(pointer, size))
    }

    fn cudaMallocPitch(pointer: *mut u64, pitch: *mut usize, width: usize, height: usize) {
        cu!(cuMemAllocPitch_v2(pointer, pitch, width, height, 4))
    }

    fn cudaFree(pointer: u64) {
        cu!(cuMemFree_v2(pointer))
    }

    fn cudaMallocAsync(pointer: *mut u64, size: usize, stream: Handle) {
        cu!(cuMemAllocAsync(pointer, size, stream))
    }

    fn cudaFreeAsync(pointer: u64, stream: Handle) {
        cu!(cuMemFreeAsync(pointer, stream))
    }

    fn cudaMallocHost(pointer: *mut usize, size: usize) {
        cu!(cuMemHostAlloc(pointer, size, 0))
    }

    fn cudaHostAlloc(pointer: *mut usize, size: usize, flags: u32) {
        cu!(cuMemHostAlloc(pointer, size, flags))
    }

    fn cudaFreeHost(pointer: usize) {
        if pointer == 0 { Ok(()) } else { cu!(cuMemFreeHost(pointer)) }
    }

    fn cudaHostRegister(pointer: usize, size: usize, flags: u32) {
        cu!(cuMemHostRegister_v2(pointer, size, flags))
    }

    fn cudaHostUnregister(pointer: usize) {
        cu!(cuMemHostUnregister(pointer))
    }

    fn cudaMemcpy(to: u64, from: u64, len: usize, kind: c_int) {
        ends(kind)?;
        match kind {
            HOST_TO_DEVICE => cu!(cuMemcpyHtoD_v2(to, from as usize, len)),
            DEVICE_TO_HOST => cu!(cuMemcpyDtoH_v2(to as usize, from, len)),
            DEVICE_TO_DEVICE => cu!(cuMemcpyDtoD_v2(to, from, len)),
            _ => cu!(cuMemcpy(to, from, len)),
        }
    }

    fn cudaMemcpyAsync(to: u64, from: u64, len: usize, kind: c_int, stream: Handle) {
        ends(kind)?;
        match kind {
            HOST_TO_DEVICE => cu!(cuMemcpyHtoDAsync_v2(to, from as usize, len, stream)),
            DEVICE_TO_HOST => cu!(cuMemcpyDtoHAsync_v2(to as usize, from, len, stream)),
            DEVICE_TO_DEVICE => cu!(cuMemcpyDtoDAsync_v2(to, from, len, stream)),
            _ => cu!(cuMemcpyAsync(to, from, len, stream)),
        }
    }

    fn cudaMemcpy2D(
        to: u64, to_pitch: usize, from: u64, from_pitch: usize, width: usize, height: usize, kind: c_int,
    ) {
        let copy = rows((to, to_pitch), (from, from_pitch), width, height, kind)?;
        cu!(cuMemcpy2D_v2(&raw const copy))
    }

    fn cudaMemcpy2DAsync(
        to: u64, to_pitch: usize, from: u64, from_pitch: usize, width: usize, height: usize, kind: c_int,
        stream: Handle,
    ) {
        let copy = rows((to, to_pitch), (from, from_pitch), width, height, kind)?;
        cu!(cuMemcpy2DAsync_v2(&raw const copy, stream))
    }

    fn cudaMemset(to: u64, value: c_int, count: usize) {
        cu!(cuMemsetD8_v2(to, value as u8, count))
    }

    fn cudaMemsetAsync(to: u64, value: c_int, count: usize, stream: Handle) {
        cu!(cuMemsetD8Async(to, value as u8, count, stream))
    }

    fn cudaPointerGetAttributes(attributes: *mut PointerAttributes, pointer: u64) {
        let (mut kind, mut device) = (0_u32, 0_u32);
        let of_kind = cu!(cuPointerGetAttribute((&raw mut kind).cast(), 2, pointer));
        let of_device = cu!(cuPointerGetAttribute((&raw mut device).cast(), 9, pointer));
        // Memory that nobody has registered is no error: it is the host's.
        let known = of_kind.and(of_device).is_ok();
        let device_memory = known && kind == 2;
        put(attributes, PointerAttributes {
            kind: if known { kind as c_int } else { 0 },
            device: if known { device as c_int } else { -2 },
            device_pointer: if known { pointer } else { 0 },
            host_pointer: if device_memory { 0 } else { pointer },
        })
    }

    fn cudaIpcGetMemHandle(handle: *mut IpcHandle, pointer: u64) {
        cu!(cuIpcGetMemHandle(handle, pointer))
    }

    fn cudaIpcOpenMemHandle(pointer: *mut u64, handle: IpcHandle, flags: u32) {
        cu!(cuIpcOpenMemHandle_v2(pointer, handle, flags))
    }

    fn cudaIpcCloseMemHandle(pointer: u64) {
        cu!(cuIpcCloseMemHandle(pointer))
    }

    fn cudaIpcGetEventHandle(handle: *mut IpcHandle, event: Handle) {
        cu!(cuIpcGetEventHandle(handle, event))
    }

    fn cudaIpcOpenEventHandle(event: *mut Handle, handle: IpcHandle) {
        cu!(cuIpcOpenEventHandle(event, handle))
    }

    fn cudaEventCreate(event: *mut Handle) {
        cu!(cuEventCreate(event, 0))
    }

    fn cudaEventCreateWithFlags(event: *mut Handle, flags: u32) {
        cu!(cuEventCreate(event, flags))
    }

    fn cudaEventRecord(event: Handle, stream: Handle) {
        cu!(cuEventRecord(event, stream))
    }

    fn cudaEventRecordWithFlags(event: Handle, stream: Handle, flags: u32) {
        cu!(cuEventRecordWithFlags(event, stream, flags))
    }

    fn cudaEventQuery(event: Handle) {
        cu!(cuEventQuery(event))
    }

    fn cudaEventSynchronize(event: Handle) {
        cu!(cuEventSynchronize(event))
    }

    fn cudaEventDestroy(event: Handle) {
        cu!(cuEventDestroy_v2(event))
    }

    fn cudaEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) {
        cu!(cuEventElapsedTime(milliseconds, start, end))
    }

    fn cudaStreamCreate(stream: *mut Handle) {
        cu!(cuStreamCreate(stream, 0))
    }

    fn cudaStreamCreateWithFlags(stream: *mut Handle, flags: u32) {
        cu!(cuStreamCreate(stream, flags))
    }

    fn cudaStreamCreateWithPriority(stream: *mut Handle, flags: u32, priority: c_int) {
        cu!(cuStreamCreateWithPriority(stream, flags, priority))
    }

    fn cudaStreamDestroy(stream: Handle) {
        cu!(cuStreamDestroy_v2(stream))
    }

    fn cudaStreamSynchronize(stream: Handle) {
        cu!(cuStreamSynchronize(stream))
    }

    fn cudaStreamQuery(stream: Handle) {
        cu!(cuStreamQuery(stream))
    }

    fn cudaStreamWaitEvent(stream: Handle, event: Handle, flags: u32) {
        cu!(cuStreamWaitEvent(stream, event, flags))
    }

    fn cudaStreamGetFlags(stream: Handle, flags: *mut u32) {
        cu!(cuStreamGetFlags(stream, flags))
    }

    fn cudaStreamBeginCapture(stream: Handle, mode: c_int) {
        cu!(cuStreamBeginCapture_v2(stream, mode as u32))
    }

    fn cudaStreamEndCapture(stream: Handle, graph: *mut Handle) {
        cu!(cuStreamEndCapture(stream, graph))
    }

    fn cudaStreamIsCapturing(stream: Handle, status: *mut u32) {
        cu!(cuStreamIsCapturing(stream, status))
    }

    fn cudaGraphGetNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) {
        cu!(cuGraphGetNodes(graph, nodes, count))
    }

    fn cudaGraphNodeGetType(node: Handle, kind: *mut c_int) {
        cu!(cuGraphNodeGetType(node, kind))
    }

    fn cudaGraphInstantiateWithFlags(executable: *mut Handle, graph: Handle, flags: u64) {
        cu!(cuGraphInstantiateWithFlags(executable, graph, flags))
    }

    fn cudaGraphLaunch(executable: Handle, stream: Handle) {
        cu!(cuGraphLaunch(executable, stream))
    }

    fn cudaGraphDestroy(graph: Handle) {
        cu!(cuGraphDestroy(graph))
    }

    fn cudaGraphExecDestroy(executable: Handle) {
        cu!(cuGraphExecDestroy(executable))
    }

    fn cudaGraphExecMemcpyNodeSetParams1D(
        executable: Handle, node: Handle, to: u64, from: u64, len: usize, kind: c_int,
    ) {
        let (src_type, dst_type) = ends(kind)?;
        let mut context = 0;
        cu!(cuCtxGetCurrent(&raw mut context))?;
        let copy = Copy3d {
            src_type,
            src_host: from as usize,
            src_device: from,
            dst_type,
            dst_host: to as usize,
            dst_device: to,
            width: len,
            height: 1,
            depth: 1,
            ..Copy3d::default()
        };
        cu!(cuGraphExecMemcpyNodeSetParams(executable, node, &raw const copy, context))
    }

    fn cudaGraphExecMemcpyNodeSetParams(_executable: Handle, _node: Handle, _parameters: *const u8) {
        Err(NOT_SUPPORTED)
    }

    fn cudaGraphExecEventRecordNodeSetEvent(executable: Handle, node: Handle, event: Handle) {
        cu!(cuGraphExecEventRecordNodeSetEvent(executable, node, event))
    }

    fn cudaGraphExecEventWaitNodeSetEvent(executable: Handle, node: Handle, event: Handle) {
        cu!(cuGraphExecEventWaitNodeSetEvent(executable, node, event))
    }
}

/// The last error of this thread, which is forgotten.
#[unsafe(no_mangle)]
pub extern "C" fn cudaGetLastError() -> u32 {
    LAST_ERROR.try_with(|last| last.replace(0)).unwrap_or(0)
}

/// The last error of this thread.
#[unsafe(no_mangle)]
pub extern "C" fn cudaPeekAtLastError() -> u32 {
    LAST_ERROR.try_with(Cell::get).unwrap_or(0)
}

fn text(ask: unsafe extern "C" fn(u32, *mut *const c_char) -> u32, error: u32) -> *const c_char {
    let mut text = std::ptr::null();
    // SAFETY: the driver writes a pointer to a text that is never freed, or null.
    let known = unsafe { ask(error, &raw mut text) } == 0;
    if known && !text.is_null() { text } else { c"unrecognized error code".as_ptr() }
}

/// A sentence for an error.
#[unsafe(no_mangle)]
pub extern "C" fn cudaGetErrorString(error: u32) -> *const c_char {
    text(cuGetErrorString, error)
}

/// The symbol of an error, by the driver's name.
#[unsafe(no_mangle)]
pub extern "C" fn cudaGetErrorName(error: u32) -> *const c_char {
    text(cuGetErrorName, error)
}
