// SPDX-License-Identifier: MPL-2.0
//! A named mutex of Windows.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND, HANDLE, WAIT_ABANDONED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Threading::{
    CreateMutexW, INFINITE, MUTEX_MODIFY_STATE, OpenMutexW, ReleaseMutex, SYNCHRONIZATION_SYNCHRONIZE,
    SetWaitableTimer, WaitForMultipleObjects, WaitForSingleObject,
};

use super::security::CurrentUserOnly;
use super::{failed, owned, wide};
use crate::segment::wait::windows::timer;
use crate::segment::{CreateOptions, SegmentError, SegmentName};

/// What a wait that is neither over nor timed out comes to.
const REFUSED: &str = "waiting for the mutex";

#[derive(Debug)]
pub(in crate::segment) struct Mutex {
    handle: OwnedHandle,
    name: SegmentName,
}

impl Mutex {
    pub(in crate::segment) fn new(name: &SegmentName, _: &CreateOptions) -> Result<Self, SegmentError> {
        let doing = "creation of the mutex";
        let security = CurrentUserOnly::new().map_err(|err| failed(doing, name, err))?;
        let wide = wide(name.as_str());
        // SAFETY: the attributes and the name, which ends in 0, outlive the call.
        let created = owned(unsafe { CreateMutexW(security.attributes(), 0, wide.as_ptr()) });
        let handle = match created {
            // Creating asks for all rights, of which two are needed.
            Err(err) if err.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32) => open(name),
            created => created,
        };
        Ok(Self { handle: handle.map_err(|err| failed(doing, name, err))?, name: name.clone() })
    }

    pub(in crate::segment) fn exists(name: &SegmentName) -> Result<bool, SegmentError> {
        match open(name) {
            Ok(_) => Ok(true),
            Err(err) if err.raw_os_error() == Some(ERROR_FILE_NOT_FOUND as i32) => Ok(false),
            Err(err) if err.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32) => Ok(true),
            Err(err) => Err(failed("looking for the mutex", name, err)),
        }
    }

    /// Whether the last holder died over it; `None` when the lock cannot be had in time.
    pub(in crate::segment) fn lock(&mut self, patience: Duration) -> Result<Option<bool>, SegmentError> {
        // SAFETY: the handle is open and can be waited for; 0 asks only.
        let at_once = unsafe { WaitForSingleObject(self.handle.as_raw_handle(), 0) };
        match at_once {
            WAIT_TIMEOUT if patience.is_zero() => Ok(None),
            WAIT_TIMEOUT => self.wait(patience),
            outcome => self.acquired(outcome),
        }
    }

    fn wait(&self, patience: Duration) -> Result<Option<bool>, SegmentError> {
        let deadline = Instant::now() + patience;
        let Some(timer) = timer() else { return self.wait_coarsely(patience) };
        // In units of 100 ns, rounded up; negative means from now on.
        let left = deadline.saturating_duration_since(Instant::now());
        let due = -i64::try_from(left.as_nanos().div_ceil(100)).unwrap_or(i64::MAX);
        // SAFETY: the handle is an open timer, `due` outlives the call, and there is no routine to call back.
        let set = unsafe { SetWaitableTimer(timer.as_raw_handle(), &due, 0, None, ptr::null(), 0) };
        if set == 0 {
            return self.wait_coarsely(patience);
        }
        let handles: [HANDLE; 2] = [self.handle.as_raw_handle(), timer.as_raw_handle()];
        // SAFETY: both handles are open and can be waited for. The timer ends the wait.
        let outcome = unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, INFINITE) };
        if outcome == WAIT_OBJECT_0 + 1 { Ok(None) } else { self.acquired(outcome) }
    }

    /// The system's own timing, which can be 16 ms late.
    fn wait_coarsely(&self, patience: Duration) -> Result<Option<bool>, SegmentError> {
        let millis = u32::try_from(patience.as_millis()).unwrap_or(INFINITE - 1).min(INFINITE - 1);
        // SAFETY: the handle is open and can be waited for.
        match unsafe { WaitForSingleObject(self.handle.as_raw_handle(), millis) } {
            WAIT_TIMEOUT => Ok(None),
            outcome => self.acquired(outcome),
        }
    }

    fn acquired(&self, outcome: u32) -> Result<Option<bool>, SegmentError> {
        match outcome {
            WAIT_OBJECT_0 => Ok(Some(false)),
            WAIT_ABANDONED => Ok(Some(true)),
            _ => Err(failed(REFUSED, &self.name, io::Error::last_os_error())),
        }
    }

    pub(in crate::segment) fn unlock(&mut self) {
        // SAFETY: this thread owns the mutex: the lock does not leave the thread that took it.
        let released = unsafe { ReleaseMutex(self.handle.as_raw_handle()) };
        if released == 0 {
            tracing::warn!(name = self.name.as_str(), error = %io::Error::last_os_error(), "the mutex stays locked");
        }
    }
}

fn open(name: &SegmentName) -> io::Result<OwnedHandle> {
    let name = wide(name.as_str());
    // SAFETY: the name ends in 0 and outlives the call.
    owned(unsafe { OpenMutexW(SYNCHRONIZATION_SYNCHRONIZE | MUTEX_MODIFY_STATE, 0, name.as_ptr()) })
}
