// SPDX-License-Identifier: MPL-2.0
//! What other processes are called, for people.

/// The name of a process's program: `python3`, `TouchDesigner.exe`. `None` when there is no such process, or the system
/// does not tell.
#[cfg(target_os = "linux")]
pub fn program_name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The name of a process's program: `python3`, `TouchDesigner.exe`. `None` when there is no such process, or the system
/// does not tell.
#[cfg(windows)]
pub fn program_name(pid: u32) -> Option<String> {
    use std::os::windows::io::AsRawHandle;

    use windows_sys::Win32::System::Threading::{
        OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
    };

    /// Letters of the longest path.
    const LONGEST: usize = 32_768;

    // SAFETY: no memory is touched.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    let process = super::windows::owned(process).ok()?;
    let (mut path, mut len) = (vec![0u16; LONGEST], LONGEST as u32);
    // SAFETY: `path` has room for `len` letters, and the handle is an open process.
    let told =
        unsafe { QueryFullProcessImageNameW(process.as_raw_handle(), PROCESS_NAME_WIN32, path.as_mut_ptr(), &mut len) };
    let path = String::from_utf16_lossy(path.get(..len as usize).filter(|_| told != 0)?);
    path.rsplit('\\').next().map(str::to_owned)
}

/// The name of a process's program: no answer on this system.
#[cfg(target_os = "macos")]
pub fn program_name(_: u32) -> Option<String> {
    None
}

/// The user that this process acts as.
#[cfg(unix)]
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(all(test, any(target_os = "linux", windows), not(miri)))]
mod tests {
    use super::program_name;

    #[test]
    fn this_process_has_a_name_and_no_process_has_none() {
        let name = program_name(std::process::id()).expect("this process is there");
        // Linux keeps 15 letters.
        let own = std::env::current_exe().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        assert!(name == own || (name.len() == 15 && own.starts_with(&name)), "{name:?}, not {own:?}");
        assert_eq!(program_name(u32::MAX - 1), None);
    }
}
