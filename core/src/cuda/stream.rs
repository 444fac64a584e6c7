// SPDX-License-Identifier: MPL-2.0
//! Streams, and events that order them, here and across processes.

use std::any::Any;
use std::ffi::{c_char, c_void};
use std::fmt;
use std::ptr;
use std::time::Instant;

use cudarc::driver::sys::{CUevent, CUipcEventHandle, CUstream};

use super::context::{Context, report};
use super::error::{CudaError, code};
use super::imports::IpcEventHandle;
use super::looks::{Pause, Usual};

/// Not ordered against the context's default stream.
const STREAM_NON_BLOCKING: u32 = 1;
const EVENT_BLOCKING_SYNC: u32 = 1;
const EVENT_DISABLE_TIMING: u32 = 2;
const EVENT_INTERPROCESS: u32 = 4;

/// Work of one GPU, one thing after the other.
pub struct Stream {
    context: Context,
    raw: CUstream,
    /// Somebody else's stream; `None`: it is ours.
    owner: Option<Box<dyn Any + Send + Sync>>,
}

// SAFETY: the driver's streams belong to no thread.
unsafe impl Send for Stream {}
// SAFETY: as above, and the driver does its own locking.
unsafe impl Sync for Stream {}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owned = self.owner.is_none();
        f.debug_struct("Stream").field("raw", &self.raw).field("owned", &owned).finish_non_exhaustive()
    }
}

impl Stream {
    /// A new stream that runs beside the default one.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn new(context: &Context) -> Result<Self, CudaError> {
        let (driver, mut raw) = (context.driver(), ptr::null_mut());
        let _current = context.enter()?;
        // SAFETY: there is room for the answer.
        let said = unsafe { (driver.api.cuStreamCreate)(&mut raw, STREAM_NON_BLOCKING) };
        driver.check("cuStreamCreate", said)?;
        Ok(Self { context: context.clone(), raw, owner: None })
    }

    /// A stream of somebody else's, whom `owner` keeps from destroying it.
    ///
    /// # Safety
    /// `raw` is a stream (a `CUstream`; null is the default stream) of `context`, and lives at least until `owner` is
    /// dropped.
    pub unsafe fn borrowed(context: &Context, raw: *mut c_void, owner: impl Send + Sync + 'static) -> Self {
        Self { context: context.clone(), raw: raw.cast(), owner: Some(Box::new(owner)) }
    }

    /// The context's default stream, to whose work all that was queued before in blocking streams belongs: what stands in
    /// it comes after that, and what comes into those later waits for it.
    pub fn legacy(context: &Context) -> Self {
        // It is part of the context, and never destroyed.
        Self { context: context.clone(), raw: ptr::null_mut(), owner: Some(Box::new(())) }
    }

    /// Its context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The driver's pointer (a `CUstream`), which lives as long as this value.
    pub fn raw(&self) -> *mut c_void {
        self.raw.cast()
    }

    pub(super) fn handle(&self) -> CUstream {
        self.raw
    }

    /// Waits until everything in it is done. The processor may spin meanwhile; see [`Event::synchronize`].
    ///
    /// # Errors
    /// What the work failed with.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        let driver = self.context.driver();
        let _current = self.context.enter()?;
        // SAFETY: the stream lives.
        driver.check("cuStreamSynchronize", unsafe { (driver.api.cuStreamSynchronize)(self.raw) })
    }

    /// Whether everything in it is done. (On Windows this also sends off what the driver has only collected.)
    ///
    /// # Errors
    /// What the work failed with.
    pub fn query(&self) -> Result<bool, CudaError> {
        let driver = self.context.driver();
        let _current = self.context.enter()?;
        // SAFETY: the stream lives.
        driver.is_done("cuStreamQuery", unsafe { (driver.api.cuStreamQuery)(self.raw) })
    }

    /// What is put into the stream from now on waits, on the GPU, for what `event` was last recorded behind.
    ///
    /// # Errors
    /// An event of another context, or the driver's refusal.
    pub fn wait_event(&self, event: &Event) -> Result<(), CudaError> {
        let driver = self.context.driver();
        let _current = self.context.enter()?;
        // SAFETY: the stream and the event live.
        driver.check("cuStreamWaitEvent", unsafe { (driver.api.cuStreamWaitEvent)(self.raw, event.raw, 0) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.owner.is_some() {
            return;
        }
        let driver = self.context.driver();
        if let Ok(_current) = self.context.enter() {
            // SAFETY: ours, and nobody uses it any more. Work that is in it goes on.
            report(driver, "cuStreamDestroy", unsafe { (driver.api.cuStreamDestroy_v2)(self.raw) });
        }
    }
}

/// A point in a stream that can be waited for.
pub struct Event {
    context: Context,
    raw: CUevent,
}

// SAFETY: the driver's events belong to no thread.
unsafe impl Send for Event {}
// SAFETY: as above, and the driver does its own locking.
unsafe impl Sync for Event {}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("raw", &self.raw).finish_non_exhaustive()
    }
}

impl Event {
    /// An event of this process, for which threads sleep.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn new(context: &Context) -> Result<Self, CudaError> {
        Self::with(context, EVENT_BLOCKING_SYNC | EVENT_DISABLE_TIMING)
    }

    /// An event that other processes can wait for.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn interprocess(context: &Context) -> Result<Self, CudaError> {
        Self::with(context, EVENT_DISABLE_TIMING | EVENT_INTERPROCESS)
    }

    fn with(context: &Context, flags: u32) -> Result<Self, CudaError> {
        let (driver, mut raw) = (context.driver(), ptr::null_mut());
        let _current = context.enter()?;
        // SAFETY: there is room for the answer.
        driver.check("cuEventCreate", unsafe { (driver.api.cuEventCreate)(&mut raw, flags) })?;
        Ok(Self { context: context.clone(), raw })
    }

    /// An event of another process's. Once its owner may have destroyed it, it must not be waited for any more: see
    /// [`Event::abandon`].
    ///
    /// # Errors
    /// The handle leads to nothing, or to an event of this very process.
    pub fn import(context: &Context, handle: &IpcEventHandle) -> Result<Self, CudaError> {
        let (driver, mut raw) = (context.driver(), ptr::null_mut());
        let _current = context.enter()?;
        let handle = CUipcEventHandle { reserved: handle.0.map(|byte| byte as c_char) };
        // SAFETY: there is room for the answer; any 64 bytes are a handle, if perhaps not a valid one.
        let said = unsafe { (driver.api.cuIpcOpenEventHandle)(&mut raw, handle) };
        match said {
            code::INVALID_CONTEXT => return Err(CudaError::OwnProcess),
            said if said != code::SUCCESS && !code::is_lost(said) => {
                return Err(CudaError::DeadHandle { of: "event", code: said, what: driver.describe(said) });
            }
            said => driver.check("cuIpcOpenEventHandle", said)?,
        }
        Ok(Self { context: context.clone(), raw })
    }

    /// The handle by which another process opens it.
    ///
    /// # Errors
    /// It was not made by [`Event::interprocess`].
    pub fn ipc_handle(&self) -> Result<IpcEventHandle, CudaError> {
        let driver = self.context.driver();
        let mut handle = CUipcEventHandle { reserved: [0; 64] };
        let _current = self.context.enter()?;
        // SAFETY: there is room for the answer, and the event lives.
        let said = unsafe { (driver.api.cuIpcGetEventHandle)(&mut handle, self.raw) };
        driver.check("cuIpcGetEventHandle", said)?;
        Ok(IpcEventHandle(handle.reserved.map(|byte| byte as u8)))
    }

    /// Its context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Moves it behind what is in `stream` now.
    ///
    /// # Errors
    /// A stream of another context, or the driver's refusal.
    pub fn record(&self, stream: &Stream) -> Result<(), CudaError> {
        if !stream.context().is(&self.context) {
            return Err(CudaError::OtherContext { what: "the stream that an event is recorded in" });
        }
        let driver = self.context.driver();
        let _current = self.context.enter()?;
        // SAFETY: the stream and the event live.
        driver.check("cuEventRecord", unsafe { (driver.api.cuEventRecord)(self.raw, stream.handle()) })
    }

    /// Whether what it was last recorded behind is done. An event that was never recorded is.
    ///
    /// # Errors
    /// What the work failed with.
    pub fn query(&self) -> Result<bool, CudaError> {
        let driver = self.context.driver();
        let _current = self.context.enter()?;
        // SAFETY: the event lives.
        driver.is_done("cuEventQuery", unsafe { (driver.api.cuEventQuery)(self.raw) })
    }

    /// Sleeps until what it was last recorded behind is done, for however long that takes.
    ///
    /// # Errors
    /// What the work failed with.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        let driver = self.context.driver();
        let _current = self.context.enter()?;
        // SAFETY: the event lives.
        driver.check("cuEventSynchronize", unsafe { (driver.api.cuEventSynchronize)(self.raw) })
    }

    /// The same until `deadline`, or until `is_over` says that nobody waits any more; whether it is done. For work that
    /// waits for another process, which may have died in the middle of a frame. `usual` is of waits for such work.
    ///
    /// # Errors
    /// What the work failed with.
    pub fn synchronize_by(
        &self,
        deadline: Instant,
        usual: &mut Usual,
        is_over: impl Fn() -> bool,
    ) -> Result<bool, CudaError> {
        let _current = self.context.enter()?;
        let began = Instant::now();
        let mut looks = 1;
        while !self.query()? {
            let now = Instant::now();
            if is_over() || now >= deadline {
                return Ok(false);
            }
            match usual.pause(looks, now - began) {
                Pause::Awake(moment) => {
                    while now.elapsed() < moment {
                        std::hint::spin_loop();
                    }
                }
                Pause::Sleep(time) => std::thread::sleep(time.min(deadline - now)),
            }
            looks += 1;
        }
        usual.learn(looks, began.elapsed());
        Ok(true)
    }

    /// Lets an imported event be, since its owner is dead: NVIDIA leaves open what any further use of it does, and that
    /// may be the owner's last moment in the driver. What it takes up here is given back with the process.
    pub fn abandon(self) {
        let mut abandoned = std::mem::ManuallyDrop::new(self);
        // SAFETY: the value is never used again; everything but the event itself is given back.
        unsafe { ptr::drop_in_place(&mut abandoned.context) };
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let driver = self.context.driver();
        if let Ok(_current) = self.context.enter() {
            // SAFETY: ours, and nobody uses it any more. Work that waits for it goes on.
            report(driver, "cuEventDestroy", unsafe { (driver.api.cuEventDestroy_v2)(self.raw) });
        }
    }
}
