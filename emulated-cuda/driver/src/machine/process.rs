// SPDX-License-Identifier: MPL-2.0
//! A process that can be told from a later one with the same number.

use std::fs;
use std::sync::OnceLock;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    pub pid: u32,
    /// Field 22 of /proc/PID/stat, in clock ticks since boot.
    pub start: u64,
}

impl Process {
    pub fn me() -> Process {
        static ME: OnceLock<Process> = OnceLock::new();
        let pid = std::process::id();
        let ask = || Process { pid, start: look(pid).map_or(0, |(_, start)| start) };
        // A fork is somebody else.
        Some(*ME.get_or_init(ask)).filter(|me| me.pid == pid).unwrap_or_else(ask)
    }

    /// Not ended, and not another one that got its number.
    pub fn lives(self) -> bool {
        let is_up = |state| !matches!(state, "Z" | "X") || has_threads(self.pid);
        look(self.pid).is_some_and(|(state, start)| start == self.start && is_up(state))
    }
}

/// Whether threads are left beside the first one. A process that was killed holds its files, and its locks with them, until
/// the last of its threads has gone, and the first is often a zombie before that.
fn has_threads(pid: u32) -> bool {
    fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.count() > 1)
}

/// State and start of a process.
fn look(pid: u32) -> Option<(&'static str, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = match fields.next()? {
        "Z" => "Z",
        "X" => "X",
        _ => "R",
    };
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_with_another_start_does_not() {
        let me = Process::me();
        assert!(me.start > 0);
        assert!(me.lives());
        assert!(!Process { start: me.start + 1, ..me }.lives());
    }

    /// A program whose first thread has gone and whose second has not.
    #[test]
    fn a_process_lives_as_long_as_its_last_thread() {
        let script = "import ctypes, threading, sys\n\
                      libc = ctypes.CDLL(None)\n\
                      threading.Thread(target=sys.stdin.read).start()\n\
                      libc.pthread_exit(None)\n";
        let mut command = std::process::Command::new("/usr/bin/python3");
        let mut child = command.args(["-c", script]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while look(child.id()).unwrap().0 != "Z" {
            assert!(std::time::Instant::now() < deadline, "its first thread does not end");
            std::thread::yield_now();
        }
        let process = Process { pid: child.id(), start: look(child.id()).unwrap().1 };
        assert!(process.lives(), "its second thread waits for input");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.lives());
    }

    #[test]
    fn a_child_that_has_ended_is_dead_even_while_nobody_has_waited_for_it() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let start = look(child.id()).unwrap().1;
        let process = Process { pid: child.id(), start };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while process.lives() {
            assert!(std::time::Instant::now() < deadline, "a zombie counts as alive");
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
