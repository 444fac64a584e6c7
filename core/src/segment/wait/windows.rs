// SPDX-License-Identifier: MPL-2.0
//! An event and a high-resolution timer: the system's ordinary waits end up to 16 ms late.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Threading::{
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, CreateEventW, CreateWaitableTimerExW, INFINITE, ResetEvent, SetEvent,
    SetWaitableTimer, TIMER_ALL_ACCESS, WaitForMultipleObjects,
};

use super::Woken;

/// What is waited for where the system has no handle to give.
const COARSE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Waiter {
    woken: Mutex<bool>,
    /// Set while `woken` is: both change under its lock.
    event: Option<OwnedHandle>,
}

impl Default for Waiter {
    fn default() -> Self {
        // SAFETY: no security descriptor and no name are allowed to be null.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        Self { woken: Mutex::new(false), event: owned(event) }
    }
}

impl Waiter {
    pub(super) fn wait_until(&self, deadline: Instant) -> Woken {
        let timer = timer();
        loop {
            if *self.flag() {
                return Woken::Woken;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Woken::Deadline;
            }
            let waited = match (&self.event, &timer) {
                (Some(event), Some(timer)) => wait(event, timer, left),
                _ => false,
            };
            if !waited {
                std::thread::sleep(left.min(COARSE));
            }
        }
    }

    pub(super) fn wake(&self) {
        let mut woken = self.flag();
        *woken = true;
        if let Some(event) = &self.event {
            // SAFETY: the handle is open and an event.
            unsafe { SetEvent(event.as_raw_handle()) };
        }
    }

    pub(super) fn reset(&self) {
        let mut woken = self.flag();
        *woken = false;
        if let Some(event) = &self.event {
            // SAFETY: the handle is open and an event.
            unsafe { ResetEvent(event.as_raw_handle()) };
        }
    }

    fn flag(&self) -> MutexGuard<'_, bool> {
        // Nothing can go wrong while it is held, so a poisoned flag is as good as any.
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A timer of this wait alone, so that two threads may wait on one waiter.
pub(in crate::segment) fn timer() -> Option<OwnedHandle> {
    let create = |flags| {
        // SAFETY: no security descriptor and no name are allowed to be null.
        owned(unsafe { CreateWaitableTimerExW(ptr::null(), ptr::null(), flags, TIMER_ALL_ACCESS) })
    };
    // Before Windows 10 1803 there is no such flag.
    create(CREATE_WAITABLE_TIMER_HIGH_RESOLUTION).or_else(|| create(0))
}

/// Waits for either; false when the system did not.
pub(in crate::segment) fn wait(event: &OwnedHandle, timer: &OwnedHandle, left: Duration) -> bool {
    // In units of 100 ns, rounded up; negative means from now on.
    let due = -i64::try_from(left.as_nanos().div_ceil(100)).unwrap_or(i64::MAX);
    // SAFETY: the handle is an open timer, `due` outlives the call, and there is no routine to call back.
    let set = unsafe { SetWaitableTimer(timer.as_raw_handle(), &due, 0, None, ptr::null(), 0) };
    if set == 0 {
        return false;
    }
    let handles: [HANDLE; 2] = [event.as_raw_handle(), timer.as_raw_handle()];
    // SAFETY: both handles are open and can be waited for.
    let outcome = unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, INFINITE) };
    outcome < 2
}

fn owned(handle: HANDLE) -> Option<OwnedHandle> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: the handle was just created, is not null, and nobody else closes it.
    Some(unsafe { OwnedHandle::from_raw_handle(handle) })
}
