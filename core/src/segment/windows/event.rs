// SPDX-License-Identifier: MPL-2.0
//! Named events, by which processes wake each other and by whose existence they show that they live.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, ERROR_FILE_NOT_FOUND, SetLastError};
use windows_sys::Win32::System::Threading::{CreateEventW, OpenEventW, SYNCHRONIZATION_SYNCHRONIZE, SetEvent};

use super::security::CurrentUserOnly;
use super::{owned_or, wide};

/// Makes the event, or opens the one that has the name: then the second value is false. It resets itself when one
/// waiter was woken.
pub(in crate::segment) fn create(name: &str) -> io::Result<(OwnedHandle, bool)> {
    let security = CurrentUserOnly::new()?;
    let name = wide(name);
    // SAFETY: no memory is touched.
    unsafe { SetLastError(0) };
    // SAFETY: the attributes and the name, which ends in 0, outlive the call.
    let event = unsafe { CreateEventW(security.attributes(), 0, 0, name.as_ptr()) };
    let said = io::Error::last_os_error();
    let existed = said.raw_os_error() == Some(ERROR_ALREADY_EXISTS as i32);
    owned_or(event, said).map(|event| (event, !existed))
}

/// Whether somebody has an event of this name.
pub(in crate::segment) fn exists(name: &str) -> io::Result<bool> {
    let name = wide(name);
    // SAFETY: the name ends in 0 and outlives the call.
    let event = unsafe { OpenEventW(SYNCHRONIZATION_SYNCHRONIZE, 0, name.as_ptr()) };
    match owned_or(event, io::Error::last_os_error()) {
        Ok(_) => Ok(true),
        Err(err) if err.raw_os_error() == Some(ERROR_FILE_NOT_FOUND as i32) => Ok(false),
        Err(err) => Err(err),
    }
}

/// Wakes a waiter, or the next one to come.
pub(in crate::segment) fn set(event: &OwnedHandle) {
    // SAFETY: the handle is open and an event.
    unsafe { SetEvent(event.as_raw_handle()) };
}
