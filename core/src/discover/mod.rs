// SPDX-License-Identifier: MPL-2.0
//! What buffers there are on this machine: names, protocols, what the frames are, who writes them, whether they come.
//!
//! A look takes nothing from anybody: no row, no lease, no lock, and nothing is written. Segments are open for moments.
//! No byte of a peer is believed: what cannot be read is listed with what is wrong about it ([`Found::trouble`]).
//!
//! Linux: the files of `/dev/shm`; with [`Look::Processes`] also what `/proc` shows of the processes that have them open,
//! which are those of the same user. Windows: the sections of this session that this process may read. macOS keeps no
//! list, so that only [`named`] finds something there.

#[cfg(target_os = "linux")]
mod changes;
mod control;
mod cudalink;
mod fields;
mod guess;
mod touch;
mod users;

use std::collections::BTreeSet;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub use changes::Changes;
pub use control::{Control, Newest, Row};
pub use cudalink::CudaLink;
pub use fields::{FieldLine, fields};
pub use guess::{Guess, geometries};
pub use touch::Touch;
pub use users::Program;

use crate::frame::FrameDesc;
use crate::protocol::control::Ratio;
use crate::protocol::touch::{PREFIX, TouchNames};
use crate::segment::{
    Identity, Listed, OpenOptions, Segment, SegmentError, SegmentName, control_names, is_generation, listed, live_names,
};

/// How far a look goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At the segments alone: some 50 µs for each.
    Segments,
    /// At the processes that have them open, too. (Linux; elsewhere the same as [`Look::Segments`].)
    Processes,
}

/// How frames are passed on under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Bytes without a header that is known here.
    Raw,
    /// Pixels with a control segment beside them: [`crate::protocol::control`].
    Control,
    /// A Shared Mem TOP's: [`crate::protocol::touch`].
    Touch,
    /// cuda-link's announcements; the pixels are in GPU memory: [`crate::protocol::cudalink`].
    CudaLink,
}

impl Protocol {
    /// The word for it that a user reads.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Control => "control",
            Self::Touch => "touch",
            Self::CudaLink => "cuda-link",
        }
    }
}

/// Whether frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The producer is there, and nothing speaks against its frames coming.
    Live,
    /// The producer is there, and no frame has come for longer than [`Found::stalled_after`].
    Stalled,
    /// The producer has gone: it said so, its lock is free, or no process has the segment open ([`Found::users_are_all`]);
    /// cuda-link's and a Shared Mem TOP's: none that could write it.
    Stale,
    /// Nothing tells: raw bytes of another program's, a system that does not say who has them open, or processes that
    /// cannot be seen.
    Unknown,
}

impl State {
    /// The word for it that a user reads.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }
}

/// What a protocol's own header says.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// There is none.
    Raw,
    /// The control segment. `None` where it cannot be read.
    Control(Option<Box<Control>>),
    /// Header and info segment of a Shared Mem TOP. `None` where the header cannot be read.
    Touch(Option<Box<Touch>>),
    /// cuda-link's segment. `None` where it cannot be read.
    CudaLink(Option<Box<CudaLink>>),
}

/// One buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What a user types for it.
    pub name: String,
    /// The object that holds the pixels; for [`Protocol::CudaLink`] the announcements.
    pub object: SegmentName,
    /// Bytes of that object. (Windows: in whole pages.)
    pub bytes: u64,
    /// User id of its owner. (Windows: 0.)
    pub uid: u32,
    /// What the frames are, if that is known. Where the wire has pixels that we have no word for, see `pixels`.
    pub frame: Option<FrameDesc>,
    /// Size and pixels as they are said of the wire, for people: `1920×1080 u8×4 bgra`.
    pub pixels: Option<String>,
    /// Frames per second that the producer says. `None`: it says none.
    pub framerate: Option<Ratio>,
    /// Who writes, where that is known.
    pub producer: Option<Program>,
    /// How many read, where that is known.
    pub consumers: Option<u32>,
    /// Processes that have it open, the producer among them. Only with [`Look::Processes`], as far as they can be seen.
    pub users: Vec<Program>,
    /// Whether `users` are all that its owner has: not in a container (others may share `/dev/shm`), where `/proc` hides
    /// processes, or one does not let itself be inspected. Only then does an empty list mean that nobody has it open.
    pub users_are_all: bool,
    /// How long ago the newest frame was published, where that is told.
    pub age: Option<Duration>,
    /// Whether frames come.
    pub state: State,
    /// What the protocol's own header says.
    pub detail: Detail,
    /// What is wrong, in whole sentences.
    pub trouble: Vec<String>,
    /// Which object it is.
    identity: Option<Identity>,
    /// Whether a producer of ours holds it.
    owned: Option<bool>,
    /// Whether a process that is seen can write it.
    written: bool,
}

impl Found {
    fn new(name: &str, listed: &Listed, detail: Detail) -> Self {
        Self {
            name: name.to_owned(),
            object: listed.name.clone(),
            bytes: listed.len,
            uid: listed.uid,
            frame: None,
            pixels: None,
            framerate: None,
            producer: None,
            consumers: None,
            users: Vec::new(),
            users_are_all: false,
            age: None,
            state: State::Unknown,
            detail,
            trouble: Vec::new(),
            identity: None,
            owned: None,
            written: false,
        }
    }

    /// Which object the pixels are in, or the announcements; `None` where it cannot be opened.
    pub const fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Whether a producer of ours holds it, which ends with that producer; `None` where the system does not tell.
    pub const fn is_held(&self) -> Option<bool> {
        self.owned
    }

    /// Whether a process that is seen can write it. Only with [`Look::Processes`] on Linux; elsewhere false.
    pub const fn is_written(&self) -> bool {
        self.written
    }

    /// How frames are passed on.
    pub const fn protocol(&self) -> Protocol {
        match self.detail {
            Detail::Raw => Protocol::Raw,
            Detail::Control(_) => Protocol::Control,
            Detail::Touch(_) => Protocol::Touch,
            Detail::CudaLink(_) => Protocol::CudaLink,
        }
    }

    /// How long a producer may be silent before it counts as stalled: four frames of what it says, 1 s at least.
    pub fn stalled_after(&self) -> Duration {
        const LEAST: Duration = Duration::from_secs(1);
        let frame =
            |rate: Ratio| (rate.num > 0).then(|| Duration::from_secs_f64(f64::from(rate.den) / f64::from(rate.num)));
        self.framerate.and_then(frame).map_or(LEAST, |frame| LEAST.max(frame.saturating_mul(4)))
    }

    /// [`State::Live`] or [`State::Stalled`], by the age of the newest frame.
    fn live_or_stalled(&self) -> State {
        match self.age {
            Some(age) if age > self.stalled_after() => State::Stalled,
            _ => State::Live,
        }
    }
}

/// Every buffer of this machine (Windows: of this session), by name. With [`Protocol::Raw`] there are segments of other
/// programs for purposes of their own.
pub fn all(look: Look) -> Vec<Found> {
    let controlled: BTreeSet<SegmentName> = control_names().into_iter().collect();
    let mut names = live_names();
    names.retain(|found| !is_generation(&found.name) && !controlled.contains(&found.name));
    let mut all: Vec<Found> = controlled.iter().filter_map(control::look).collect();
    all.extend(touch::take(&mut names));
    all.extend(names.iter().map(plain));
    users::ask(&mut all, look);
    all.sort_by(|a, b| (&a.name, a.protocol()).cmp(&(&b.name, b.protocol())));
    all
}

/// What stands under what a user typed: nothing, one, or two of different protocols.
pub fn named(name: &str, look: Look) -> Vec<Found> {
    let mut found = Vec::new();
    let typed = name.strip_suffix(".tdlink").unwrap_or(name);
    if let Ok(name) = SegmentName::new(typed) {
        match control::look(&name) {
            Some(control) => found.push(control),
            // TouchDesigner's own names are typed without what is put around them.
            None if name.as_str().starts_with(PREFIX) => {}
            None => found.extend(listed(&name).map(|listed| plain(&listed))),
        }
    }
    found.extend(touch::look(typed));
    users::ask(&mut found, look);
    found
}

/// Bytes that have neither control segment nor TouchDesigner's names.
fn plain(listed: &Listed) -> Found {
    let mut found = Found::new(listed.name.as_str(), listed, Detail::Raw);
    let segment = match Segment::open(&listed.name, options()) {
        Ok(segment) => segment,
        Err(error) => {
            found.trouble.push(refusal(&error));
            return found;
        }
    };
    found.identity = Some(segment.identity());
    found.owned = segment.has_owner(&listed.name).ok();
    cudalink::look(&segment, &mut found);
    found
}

/// Everybody's segments that the system lets us read.
fn options() -> OpenOptions {
    OpenOptions { allow_other_user: true }
}

/// Why something cannot be opened, and what helps.
fn refusal(error: &SegmentError) -> String {
    match error {
        SegmentError::AccessDenied { .. } => {
            format!(
                "{error}; one side runs as another user, as administrator or in another session: start both the same way"
            )
        }
        error => error.to_string(),
    }
}

/// Whether a name is that of a mutex or an info segment of TouchDesigner's.
fn touch_beside(name: &SegmentName) -> bool {
    name.as_str().len() > PREFIX.len()
        && name.as_str().starts_with(PREFIX)
        && TouchNames::typed_for(name.as_str()).is_none()
}
