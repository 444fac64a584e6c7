// SPDX-License-Identifier: MPL-2.0
//! Control segments.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::users::Program;
use super::{Detail, Found, State, options, refusal};
use crate::frame::Origin;
use crate::protocol::control::Description;
use crate::protocol::control::layout::{
    CLAIM_ACTIVE, EDITION, HEADER_BYTES, Header, LayoutError, NEWEST, ROW_CLAIM, ROW_LEASE, ROW_PID, ROW_SINCE,
    ROW_TAKEN, SLOT_PTS, SLOT_PUBLISHED, STATE, STATE_CLOSED, STATE_EOS, STATE_SUPERSEDED, Tables,
};
use crate::segment::{AccessError, Listed, Segment, SegmentError, SegmentName, listed, monotonic_ns};
#[cfg(not(target_os = "linux"))]
use crate::segment::{ControlSegment, OpenOptions};

/// How often a description that is being written is read again.
const TRIES: u32 = 50;
/// How often the pixels are looked for where the control segment says they are, a millisecond apart.
const ELSEWHERE: u32 = 10;
/// The slot number that stands for none.
const NO_SLOT: u64 = 0xff;

/// What a control segment says.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// Where its tables are, and what must be known to read on.
    pub header: Header,
    /// What the frames are.
    pub description: Description,
    /// Counts descriptions.
    pub generation: u64,
    /// Bits of `STATE_…`: see [`layout`](crate::protocol::control::layout).
    pub state: u32,
    /// The newest frame.
    pub newest: Option<Newest>,
    /// Rows whose owner lives, as far as can be told.
    pub rows: Vec<Row>,
}

/// The newest frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Counts frames.
    pub sequence: u64,
    /// Where it is.
    pub slot: u32,
    /// When it was published, in ns of [`monotonic_ns`].
    pub published: u64,
    /// Its presentation time in ns.
    pub pts: Option<u64>,
}

/// A consumer's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub row: u32,
    /// Process of the owner, by its own word.
    pub pid: u32,
    /// When it was claimed, in ns since 1970, by its owner's word.
    pub since: u64,
    /// The last frame that was taken.
    pub taken: u64,
    /// Frames that are leased now.
    pub leases: u32,
}

/// What stands beside `name`, if anything does.
pub(super) fn look(name: &SegmentName) -> Option<Found> {
    let object = name.control();
    let segment = match Segment::open(&object, options()) {
        Ok(segment) => Arc::new(segment),
        Err(SegmentError::NotFound { .. }) => return None,
        Err(error) => {
            let mut found = unread(name, 0);
            found.trouble.push(refusal(&error));
            return Some(found);
        }
    };
    for turn in 0..TRIES {
        let mut found = unread(name, segment.len() as u64);
        found.identity = Some(segment.identity());
        match read(&segment) {
            Ok(control) => {
                let generation = control.generation;
                let troubled = describe(&mut found, name, control, &segment);
                // What does not fit a description that is not said any more is nobody's fault.
                let stands = segment.load_u64(EDITION.offset(), Ordering::Acquire) == Ok(2 * generation);
                if !found.trouble.is_empty() && !stands {
                    continue;
                }
                // A ring's old memory goes just before the description does.
                if troubled && found.owned == Some(true) && turn < ELSEWHERE {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
            }
            Err(why) => {
                found.trouble.push(format!("The control segment {:?} cannot be read: {why}.", object.as_str()));
                found.owned = segment.has_owner(&object).ok();
                found.state = if found.owned == Some(true) { State::Live } else { State::Stale };
            }
        }
        return Some(found);
    }
    let mut found = unread(name, segment.len() as u64);
    found.trouble.push(format!("{:?} is described anew all the time.", name.as_str()));
    Some(found)
}

fn unread(name: &SegmentName, len: u64) -> Found {
    // Whose it is stands with the name; the bytes are those of what was opened.
    let listed = listed(&name.control()).unwrap_or(Listed { name: name.control(), len, uid: 0, writable: false });
    Found::new(name.as_str(), &Listed { len, ..listed }, Detail::Control(None))
}

/// Says what `control` says. Whether the pixels are not what it says.
fn describe(found: &mut Found, name: &SegmentName, mut control: Control, segment: &Segment) -> bool {
    let (spec, pixels) = (&control.description.spec, &control.description.pixels);
    found.frame = Some(spec.desc);
    found.pixels = Some(spec.desc.to_string());
    found.bytes = pixels.size;
    found.framerate = [spec.framerate, spec.max_framerate].into_iter().find(|rate| rate.num > 0);
    match name.pixels_named(&pixels.name) {
        None => found.trouble.push(format!("It says that its pixels are in {:?}, which is not its own.", pixels.name)),
        Some(object) => match Segment::open(&object, options()) {
            Ok(there) => {
                if cfg!(target_os = "linux") && there.identity() != pixels.identity {
                    found.trouble.push(format!(
                        "{:?} is another object than the one that the control segment is about: another program has \
                         made its own.",
                        object.as_str()
                    ));
                } else if (there.len() as u64) < pixels.size {
                    found.trouble.push(format!(
                        "{:?} has {} bytes, the control segment says {}.",
                        object.as_str(),
                        there.len(),
                        pixels.size
                    ));
                }
                found.object = object;
            }
            Err(error) => found.trouble.push(format!("Its pixels cannot be opened: {}.", refusal(&error))),
        },
    }
    let troubled = !found.trouble.is_empty();
    let claims = claims(name, segment, &control.header.tables);
    match claims.producer {
        Ok(owned) => found.owned = Some(owned),
        Err(error) => found.trouble.push(format!("Whether the producer lives cannot be told: {error}.")),
    }
    // Another program may have the number of one that has gone.
    let pid = control.description.pid;
    found.producer = Some(if found.owned == Some(false) { Program { pid, name: None } } else { Program::of(pid) });
    control.rows = claims.rows;
    found.consumers = Some(control.rows.len() as u32);
    if let Some(newest) = control.newest {
        match monotonic_ns().checked_sub(newest.published) {
            Some(age) => found.age = Some(Duration::from_nanos(age)),
            None => {
                found.trouble.push("Its newest frame is of the future: the producer's clock is another one.".into())
            }
        }
    }
    found.state = match found.owned {
        Some(false) => State::Stale,
        _ if control.state & (STATE_CLOSED | STATE_SUPERSEDED) != 0 => State::Stale,
        Some(true) if control.state & STATE_EOS != 0 => State::Stalled,
        Some(true) => found.live_or_stalled(),
        None => State::Unknown,
    };
    if spec_origin_is_rare(&control) {
        found.trouble.push(
            "One slot with row 0 at the top: TouchDesigner's Shared Memory LOP shows it upside down \
             (tdshmsink origin=bottom-left)."
                .into(),
        );
    }
    found.detail = Detail::Control(Some(Box::new(control)));
    troubled
}

/// TouchDesigner reads one slot, and bottom row first.
fn spec_origin_is_rare(control: &Control) -> bool {
    control.description.pixels.slots == 1 && control.description.spec.desc.origin == Origin::TopLeft
}

/// Header, description and words of one moment.
fn read(segment: &Segment) -> Result<Control, String> {
    let mut error = LayoutError::NotReady;
    for _ in 0..TRIES {
        match snapshot(segment).map_err(|error| error.to_string())? {
            Ok(Some(control)) => return Ok(control),
            Ok(None) => {}
            // Judged again: it may be half written.
            Err(now) if now != error => error = now,
            Err(now) => return Err(now.to_string()),
        }
    }
    Err(error.to_string())
}

/// `Ok(None)`: it is being written.
fn snapshot(segment: &Segment) -> Result<Result<Option<Control>, LayoutError>, AccessError> {
    let mut bytes = vec![0; HEADER_BYTES.min(segment.len())];
    if bytes.len() < HEADER_BYTES {
        segment.read(0, &mut bytes)?;
        return Ok(Header::parse(&bytes, segment.len()).map(|_| None));
    }
    let edition = segment.load_u64(EDITION.offset(), Ordering::Acquire)?;
    segment.read(0, &mut bytes)?;
    let again = segment.load_u64(EDITION.offset(), Ordering::Acquire)?;
    let header = match Header::parse(&bytes, segment.len()) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error)),
    };
    if edition != again || !edition.is_multiple_of(2) {
        return Ok(Ok(None));
    }
    let description = match Description::parse(&bytes, &header) {
        Ok(description) => description,
        Err(error) => return Ok(Err(error)),
    };
    let state = segment.load_u32(STATE.offset(), Ordering::Acquire)?;
    let newest = newest(segment, &header.tables, description.pixels.slots)?;
    Ok(Ok(Some(Control { header, description, generation: edition / 2, state, newest, rows: Vec::new() })))
}

fn newest(segment: &Segment, tables: &Tables, slots: u32) -> Result<Option<Newest>, AccessError> {
    let word = segment.load_u64(NEWEST.offset(), Ordering::Acquire)?;
    let (sequence, slot) = (word >> 8, word & NO_SLOT);
    if slot == NO_SLOT || sequence == 0 || slot >= u64::from(slots.min(tables.slots)) {
        return Ok(None);
    }
    let slot = slot as u32;
    let published = segment.load_u64(tables.slot(slot, SLOT_PUBLISHED), Ordering::Relaxed)?;
    let pts = segment.load_u64(tables.slot(slot, SLOT_PTS), Ordering::Relaxed)?;
    Ok(Some(Newest { sequence, slot, published, pts: (pts != u64::MAX).then_some(pts) }))
}

/// Who has claims.
struct Claims {
    producer: Result<bool, SegmentError>,
    rows: Vec<Row>,
}

/// Asks the system, which takes nothing and, on Linux, needs no permission to write: who watches the folder would take the
/// end of a writable look for news.
fn claims(name: &SegmentName, segment: &Segment, tables: &Tables) -> Claims {
    let (producer, claimed) = asked(name, segment);
    let rows = (0..tables.rows).filter_map(|row| read_row(segment, tables, row).filter(|_| claimed(row))).collect();
    Claims { producer, rows }
}

type Asked<'a> = (Result<bool, SegmentError>, Box<dyn Fn(u32) -> bool + 'a>);

#[cfg(target_os = "linux")]
fn asked<'a>(name: &SegmentName, segment: &'a Segment) -> Asked<'a> {
    (segment.has_owner(&name.control()), Box::new(|row| segment.row_is_claimed(row).unwrap_or(false)))
}

/// Where the object may only be read, rows count by their own words.
#[cfg(not(target_os = "linux"))]
fn asked<'a>(name: &SegmentName, segment: &'a Segment) -> Asked<'a> {
    let opened = ControlSegment::open(name, &OpenOptions { allow_other_user: true }).ok();
    let producer = match &opened {
        Some(opened) => opened.has_producer(),
        None => segment.has_owner(&name.control()),
    };
    (producer, Box::new(move |row| opened.as_ref().is_none_or(|opened| opened.row_is_claimed(row).unwrap_or(false))))
}

fn read_row(segment: &Segment, tables: &Tables, row: u32) -> Option<Row> {
    let long = |field| segment.load_u64(tables.row(row, field), Ordering::Acquire).ok();
    if long(ROW_CLAIM)? & CLAIM_ACTIVE == 0 {
        return None;
    }
    let leases = (long(ROW_LEASE)? as u32).count_ones();
    let pid = segment.load_u32(tables.row(row, ROW_PID), Ordering::Relaxed).ok()?;
    Some(Row { row, pid, since: long(ROW_SINCE)?, taken: long(ROW_TAKEN)?, leases })
}
