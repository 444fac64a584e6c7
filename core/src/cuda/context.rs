// SPDX-License-Identifier: MPL-2.0
//! Contexts, and which one is current on a thread.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::CUcontext;

use super::driver::{Driver, driver};
use super::error::{CudaError, code};
use super::kernels::Kernels;

/// A context of one GPU, kept as long as a clone of this value or anything that was made in it.
#[derive(Debug, Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    driver: &'static Driver,
    raw: Raw,
    device: i32,
    /// Loaded when they are first needed; unloaded before the context goes.
    kernels: Kernels,
    keeper: Keeper,
}

/// What has the context live.
enum Keeper {
    /// The primary context, retained; the driver's handle of the GPU.
    Primary(i32),
    /// Somebody else's.
    Owner(#[allow(dead_code)] Box<dyn Any + Send + Sync>), // dropped, never looked at
}

/// The driver's pointer to a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Raw(CUcontext);

// SAFETY: the driver's contexts belong to no thread; each call says which one is meant.
unsafe impl Send for Raw {}
// SAFETY: as above, and the driver does its own locking.
unsafe impl Sync for Raw {}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("raw", &self.raw.0).field("device", &self.device).finish_non_exhaustive()
    }
}

impl Context {
    /// The primary context of a GPU, which all programs of the run-time library share in a process.
    ///
    /// # Errors
    /// No driver, no such GPU, or the driver's refusal.
    pub fn primary(device: i32) -> Result<Self, CudaError> {
        let driver = driver()?;
        let handle = driver.device(device)?;
        let mut raw = ptr::null_mut();
        // SAFETY: there is room for the answer.
        let said = unsafe { (driver.api.cuDevicePrimaryCtxRetain)(&mut raw, handle) };
        driver.check("cuDevicePrimaryCtxRetain", said)?;
        Ok(Self::over(driver, raw, device, Keeper::Primary(handle)))
    }

    /// A context of somebody else's, whom `owner` keeps from destroying it.
    ///
    /// # Errors
    /// No driver.
    ///
    /// # Safety
    /// `raw` is a context (a `CUcontext`) of GPU number `device`, and lives at least until `owner` is dropped.
    pub unsafe fn borrowed(
        raw: *mut c_void,
        device: i32,
        owner: impl Send + Sync + 'static,
    ) -> Result<Self, CudaError> {
        Ok(Self::over(driver()?, raw.cast(), device, Keeper::Owner(Box::new(owner))))
    }

    fn over(driver: &'static Driver, raw: CUcontext, device: i32, keeper: Keeper) -> Self {
        let inner = Inner { driver, raw: Raw(raw), device, kernels: Kernels::default(), keeper };
        Self { inner: Arc::new(inner) }
    }

    /// Makes the context current on this thread until the guard is dropped. Within the guard of the same context it
    /// costs nothing.
    ///
    /// # Errors
    /// The context was lost.
    pub fn enter(&self) -> Result<Current<'_>, CudaError> {
        let raw = self.inner.raw;
        let push = || {
            // SAFETY: the context lives as long as `self`.
            let said = unsafe { (self.inner.driver.api.cuCtxPushCurrent_v2)(raw.0) };
            self.inner.driver.check("cuCtxPushCurrent", said)
        };
        let entered = STACK.try_with(|stack| {
            let mut stack = stack.borrow_mut();
            let pushed = stack.last().is_none_or(|top| top.raw != raw);
            if pushed {
                push()?;
            }
            let id = stack.last().map_or(0, |top| top.id + 1);
            stack.push(Level { raw, id, pushed, done: false });
            Ok(Some(id))
        });
        // A thread that is ending keeps no list any more.
        let id = entered.unwrap_or_else(|_| push().map(|()| None))?;
        Ok(Current { context: self, id, _thread: PhantomData })
    }

    /// Number of its GPU.
    pub fn device(&self) -> i32 {
        self.inner.device
    }

    /// Tells contexts of this process apart; those that live.
    pub fn id(&self) -> u64 {
        self.inner.raw.0 as u64
    }

    /// The driver's pointer (a `CUcontext`), which lives as long as this value.
    pub fn raw(&self) -> *mut c_void {
        self.inner.raw.0.cast()
    }

    /// The driver.
    pub fn driver(&self) -> &'static Driver {
        self.inner.driver
    }

    /// Whether both mean the same context.
    pub fn is(&self, other: &Self) -> bool {
        self.inner.raw == other.inner.raw
    }

    /// The kernels, loaded once per value and its clones.
    pub(super) fn kernels(&self) -> &Kernels {
        &self.inner.kernels
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let (driver, raw) = (self.driver, self.raw);
        if self.kernels.is_loaded() {
            // SAFETY: the context is still there; whoever keeps it is dropped below.
            let pushed = unsafe { (driver.api.cuCtxPushCurrent_v2)(raw.0) };
            if driver.check("cuCtxPushCurrent", pushed).is_ok() {
                // SAFETY: may be called at any time; it waits for the context that is current.
                report(driver, "cuCtxSynchronize", unsafe { (driver.api.cuCtxSynchronize)() });
                self.kernels.unload(driver);
                let mut popped = ptr::null_mut();
                // SAFETY: there is room for the answer.
                report(driver, "cuCtxPopCurrent", unsafe { (driver.api.cuCtxPopCurrent_v2)(&mut popped) });
            }
        }
        if let Keeper::Primary(device) = self.keeper {
            // SAFETY: it was retained once by this value.
            report(driver, "cuDevicePrimaryCtxRelease", unsafe { (driver.api.cuDevicePrimaryCtxRelease_v2)(device) });
        }
    }
}

/// Says that something could not be given back. A process that ends (4) and a context that was lost have done it.
pub(super) fn report(driver: &Driver, call: &'static str, said: u32) {
    const DEINITIALIZED: u32 = 4;
    if said != code::SUCCESS && said != DEINITIALIZED && !code::is_lost(said) {
        tracing::warn!(call, code = said, what = driver.describe(said), "the driver kept something");
    }
}

/// A level of this thread's stack of contexts, as far as it is ours.
struct Level {
    raw: Raw,
    id: u64,
    /// The driver knows of it.
    pushed: bool,
    /// Its guard is gone, but one above is not.
    done: bool,
}

thread_local! {
    static STACK: RefCell<Vec<Level>> = const { RefCell::new(Vec::new()) };
}

/// A context is current on this thread as long as this value lives. It cannot leave the thread.
#[derive(Debug)]
#[must_use = "the context is current only as long as this lives"]
pub struct Current<'a> {
    context: &'a Context,
    /// `None`: the list does not know of it.
    id: Option<u64>,
    _thread: PhantomData<*const ()>,
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        let driver = self.context.inner.driver;
        let pop = || {
            let mut popped = ptr::null_mut();
            // SAFETY: there is room for the answer.
            report(driver, "cuCtxPopCurrent", unsafe { (driver.api.cuCtxPopCurrent_v2)(&mut popped) });
        };
        let Some(id) = self.id else { return pop() };
        let left = STACK.try_with(|stack| {
            let mut stack = stack.borrow_mut();
            if let Some(level) = stack.iter_mut().rev().find(|level| level.id == id) {
                level.done = true;
            }
            // Guards may go in any order; the driver's stack must be taken down from its top.
            while let Some(level) = stack.pop_if(|level| level.done) {
                if level.pushed {
                    pop();
                }
            }
        });
        if left.is_err() {
            pop();
        }
    }
}
