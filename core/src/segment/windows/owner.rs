// SPDX-License-Identifier: MPL-2.0
//! The writer's end of a name on Windows.
//!
//! A section that exists keeps its size and cannot be unlinked. One that is large enough is used as it is, whoever made
//! it: a reader of a producer that died holds it open, and must see the next producer write.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use windows_sys::Win32::System::Memory::{FILE_MAP_READ, FILE_MAP_WRITE};

use super::claim::Claim;
use super::{Mapping, create_section};
use crate::segment::{Acquired, CreateOptions, Published, Segment, SegmentError, SegmentName};

/// How often a section that is too small is given up and asked for again, while its readers may be closing it. A reader
/// of ours may look up only with its next frame.
const TRIES: u32 = 50;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// The writer's end.
#[derive(Debug)]
pub(in crate::segment) struct Owner {
    segment: Arc<Segment>,
    acquired: Acquired,
    claim: Claim,
    name: SegmentName,
}

/// A section under the name, mapped.
struct Found {
    segment: Arc<Segment>,
    is_new: bool,
}

impl Owner {
    pub(in crate::segment) fn create(
        name: &SegmentName,
        len: usize,
        options: &CreateOptions,
    ) -> Result<Self, SegmentError> {
        let (claim, robbed) = Claim::new(name, options.takeover)?;
        let found = settle(name, len)?;
        fits(name, &found.segment, len)?;
        let acquired = match (found.is_new, robbed) {
            (true, false) => Acquired::Created,
            (_, true) => Acquired::TakenOver,
            (false, false) => Acquired::Adopted,
        };
        Ok(Self { segment: found.segment, acquired, claim, name: name.clone() })
    }

    pub(in crate::segment) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(in crate::segment) fn acquired(&self) -> Acquired {
        self.acquired
    }

    /// A section goes with its last user, whoever that is.
    pub(in crate::segment) fn claim(&mut self) {}

    /// Nobody can take a name away while we have its section; only the right to write can be lost.
    pub(in crate::segment) fn keep_published(&mut self) -> Result<Published, SegmentError> {
        Ok(if self.claim.is_lost() { Published::TakenByOther } else { Published::Still })
    }

    pub(in crate::segment) fn resize(&mut self, len: usize) -> Result<(), SegmentError> {
        if self.claim.is_lost() {
            return Err(SegmentError::Taken { name: self.name.as_str().to_owned() });
        }
        if len <= self.segment.len() {
            return Ok(());
        }
        // Our own view would keep the section alive.
        self.segment = Arc::new(Segment::nothing());
        let found = settle(&self.name, len)?;
        self.segment = found.segment;
        if found.is_new && self.acquired == Acquired::Adopted {
            self.acquired = Acquired::Replaced;
        }
        fits(&self.name, &self.segment, len)
    }
}

/// The section under the name, made if there is none, given some time to vanish if it is too small.
fn settle(name: &SegmentName, len: usize) -> Result<Found, SegmentError> {
    let mut tries = 1;
    loop {
        let (section, is_new) = create_section(name, len)?;
        let mapping = Mapping::over(section, FILE_MAP_READ | FILE_MAP_WRITE, name)?;
        if mapping.len() >= len || tries == TRIES {
            return Ok(Found { segment: Arc::new(Segment::over(mapping)), is_new });
        }
        drop(mapping);
        thread::sleep(PAUSE);
        tries += 1;
    }
}

fn fits(name: &SegmentName, segment: &Segment, len: usize) -> Result<(), SegmentError> {
    if segment.len() >= len {
        return Ok(());
    }
    // Which processes, the system does not tell.
    let (size, wanted) = (segment.len() as u64, len as u64);
    Err(SegmentError::InUse { name: name.as_str().to_owned(), size, wanted, pids: Vec::new() })
}
