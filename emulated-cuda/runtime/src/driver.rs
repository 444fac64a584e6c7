// SPDX-License-Identifier: MPL-2.0
//! What the runtime calls of the driver. The loader finds it: this library never holds a driver of its own.

use std::ffi::{c_char, c_int};

/// Any of the driver's opaque pointers.
pub type Handle = usize;

/// `cudaIpcMemHandle_t` and `cudaIpcEventHandle_t`, which are passed by value.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct IpcHandle {
    reserved: [u8; 64],
}

/// `CUDA_MEMCPY2D_v2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Copy2d {
    pub src_x: usize,
    pub src_y: usize,
    pub src_type: u32,
    pub src_host: usize,
    pub src_device: u64,
    pub src_array: usize,
    pub src_pitch: usize,
    pub dst_x: usize,
    pub dst_y: usize,
    pub dst_type: u32,
    pub dst_host: usize,
    pub dst_device: u64,
    pub dst_array: usize,
    pub dst_pitch: usize,
    pub width: usize,
    pub height: usize,
}

/// `CUDA_MEMCPY3D_v2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Copy3d {
    pub src_position: [usize; 4],
    pub src_type: u32,
    pub src_host: usize,
    pub src_device: u64,
    pub src_array: [usize; 4],
    pub dst_position: [usize; 4],
    pub dst_type: u32,
    pub dst_host: usize,
    pub dst_device: u64,
    pub dst_array: [usize; 4],
    pub width: usize,
    pub height: usize,
    pub depth: usize,
}

const _: () = assert!(size_of::<Copy2d>() == 128 && size_of::<Copy3d>() == 200);

unsafe extern "C" {
    pub fn cuInit(flags: u32) -> u32;
    pub fn cuDriverGetVersion(version: *mut c_int) -> u32;
    pub fn cuGetErrorName(error: u32, text: *mut *const c_char) -> u32;
    pub fn cuGetErrorString(error: u32, text: *mut *const c_char) -> u32;
    pub fn cuDeviceGetCount(count: *mut c_int) -> u32;
    pub fn cuDeviceGetAttribute(value: *mut c_int, which: c_int, device: c_int) -> u32;
    pub fn cuDeviceCanAccessPeer(can: *mut c_int, one: c_int, other: c_int) -> u32;
    pub fn cuDevicePrimaryCtxRetain(context: *mut Handle, device: c_int) -> u32;
    pub fn cuCtxGetCurrent(context: *mut Handle) -> u32;
    pub fn cuCtxSetCurrent(context: Handle) -> u32;
    pub fn cuCtxGetDevice(device: *mut c_int) -> u32;
    pub fn cuCtxSynchronize() -> u32;
    pub fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> u32;
    pub fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32;
    pub fn cuMemAlloc_v2(pointer: *mut u64, size: usize) -> u32;
    pub fn cuMemAllocPitch_v2(pointer: *mut u64, pitch: *mut usize, width: usize, height: usize, element: u32) -> u32;
    pub fn cuMemFree_v2(pointer: u64) -> u32;
    pub fn cuMemAllocAsync(pointer: *mut u64, size: usize, stream: Handle) -> u32;
    pub fn cuMemFreeAsync(pointer: u64, stream: Handle) -> u32;
    pub fn cuMemHostAlloc(pointer: *mut usize, size: usize, flags: u32) -> u32;
    pub fn cuMemFreeHost(pointer: usize) -> u32;
    pub fn cuMemHostRegister_v2(pointer: usize, size: usize, flags: u32) -> u32;
    pub fn cuMemHostUnregister(pointer: usize) -> u32;
    pub fn cuMemcpy(to: u64, from: u64, len: usize) -> u32;
    pub fn cuMemcpyAsync(to: u64, from: u64, len: usize, stream: Handle) -> u32;
    pub fn cuMemcpyHtoD_v2(to: u64, from: usize, len: usize) -> u32;
    pub fn cuMemcpyHtoDAsync_v2(to: u64, from: usize, len: usize, stream: Handle) -> u32;
    pub fn cuMemcpyDtoH_v2(to: usize, from: u64, len: usize) -> u32;
    pub fn cuMemcpyDtoHAsync_v2(to: usize, from: u64, len: usize, stream: Handle) -> u32;
    pub fn cuMemcpyDtoD_v2(to: u64, from: u64, len: usize) -> u32;
    pub fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, len: usize, stream: Handle) -> u32;
    pub fn cuMemcpy2D_v2(copy: *const Copy2d) -> u32;
    pub fn cuMemcpy2DAsync_v2(copy: *const Copy2d, stream: Handle) -> u32;
    pub fn cuMemsetD8_v2(to: u64, value: u8, count: usize) -> u32;
    pub fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: Handle) -> u32;
    pub fn cuPointerGetAttribute(data: *mut u8, which: u32, pointer: u64) -> u32;
    pub fn cuIpcGetMemHandle(handle: *mut IpcHandle, pointer: u64) -> u32;
    pub fn cuIpcOpenMemHandle_v2(pointer: *mut u64, handle: IpcHandle, flags: u32) -> u32;
    pub fn cuIpcCloseMemHandle(pointer: u64) -> u32;
    pub fn cuIpcGetEventHandle(handle: *mut IpcHandle, event: Handle) -> u32;
    pub fn cuIpcOpenEventHandle(event: *mut Handle, handle: IpcHandle) -> u32;
    pub fn cuEventCreate(event: *mut Handle, flags: u32) -> u32;
    pub fn cuEventRecord(event: Handle, stream: Handle) -> u32;
    pub fn cuEventRecordWithFlags(event: Handle, stream: Handle, flags: u32) -> u32;
    pub fn cuEventQuery(event: Handle) -> u32;
    pub fn cuEventSynchronize(event: Handle) -> u32;
    pub fn cuEventDestroy_v2(event: Handle) -> u32;
    pub fn cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) -> u32;
    pub fn cuStreamCreate(stream: *mut Handle, flags: u32) -> u32;
    pub fn cuStreamCreateWithPriority(stream: *mut Handle, flags: u32, priority: c_int) -> u32;
    pub fn cuStreamDestroy_v2(stream: Handle) -> u32;
    pub fn cuStreamSynchronize(stream: Handle) -> u32;
    pub fn cuStreamQuery(stream: Handle) -> u32;
    pub fn cuStreamWaitEvent(stream: Handle, event: Handle, flags: u32) -> u32;
    pub fn cuStreamGetFlags(stream: Handle, flags: *mut u32) -> u32;
    pub fn cuStreamBeginCapture_v2(stream: Handle, mode: u32) -> u32;
    pub fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) -> u32;
    pub fn cuStreamIsCapturing(stream: Handle, status: *mut u32) -> u32;
    pub fn cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) -> u32;
    pub fn cuGraphNodeGetType(node: Handle, kind: *mut c_int) -> u32;
    pub fn cuGraphInstantiateWithFlags(executable: *mut Handle, graph: Handle, flags: u64) -> u32;
    pub fn cuGraphLaunch(executable: Handle, stream: Handle) -> u32;
    pub fn cuGraphDestroy(graph: Handle) -> u32;
    pub fn cuGraphExecDestroy(executable: Handle) -> u32;
    pub fn cuGraphExecMemcpyNodeSetParams(
        executable: Handle,
        node: Handle,
        copy: *const Copy3d,
        context: Handle,
    ) -> u32;
    pub fn cuGraphExecEventRecordNodeSetEvent(executable: Handle, node: Handle, event: Handle) -> u32;
    pub fn cuGraphExecEventWaitNodeSetEvent(executable: Handle, node: Handle, event: Handle) -> u32;
}
