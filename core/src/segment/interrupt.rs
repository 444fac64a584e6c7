// SPDX-License-Identifier: MPL-2.0
//! Asking a program to end in order, as Ctrl-C does.

use std::io;

/// Sends `SIGINT` to a process of this user. (Windows: CTRL_BREAK to the process group that it leads.)
///
/// # Errors
/// The system's: there is no such process, it is another user's, or it has no console.
#[cfg(unix)]
pub fn interrupt(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // 0 and what lies beyond would mean whole groups.
    let pid = pid.filter(|pid| !pid.is_init()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::INT)?)
}

/// Sends CTRL_BREAK to the process group that `pid` leads, in this console; or, where this process has none, CTRL_C to all
/// in the console that `pid` has (`CREATE_NO_WINDOW` gives it one that nobody sees). This process and those that it
/// starts no longer hear CTRL_C then, until [`hear_interrupts`]. (Unix: `SIGINT` to the process.)
///
/// # Errors
/// The system's: there is no such group, or it has no console either.
#[cfg(windows)]
pub fn interrupt(pid: u32) -> io::Result<()> {
    use windows_sys::Win32::System::Console::{AttachConsole, CTRL_BREAK_EVENT, CTRL_C_EVENT, FreeConsole};

    if pid == 0 {
        // That would be everybody in the console.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if has_console() {
        return send(CTRL_BREAK_EVENT, pid);
    }
    // Attaching a console may put it in the place of our output, which has gone with it afterwards.
    let ours = Streams::now();
    // Wine takes the terminal that it was started from for a console, though one that answers nothing: none is attached
    // before that is let go. Elsewhere there is none to let go, which is all that can be wrong.
    // SAFETY: FACT: FreeConsole takes nothing and touches no memory of ours.
    unsafe { FreeConsole() };
    // SAFETY: FACT: AttachConsole takes a number and touches no memory of ours.
    if let Err(err) = done(unsafe { AttachConsole(pid) }) {
        ours.restore()?;
        return Err(err);
    }
    // We are in that console, too, for as long as it takes.
    let sent = hear_ctrl_c(false).and_then(|()| send(CTRL_C_EVENT, 0));
    // SAFETY: FACT: FreeConsole takes nothing and touches no memory of ours. The console is the one attached above.
    let let_go = done(unsafe { FreeConsole() });
    ours.restore()?;
    let_go?;
    sent
}

/// Input, output and errors of this process.
#[cfg(windows)]
struct Streams([windows_sys::Win32::Foundation::HANDLE; 3]);

#[cfg(windows)]
impl Streams {
    const NUMBERS: [u32; 3] = {
        use windows_sys::Win32::System::Console::{STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE};

        [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE]
    };

    fn now() -> Self {
        // SAFETY: FACT: GetStdHandle takes a number and touches no memory of ours.
        Self(Self::NUMBERS.map(|number| unsafe { windows_sys::Win32::System::Console::GetStdHandle(number) }))
    }

    fn restore(self) -> io::Result<()> {
        for (number, stream) in Self::NUMBERS.into_iter().zip(self.0) {
            // SAFETY: FACT: SetStdHandle takes two numbers and touches no memory of ours; the handle was this stream's.
            done(unsafe { windows_sys::Win32::System::Console::SetStdHandle(number, stream) })?;
        }
        Ok(())
    }
}

#[cfg(windows)]
fn send(event: u32, group: u32) -> io::Result<()> {
    // SAFETY: FACT: GenerateConsoleCtrlEvent takes two numbers and touches no memory of ours.
    done(unsafe { windows_sys::Win32::System::Console::GenerateConsoleCtrlEvent(event, group) })
}

#[cfg(windows)]
fn hear_ctrl_c(heard: bool) -> io::Result<()> {
    // SAFETY: FACT: without a handler SetConsoleCtrlHandler sets whether CTRL_C is ignored; it touches no memory of ours.
    done(unsafe { windows_sys::Win32::System::Console::SetConsoleCtrlHandler(None, i32::from(!heard)) })
}

#[cfg(windows)]
fn done(answer: i32) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether this process has a console, seen or unseen, which its children share.
#[cfg(windows)]
pub fn has_console() -> bool {
    // SAFETY: FACT: GetConsoleCP takes nothing and touches no memory of ours; it is 0 without a console.
    unsafe { windows_sys::Win32::System::Console::GetConsoleCP() != 0 }
}

/// Programs that are started from now on hear CTRL_C: they inherit whether we do.
///
/// # Errors
/// The system's.
#[cfg(windows)]
pub fn hear_interrupts() -> io::Result<()> {
    hear_ctrl_c(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_and_everybody_are_refused() {
        assert_eq!(interrupt(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[cfg_attr(miri, ignore = "starts a program")]
    fn a_program_is_interrupted() {
        use std::os::unix::process::ExitStatusExt;

        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        interrupt(sleeper.id()).unwrap();
        assert_eq!(sleeper.wait().unwrap().signal(), Some(libc::SIGINT));
    }
}
