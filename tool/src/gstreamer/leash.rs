// SPDX-License-Identifier: MPL-2.0
//! A process that does not outlive us, however we end, and that hears of Ctrl-C from us alone.
//!
//! Unix: beside the program waits a shell on a pipe that we hold. When we have gone without a word, the pipe closes and
//! the shell interrupts the program, which ends in order. Windows: the program is in a job object, and the system ends it
//! when we have gone.

#[cfg(unix)]
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What holds a process; it goes when the process has ended.
#[derive(Debug)]
pub struct Leash {
    #[cfg(unix)]
    pipe: Option<std::process::ChildStdin>,
    #[cfg(windows)]
    _job: Option<tdlink_core::segment::Job>,
}

/// Becomes the program that the shell is given, with its process number; before that it starts who waits beside it.
///
/// Whoever waits closes all but its pipe, or we would never hear the end of what the program says. Nobody reads what the
/// program prints once we have gone, which must not be its end.
#[cfg(unix)]
const WAITING: &str = r#"trap '' PIPE
exec 3<&0
{ read -r end <&3 || kill -s INT "$$"; } >/dev/null 2>&1 &
exec "$0" "$@" 3<&- </dev/null"#;

#[cfg(unix)]
impl Leash {
    /// The same command for a process that can be held, in a process group of its own.
    ///
    /// # Errors
    /// There is no such program, of which otherwise only the shell would hear; or the system's, on Windows.
    pub fn fit(command: Command) -> std::io::Result<Command> {
        use std::os::unix::process::CommandExt;

        if !is_there(Path::new(command.get_program())) {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        let mut held = Command::new("/bin/sh");
        held.args(["-c", WAITING]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => held.env(name, value),
                None => held.env_remove(name),
            };
        }
        held.process_group(0).stdin(Stdio::piped());
        Ok(held)
    }

    /// Holds a process of such a command.
    ///
    /// # Errors
    /// The system's, on Windows.
    pub fn hold(process: &mut Child) -> std::io::Result<Self> {
        Ok(Self { pipe: process.stdin.take() })
    }
}

/// Whether there is such a file; a name without a folder is looked for where the shell looks.
#[cfg(unix)]
fn is_there(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.is_file();
    }
    let path = super::places::system_says("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(unix)]
impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // Who waits is told that all is well, and does not interrupt whoever has the number next. It may have gone.
            let _ = std::io::Write::write_all(&mut pipe, b"\n");
        }
    }
}

#[cfg(windows)]
impl Leash {
    /// The same command for a process that can be sent an interrupt alone: in a process group of its own; or, where we have
    /// no console to send it in, with a console of its own that nobody sees.
    ///
    /// # Errors
    /// The system's.
    pub fn fit(mut command: Command) -> std::io::Result<Command> {
        use std::os::windows::process::CommandExt;

        use tdlink_core::segment::{has_console, hear_interrupts};

        const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        if has_console() {
            command.creation_flags(CREATE_NEW_PROCESS_GROUP);
        } else {
            hear_interrupts()?;
            command.creation_flags(CREATE_NO_WINDOW);
        }
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Holds a process of such a command.
    ///
    /// # Errors
    /// The system's, on Windows.
    pub fn hold(process: &mut Child) -> std::io::Result<Self> {
        let job = tdlink_core::segment::Job::new()?;
        match job.add(process) {
            Ok(()) => Ok(Self { _job: Some(job) }),
            // It has ended by itself, so that nothing is left to hold.
            Err(_) if matches!(process.try_wait(), Ok(Some(_))) => Ok(Self { _job: None }),
            Err(err) => Err(err),
        }
    }
}
