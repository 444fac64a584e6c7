// SPDX-License-Identifier: MPL-2.0
//! Memory of a GPU, and memory of the host that it copies to and from.

use std::ffi::c_void;
use std::fmt;
use std::ptr::{self, NonNull};

use cudarc::driver::sys::{CUdeviceptr, CUipcMemHandle};

use super::context::{Context, report};
use super::copy::{self, Plane};
use super::error::{CudaError, code};
use super::imports::IpcMemHandle;
use super::stream::{Event, Stream};

/// What the driver shares between processes are whole blocks of this size: memory that starts one and fills it has a
/// handle of its own, and nothing else of this process is seen through it.
pub const BLOCK: usize = 2 << 20;

const HOST_PORTABLE: u32 = 1;

/// Memory of a GPU that other processes can be given. (From `cuMemAlloc`: memory of pools has no such handles.)
pub struct DeviceMem {
    context: Context,
    ptr: CUdeviceptr,
    len: usize,
}

impl fmt::Debug for DeviceMem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceMem").field("ptr", &self.ptr).field("len", &self.len).finish_non_exhaustive()
    }
}

impl DeviceMem {
    /// `len` bytes, rounded up to whole [`BLOCK`]s. What stands in them is anything.
    ///
    /// # Errors
    /// The GPU is full.
    pub fn new(context: &Context, len: usize) -> Result<Self, CudaError> {
        let wanted = len.max(1).checked_next_multiple_of(BLOCK).ok_or(CudaError::OutOfMemory { wanted: len })?;
        let (driver, mut ptr) = (context.driver(), 0);
        let _current = context.enter()?;
        // SAFETY: there is room for the answer.
        match unsafe { (driver.api.cuMemAlloc_v2)(&mut ptr, wanted) } {
            code::OUT_OF_MEMORY => return Err(CudaError::OutOfMemory { wanted }),
            said => driver.check("cuMemAlloc", said)?,
        }
        Ok(Self { context: context.clone(), ptr, len: wanted })
    }

    /// Its address on the GPU.
    pub fn ptr(&self) -> u64 {
        self.ptr
    }

    /// Bytes, whole [`BLOCK`]s.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is not one byte; never.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The handle by which another process opens it.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn ipc_handle(&self) -> Result<IpcMemHandle, CudaError> {
        let driver = self.context.driver();
        let mut handle = CUipcMemHandle { reserved: [0; 64] };
        let _current = self.context.enter()?;
        // SAFETY: there is room for the answer, and the memory lives.
        let said = unsafe { (driver.api.cuIpcGetMemHandle)(&mut handle, self.ptr) };
        driver.check("cuIpcGetMemHandle", said)?;
        Ok(IpcMemHandle(handle.reserved.map(|byte| byte as u8)))
    }

    /// Rows in it, from its first byte on.
    ///
    /// # Errors
    /// They do not fit.
    pub fn plane(&self, pitch: usize, row_bytes: usize, rows: usize) -> Result<Plane, CudaError> {
        Plane::within(self.ptr, self.len, pitch, row_bytes, rows)
    }
}

impl Drop for DeviceMem {
    fn drop(&mut self) {
        let driver = self.context.driver();
        if let Ok(_current) = self.context.enter() {
            // SAFETY: ours; the driver waits for work that uses it.
            report(driver, "cuMemFree", unsafe { (driver.api.cuMemFree_v2)(self.ptr) });
        }
    }
}

/// Where the allocation begins that `ptr` points into, and how many bytes it has.
///
/// # Errors
/// It is no memory of the context's GPU.
pub fn address_range(context: &Context, ptr: u64) -> Result<(u64, usize), CudaError> {
    let driver = context.driver();
    let (mut base, mut len) = (0, 0);
    let _current = context.enter()?;
    // SAFETY: there is room for both answers.
    let said = unsafe { (driver.api.cuMemGetAddressRange_v2)(&mut base, &mut len, ptr) };
    driver.check("cuMemGetAddressRange", said)?;
    Ok((base, len))
}

/// Memory of the host that the GPU copies to and from by itself, one copy at a time. Its bytes can be looked at when no
/// copy is going on: whoever asks for them waits for that.
pub struct PinnedMem {
    context: Context,
    ptr: NonNull<u8>,
    len: usize,
    done: Event,
    busy: bool,
}

// SAFETY: the memory belongs to no thread.
unsafe impl Send for PinnedMem {}
// SAFETY: a shared reference gives no access to the bytes.
unsafe impl Sync for PinnedMem {}

impl fmt::Debug for PinnedMem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedMem").field("len", &self.len).field("busy", &self.busy).finish_non_exhaustive()
    }
}

impl PinnedMem {
    /// `len` zeroed bytes.
    ///
    /// # Errors
    /// The host has not that much memory to pin.
    pub fn new(context: &Context, len: usize) -> Result<Self, CudaError> {
        let (driver, len) = (context.driver(), len.max(1));
        let done = Event::new(context)?;
        let mut raw = ptr::null_mut::<c_void>();
        let _current = context.enter()?;
        // SAFETY: there is room for the answer.
        let said = unsafe { (driver.api.cuMemHostAlloc)(&mut raw, len, HOST_PORTABLE) };
        driver.check("cuMemHostAlloc", said)?;
        let failed = || CudaError::Failed { call: "cuMemHostAlloc", code: 0, what: "no memory was given".to_owned() };
        let ptr = NonNull::new(raw.cast::<u8>()).ok_or_else(failed)?;
        // SAFETY: `len` new bytes, which nobody else knows of.
        unsafe { ptr.write_bytes(0, len) };
        Ok(Self { context: context.clone(), ptr, len, done, busy: false })
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is not one byte; never.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Waits for the copy that is going on, if one is.
    ///
    /// # Errors
    /// What the copy failed with.
    pub fn settle(&mut self) -> Result<(), CudaError> {
        if self.busy {
            self.done.synchronize()?;
            self.busy = false;
        }
        Ok(())
    }

    /// The bytes, once the copy that is going on is done.
    ///
    /// # Errors
    /// What the copy failed with.
    pub fn bytes(&mut self) -> Result<&[u8], CudaError> {
        self.settle()?;
        // SAFETY: `len` initialised bytes that live as long as `self`; no copy is going on, and the next one needs
        // `self` exclusively.
        Ok(unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) })
    }

    /// The bytes for writing, once the copy that is going on is done.
    ///
    /// # Errors
    /// What the copy failed with.
    pub fn bytes_mut(&mut self) -> Result<&mut [u8], CudaError> {
        self.settle()?;
        // SAFETY: `len` initialised bytes that live as long as `self`, which is borrowed exclusively; no copy is going
        // on.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) })
    }

    /// Has `stream` copy `src` here, rows `pitch` bytes apart, from the first byte on.
    ///
    /// # Errors
    /// No room, a stream of another context, or the driver's refusal.
    pub fn download(&mut self, src: Plane, pitch: usize, stream: &Stream) -> Result<(), CudaError> {
        self.settle()?;
        let host = Plane::within(self.ptr.as_ptr() as u64, self.len, pitch, src.row_bytes(), src.rows())?;
        self.busy = true;
        copy::to_host(host, src, stream)?;
        self.watch(stream)
    }

    /// Has `stream` copy rows from here, `pitch` bytes apart, from the first byte on, to `dst`.
    ///
    /// # Errors
    /// No such rows, a stream of another context, or the driver's refusal.
    pub fn upload(&mut self, dst: Plane, pitch: usize, stream: &Stream) -> Result<(), CudaError> {
        self.settle()?;
        let host = Plane::within(self.ptr.as_ptr() as u64, self.len, pitch, dst.row_bytes(), dst.rows())?;
        self.busy = true;
        copy::from_host(dst, host, stream)?;
        self.watch(stream)
    }

    /// Makes sure that the copy's end will be known.
    fn watch(&self, stream: &Stream) -> Result<(), CudaError> {
        self.done.record(stream).inspect_err(|_| {
            // Without an event, nothing else tells. A stream that was lost copies nothing any more.
            let _ = stream.synchronize();
        })
    }
}

impl Drop for PinnedMem {
    fn drop(&mut self) {
        if self.settle().is_err() {
            // Nobody can tell whether the GPU is still copying: better kept than written to when it is another's.
            tracing::warn!(len = self.len, "memory of a copy that failed is kept");
            return;
        }
        let driver = self.context.driver();
        let Ok(_current) = self.context.enter() else { return };
        // SAFETY: ours, and no copy is going on.
        report(driver, "cuMemFreeHost", unsafe { (driver.api.cuMemFreeHost)(self.ptr.as_ptr().cast()) });
    }
}
