// SPDX-License-Identifier: MPL-2.0
//! Processes of Windows that end with us, however we end.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::process::Child;
use std::ptr;

use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
};

use super::windows::owned;

/// A job object of which this process has the only handle: the system ends all that is in it when that is closed, which
/// it does for a process that is terminated, too.
#[derive(Debug)]
pub struct Job {
    handle: OwnedHandle,
}

impl Job {
    /// One with nothing in it.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn new() -> io::Result<Self> {
        // SAFETY: FACT: CreateJobObjectW takes null for the default security, which is not inherited, and for no name.
        let handle = owned(unsafe { CreateJobObjectW(ptr::null(), ptr::null()) })?;
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        // SAFETY: FACT: SetInformationJobObject reads as many bytes as it is told, here those of `limits`; the handle is open.
        let set = unsafe {
            SetInformationJobObject(
                handle.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size_of_val(&limits) as u32,
            )
        };
        if set == 0 { Err(io::Error::last_os_error()) } else { Ok(Self { handle }) }
    }

    /// Puts a process in; what it starts from now on is in it, too.
    ///
    /// # Errors
    /// The system's refusal: it has ended.
    pub fn add(&self, process: &Child) -> io::Result<()> {
        // SAFETY: FACT: AssignProcessToJobObject takes two open handles, which the borrows keep open.
        let added = unsafe { AssignProcessToJobObject(self.handle.as_raw_handle(), process.as_raw_handle()) };
        if added == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_is_in_a_job_ends_when_the_job_is_closed() {
        // It waits for a line that nobody sends.
        let mut waiting = Command::new("cmd");
        let mut child = waiting.args(["/c", "pause"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let job = Job::new().unwrap();
        job.add(&child).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it runs on in the job");
        drop(job);
        let deadline = Instant::now() + Duration::from_secs(20);
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it runs on without the job");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
