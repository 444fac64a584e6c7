// SPDX-License-Identifier: MPL-2.0
//! Control segments and pixels of a ring on Windows: sections, with named events whose existence shows who lives.
//!
//! The producer's event is that of `windows::claim`, for the control segment's name; row i's is `NAME.tdlink.row.i`.
//! The system closes them with their process. (A mutex would belong to a thread.)
//!
//! A section cannot be replaced under its name while anybody has it open. So a producer that is to be robbed is asked
//! to go, and the next one begins in the same section only when it has: a program that does not tend its segment keeps
//! its name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use std::os::windows::io::OwnedHandle;

use windows_sys::Win32::System::Memory::{FILE_MAP_READ, FILE_MAP_WRITE};

use super::MAX_ROWS;
use crate::segment::windows::claim::Claim;
use crate::segment::windows::{Mapping, create_section, event, failed};
use crate::segment::{Acquired, CreateOptions, Linked, OpenOptions, Segment, SegmentError, SegmentName};

/// How often a producer that was robbed is asked whether it has gone.
const TRIES: u32 = 200;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(5);
/// Most generations whose memory somebody still reads.
const GENERATIONS: u64 = 1000;

#[derive(Debug)]
pub(super) struct Control {
    segment: Arc<Segment>,
    name: SegmentName,
    producer: Mutex<Option<Claim>>,
    rows: [Mutex<Option<OwnedHandle>>; MAX_ROWS as usize],
}

impl Control {
    pub(super) fn produce(
        name: &SegmentName,
        len: usize,
        options: &CreateOptions,
    ) -> Result<(Self, Acquired), SegmentError> {
        let name = name.control();
        let (claim, robbed) = Claim::new(&name, options.takeover)?;
        let mut tries = 0;
        while !claim.is_alone()? {
            if tries == TRIES {
                return Err(SegmentError::LiveProducer { name: name.as_str().to_owned(), pid: None });
            }
            thread::sleep(PAUSE);
            tries += 1;
        }
        let (section, is_new) = create_section(&name, len)?;
        let mapping = Mapping::over(section, FILE_MAP_READ | FILE_MAP_WRITE, &name)?;
        if mapping.len() < len {
            let (size, wanted) = (mapping.len() as u64, len as u64);
            return Err(SegmentError::InUse { name: name.as_str().to_owned(), size, wanted, pids: Vec::new() });
        }
        let acquired = match (is_new, robbed) {
            (true, _) => Acquired::Created,
            (false, true) => Acquired::TakenOver,
            (false, false) => Acquired::Recovered,
        };
        Ok((Self::over(mapping, name, Some(claim)), acquired))
    }

    pub(super) fn open(name: &SegmentName, _: &OpenOptions) -> Result<Self, SegmentError> {
        let name = name.control();
        let mapping = Mapping::open_for(&name, FILE_MAP_READ | FILE_MAP_WRITE)?;
        Ok(Self::over(mapping, name, None))
    }

    fn over(mapping: Mapping, name: SegmentName, claim: Option<Claim>) -> Self {
        let segment = Arc::new(Segment::over(mapping));
        Self { segment, name, producer: Mutex::new(claim), rows: Default::default() }
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    fn row_name(&self, row: u32) -> String {
        format!("{}.row.{row}", self.name)
    }

    fn row(&self, row: u32) -> MutexGuard<'_, Option<OwnedHandle>> {
        held(&self.rows[(row % MAX_ROWS) as usize])
    }

    pub(super) fn try_claim_row(&self, row: u32) -> Result<bool, SegmentError> {
        let (event, is_new) =
            event::create(&self.row_name(row)).map_err(|err| failed("claiming a row", &self.name, err))?;
        if is_new {
            *self.row(row) = Some(event);
        }
        Ok(is_new)
    }

    pub(super) fn release_row(&self, row: u32) {
        *self.row(row) = None;
    }

    /// The name leads here as long as we have the section.
    pub(super) fn is_settled(&self) -> Result<bool, SegmentError> {
        Ok(true)
    }

    pub(super) fn row_is_claimed(&self, row: u32) -> Result<bool, SegmentError> {
        if self.row(row).is_some() {
            return Ok(false);
        }
        event::exists(&self.row_name(row)).map_err(|err| failed("asking for a row", &self.name, err))
    }

    pub(super) fn has_producer(&self) -> Result<bool, SegmentError> {
        if held(&self.producer).as_ref().is_some_and(|claim| !claim.is_lost()) {
            return Ok(false);
        }
        Claim::exists(&self.name)
    }

    pub(super) fn release_producer(&self) {
        *held(&self.producer) = None;
    }

    /// For a producer, whether the name is still its own. One that was robbed lets go of it by asking.
    pub(super) fn linked(&self) -> Result<Linked, SegmentError> {
        let mut claim = held(&self.producer);
        if claim.as_ref().is_some_and(Claim::is_lost) {
            *claim = None;
            return Ok(Linked::Elsewhere);
        }
        Ok(Linked::Here)
    }

    /// The section goes with its last handle.
    pub(super) fn remove_if_unused(&self, _: impl FnOnce()) -> bool {
        false
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change of what they guard is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(super) struct Pixels {
    segment: Arc<Segment>,
}

impl Pixels {
    pub(super) fn create(
        name: &SegmentName,
        from: u64,
        len: usize,
        _: &CreateOptions,
    ) -> Result<(Self, u64), SegmentError> {
        for generation in from..from.saturating_add(GENERATIONS) {
            let name = name.pixels(generation);
            let (section, is_new) = create_section(&name, len)?;
            // Somebody still reads one of this number.
            if is_new {
                let mapping = Mapping::over(section, FILE_MAP_READ | FILE_MAP_WRITE, &name)?;
                return Ok((Self { segment: Arc::new(Segment::over(mapping)) }, generation));
            }
        }
        Err(SegmentError::Restless { name: name.as_str().to_owned(), tries: GENERATIONS as u32 })
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}

/// What nobody has open is not there.
pub(super) fn remove_pixels(_: &SegmentName, _: Option<u64>) {}
