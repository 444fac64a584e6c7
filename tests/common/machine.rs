// SPDX-License-Identifier: MPL-2.0
//! What the operating system says about this process and this machine.

use std::process::Command;

/// Resident memory of this process that no file backs, in KiB.
pub fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon is in it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("RssAnon is a number")
}

/// What the descriptors of this process lead to, sorted; the one by which this is read left out.
pub fn descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is there");
    let targets = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let own = format!("/proc/{}/fd", std::process::id());
    let mut found: Vec<_> =
        targets.map(|target| target.display().to_string()).filter(|target| *target != own).collect();
    found.sort();
    found
}

/// Mappings of this process that lead into /dev/shm. (An object that was made without a name is shown without one.)
pub fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is there");
    maps.lines().filter(|line| line.contains("/dev/shm/")).count()
}

/// Whether this process has mapped a thing in /dev/shm whose name has `part` in it.
pub fn is_mapped(part: &str) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is there");
    maps.lines().any(|line| line.contains("/dev/shm/") && line.contains(part))
}

/// Whether this process may do what only root may; else says on stderr what is left untested, and why.
pub fn is_root_else_say(untested: &str) -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    let root = String::from_utf8_lossy(&id.stdout).trim() == "0";
    if !root {
        eprintln!("not tested: {untested} (needs root)");
    }
    root
}

/// Whether a process may have a /dev/shm of its own here; else says on stderr what is left untested, and why.
pub fn can_mount_else_say(untested: &str) -> bool {
    let mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm";
    let tried = Command::new("unshare").args(["--mount", "--", "sh", "-c", mount]).output();
    let can = tried.as_ref().is_ok_and(|tried| tried.status.success());
    if !can {
        eprintln!("not tested: {untested} (no mount namespace: {tried:?})");
    }
    can
}
