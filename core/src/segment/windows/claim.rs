// SPDX-License-Identifier: MPL-2.0
//! Who produces under a name: a named event that its producer alone holds, so that it goes with the process.
//!
//! (A mutex that is owned would belong to a thread, and look abandoned when that one thread ends.)
//!
//! The event of a live producer is `NAME.tdlink.producer.N`; it is set when another one takes the name, and when its
//! producer ends. The producer that was robbed may keep its event for long, so the next one uses another N. Whoever looks
//! at an event has it open, and so keeps the dead alive for that moment: events are looked at and made under a mutex.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, WAIT_ABANDONED, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{
    CreateEventW, CreateMutexW, EVENT_MODIFY_STATE, OpenEventW, ReleaseMutex, SYNCHRONIZATION_SYNCHRONIZE,
    WaitForSingleObject,
};

use super::security::CurrentUserOnly;
use super::{event, failed, owned, wide};
use crate::segment::{SegmentError, SegmentName};

/// Producers of one name that can be alive at once, all but one of them robbed.
const PRODUCERS: u32 = 16;
/// Longest wait for the mutex, in milliseconds; it is held for microseconds.
const PATIENCE_MS: u32 = 1000;

/// The right to produce under a name, until it is dropped.
#[derive(Debug)]
pub(in crate::segment) struct Claim {
    name: SegmentName,
    number: u32,
    event: OwnedHandle,
}

impl Claim {
    /// Claims `name`; the second value tells whether a live producer lost it.
    pub(in crate::segment) fn new(name: &SegmentName, takeover: bool) -> Result<(Self, bool), SegmentError> {
        let _turn = Turn::wait(name)?;
        let mut robbed = false;
        let mut free = None;
        for number in 0..PRODUCERS {
            match open(name, number).map_err(|err| failed("looking for a producer", name, err))? {
                None => free = free.or(Some(number)),
                Some(event) if is_set(&event) => {}
                Some(_) if !takeover => {
                    return Err(SegmentError::LiveProducer { name: name.as_str().to_owned(), pid: None });
                }
                Some(event) => {
                    event::set(&event);
                    robbed = true;
                }
            }
        }
        let Some(number) = free else {
            return Err(SegmentError::Restless { name: name.as_str().to_owned(), tries: PRODUCERS });
        };
        let event = create(name, number).map_err(|err| failed("claiming", name, err))?;
        Ok((Self { name: name.clone(), number, event }, robbed))
    }

    /// Whether somebody has claimed `name` and not lost it.
    pub(in crate::segment) fn exists(name: &SegmentName) -> Result<bool, SegmentError> {
        let _turn = Turn::wait(name)?;
        for number in 0..PRODUCERS {
            let event = open(name, number).map_err(|err| failed("looking for a producer", name, err))?;
            if event.is_some_and(|event| !is_set(&event)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether nobody else has any claim, not even a lost one: whoever was robbed has given up.
    pub(in crate::segment) fn is_alone(&self) -> Result<bool, SegmentError> {
        for number in (0..PRODUCERS).filter(|&number| number != self.number) {
            let event = open(&self.name, number).map_err(|err| failed("looking for a producer", &self.name, err))?;
            if event.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether another producer took the name.
    pub(in crate::segment) fn is_lost(&self) -> bool {
        is_set(&self.event)
    }
}

#[cfg(test)]
impl Claim {
    /// Ends as with a process that was killed: the system closes the event, and nobody sets it.
    pub(super) fn die(self) {
        let claim = std::mem::ManuallyDrop::new(self);
        // SAFETY: the handle is open, and nobody closes it again.
        unsafe { windows_sys::Win32::Foundation::CloseHandle(claim.event.as_raw_handle()) };
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The event may stay for a moment: programs that know nothing of turns look at it as well.
        event::set(&self.event);
    }
}

fn event_name(name: &SegmentName, number: u32) -> Vec<u16> {
    wide(&format!("{name}.tdlink.producer.{number}"))
}

fn open(name: &SegmentName, number: u32) -> io::Result<Option<OwnedHandle>> {
    let name = event_name(name, number);
    // SAFETY: the name ends in 0 and outlives the call.
    let event = unsafe { OpenEventW(EVENT_MODIFY_STATE | SYNCHRONIZATION_SYNCHRONIZE, 0, name.as_ptr()) };
    match owned(event) {
        Ok(event) => Ok(Some(event)),
        Err(err) if err.raw_os_error() == Some(ERROR_FILE_NOT_FOUND as i32) => Ok(None),
        Err(err) => Err(err),
    }
}

fn create(name: &SegmentName, number: u32) -> io::Result<OwnedHandle> {
    let name = event_name(name, number);
    let security = CurrentUserOnly::new()?;
    // SAFETY: the attributes and the name, which ends in 0, outlive the call.
    owned(unsafe { CreateEventW(security.attributes(), 1, 0, name.as_ptr()) })
}

fn is_set(event: &OwnedHandle) -> bool {
    // SAFETY: the handle is open and can be waited for; 0 asks only.
    unsafe { WaitForSingleObject(event.as_raw_handle(), 0) == WAIT_OBJECT_0 }
}

/// Nobody else claims this name meanwhile. Ends on the thread that began it.
struct Turn {
    mutex: OwnedHandle,
}

impl Turn {
    fn wait(name: &SegmentName) -> Result<Self, SegmentError> {
        let doing = "waiting for other producers";
        let security = CurrentUserOnly::new().map_err(|err| failed(doing, name, err))?;
        let wide = wide(&format!("{name}.tdlink.turn"));
        // SAFETY: the attributes and the name, which ends in 0, outlive the call.
        let mutex = owned(unsafe { CreateMutexW(security.attributes(), 0, wide.as_ptr()) });
        let mutex = mutex.map_err(|err| failed(doing, name, err))?;
        // SAFETY: the handle is open and can be waited for.
        match unsafe { WaitForSingleObject(mutex.as_raw_handle(), PATIENCE_MS) } {
            // Whoever abandoned it changed one event at most, which is there or gone.
            WAIT_OBJECT_0 | WAIT_ABANDONED => Ok(Self { mutex }),
            _ => Err(SegmentError::Restless { name: name.as_str().to_owned(), tries: 1 }),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // SAFETY: this thread owns the mutex, since a `Turn` does not leave the function that waited for it.
        unsafe { ReleaseMutex(self.mutex.as_raw_handle()) };
    }
}
