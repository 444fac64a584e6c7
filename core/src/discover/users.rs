// SPDX-License-Identifier: MPL-2.0
//! Which processes have a buffer open.

use std::fmt;

use super::{Found, Look};
use crate::segment::program_name;

/// A process, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its number.
    pub pid: u32,
    /// The name of its program, where the system tells: `python3`, `TouchDesigner.exe`.
    pub name: Option<String>,
}

impl Program {
    /// The process of that number, if there is one.
    pub fn of(pid: u32) -> Self {
        Self { pid, name: program_name(pid) }
    }
}

impl fmt::Display for Program {
    /// For example `python3 (4711)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.pid),
            None => write!(f, "process {}", self.pid),
        }
    }
}

/// Asks `/proc` once for all of them.
#[cfg(target_os = "linux")]
pub(super) fn ask(all: &mut [Found], look: Look) {
    use super::{Protocol, State};
    use crate::segment::{producer_among, users};

    if look == Look::Segments {
        return;
    }
    let objects: Vec<_> = all.iter().filter_map(|found| found.identity).collect();
    let users = users(&objects);
    for found in all {
        let pids = found.identity.map_or(&[][..], |object| users.of(object));
        found.users = pids.iter().copied().map(Program::of).collect();
        if found.protocol() == Protocol::Control {
            continue;
        }
        let owner = match (found.owned, found.identity) {
            (Some(true), Some(object)) => producer_among(object, pids),
            // Whoever has it alone writes it; a reader of what nobody writes is the exception.
            _ => pids.first().copied().filter(|_| pids.len() == 1),
        };
        found.producer = owner.map(Program::of);
        // Nobody seen means nobody there only where everybody can be seen who could have made it.
        found.users_are_all = users.are_all_of(found.uid);
        found.written = found.identity.is_some_and(|object| users.write(object));
        // A header says what its last producer said. Who only reads is none: our receivers map read-only.
        let has_producer = match found.protocol() {
            Protocol::CudaLink | Protocol::Touch => found.written,
            Protocol::Raw | Protocol::Control => !pids.is_empty(),
        };
        if !has_producer && found.users_are_all && found.identity.is_some() && found.owned != Some(true) {
            found.state = State::Stale;
        }
    }
}

/// No other system tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn ask(_: &mut [Found], _: Look) {}
