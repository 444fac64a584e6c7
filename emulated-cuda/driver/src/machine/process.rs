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
        look(self.pid).is_some_and(|(state, start)| !matches!(state, "Z" | "X") && start == self.start)
    }
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
