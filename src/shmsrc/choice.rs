// SPDX-License-Identifier: MPL-2.0
//! Which wire a name is read by: a control segment where a live producer has one for this very buffer, else what a Shared
//! Mem Out TOP writes, else raw bytes.

use std::time::{Duration, Instant};

use gst_video::VideoInfo;
use tdlink_core::segment::wait::Waiter;

use super::{
    control::{ControlFeed, Unusable},
    feed::RawFeed,
    touch::TouchFeed,
};
use crate::live::{Attach, Feed, FeedDesc, Leased, News, Read, Standing};

/// A name, by whichever wire there is.
#[derive(Debug)]
pub struct ShmFeed {
    control: ControlFeed,
    /// `None` where the name cannot be a TOP's.
    touch: Option<TouchFeed>,
    raw: RawFeed,
    ways: Ways,
    now: Wire,
}

/// Which wires the user allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// Whatever there is.
    Any,
    /// The name was typed as a TOP's object has it: whatever there is, but never that object's bytes as raw ones.
    NotRaw,
    /// The raw bytes, whatever stands beside them.
    Raw,
    /// What a Shared Mem Out TOP writes.
    Touch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    None,
    Control,
    Touch,
    Raw,
}

impl ShmFeed {
    /// All ways to read one name, of which `ways` are allowed.
    pub fn new(control: ControlFeed, touch: Option<TouchFeed>, raw: RawFeed, ways: Ways) -> Self {
        Self { control, touch, raw, ways, now: Wire::None }
    }

    /// Whether what is open now is missed by others: as long as it is, a TOP cannot make its objects anew.
    pub fn is_in_the_way(&self) -> bool {
        self.now == Wire::Touch
    }

    /// The only wire that is asked for, if there is one beside raw bytes.
    fn touch_only(&self) -> Option<&TouchFeed> {
        self.touch.as_ref().filter(|_| self.ways == Ways::Touch)
    }

    /// The wire whose frames are copied.
    fn copied(&mut self) -> &mut dyn Feed {
        match (self.now, &mut self.touch) {
            (Wire::Touch, Some(touch)) => touch,
            _ => &mut self.raw,
        }
    }

    /// Whether there is more than raw bytes now.
    fn has_better_come(&mut self) -> bool {
        self.control.has_come() || self.touch.as_mut().is_some_and(TouchFeed::has_come)
    }

    fn attach_touch(&mut self) -> Attach {
        let attach = match &mut self.touch {
            Some(touch) => touch.attach(),
            None => Attach::NotYet("the name cannot be a Shared Mem TOP's".into()),
        };
        if matches!(attach, Attach::Attached { .. }) {
            self.now = Wire::Touch;
        }
        attach
    }

    fn attach_raw(&mut self, unusable: Option<Unusable>) -> Attach {
        let attach = match (unusable, self.raw.expected()) {
            // Raw bytes of a known geometry can be read whatever stands beside them.
            (Some(Unusable::Unknown(message)), None) => return Attach::Failed(message),
            (Some(Unusable::NotYet(why)), None) => return Attach::NotYet(why),
            (Some(Unusable::Unknown(message)), Some(_)) => match self.raw.attach() {
                Attach::Attached { desc, .. } => {
                    let text = message.to_string();
                    Attach::Attached { desc, warning: Some(format!("{text}; its raw bytes are read instead")) }
                }
                Attach::NotYet(_) => return Attach::Failed(message),
                failed => failed,
            },
            _ => self.raw.attach(),
        };
        if matches!(attach, Attach::Attached { .. }) {
            self.now = Wire::Raw;
        }
        attach
    }
}

impl ShmFeed {
    fn attach_control(&mut self) -> Result<Attach, Unusable> {
        self.control.prepare()?;
        Ok(match self.control.attached() {
            Some(desc) => {
                self.now = Wire::Control;
                Attach::Attached { desc, warning: None }
            }
            None => Attach::NotYet("the producer has just gone".into()),
        })
    }
}

impl Feed for ShmFeed {
    fn attach(&mut self) -> Attach {
        match self.ways {
            Ways::Raw => return self.attach_raw(None),
            Ways::Touch => return self.attach_touch(),
            Ways::Any | Ways::NotRaw => {}
        }
        let unusable = match self.attach_control() {
            Ok(attach) => {
                // A TOP that had come, too.
                self.touch.iter_mut().for_each(Feed::detach);
                return attach;
            }
            Err(Unusable::NotThere) => None,
            Err(unusable) => Some(unusable),
        };
        match self.attach_touch() {
            // Raw bytes may be there nevertheless.
            Attach::NotYet(top) if self.ways == Ways::Any => match self.attach_raw(unusable) {
                // A producer makes its control segment before its pixels: both may have come since it was looked for.
                Attach::Failed(message) => self.attach_control().unwrap_or(Attach::Failed(message)),
                Attach::NotYet(raw) => Attach::NotYet(format!("{raw}; of a Shared Mem Out TOP: {top}")),
                attach => attach,
            },
            Attach::Failed(message) if self.ways == Ways::Any => self.attach_raw(Some(Unusable::Unknown(message))),
            attach => attach,
        }
    }

    fn detach(&mut self) {
        match std::mem::replace(&mut self.now, Wire::None) {
            Wire::Control => self.control.detach(),
            Wire::Touch => self.touch.iter_mut().for_each(Feed::detach),
            Wire::Raw | Wire::None => self.raw.detach(),
        }
    }

    fn expected(&self) -> Option<FeedDesc> {
        // A header says the geometry itself.
        matches!(self.ways, Ways::Any | Ways::Raw).then(|| self.raw.expected()).flatten()
    }

    fn is_told(&self) -> bool {
        self.expected().is_some()
    }

    fn name(&self) -> String {
        self.touch_only().map_or_else(|| self.raw.name(), Feed::name)
    }

    fn sought(&self) -> String {
        self.touch_only().map_or_else(|| self.raw.sought(), Feed::sought)
    }

    fn neighbours(&self) -> Vec<String> {
        self.touch_only().map_or_else(|| self.raw.neighbours(), Feed::neighbours)
    }

    fn reconsider(&mut self) -> bool {
        // A control segment and a header say their geometry themselves.
        self.raw.reconsider() && !matches!(self.now, Wire::Control | Wire::Touch)
    }

    fn look_after(&self) -> Duration {
        match self.now {
            // Its end is news, and ends a wait for them.
            Wire::Control => Duration::from_millis(500),
            Wire::Touch | Wire::Raw | Wire::None => self.raw.look_after(),
        }
    }

    fn has_ended(&self) -> bool {
        self.now == Wire::Control && self.control.has_ended()
    }

    fn standing(&mut self) -> Standing {
        match self.now {
            Wire::Control => self.control.standing(),
            Wire::Touch => self.copied().standing(),
            Wire::Raw | Wire::None => match self.raw.standing() {
                Standing::Here if self.ways == Ways::Any && self.has_better_come() => Standing::Better,
                standing => standing,
            },
        }
    }

    fn target(&mut self, info: &VideoInfo, padded: bool) -> Option<String> {
        match self.now {
            Wire::Control => self.control.target(info, padded),
            Wire::Touch | Wire::Raw | Wire::None => self.copied().target(info, padded),
        }
    }

    fn glance(&mut self) -> bool {
        match self.now {
            Wire::Control => self.control.glance(),
            Wire::Touch | Wire::Raw | Wire::None => self.copied().glance(),
        }
    }

    fn still(&mut self, last: &gst::Buffer, info: &VideoInfo) -> bool {
        match self.now {
            Wire::Control => self.control.still(),
            Wire::Touch | Wire::Raw | Wire::None => self.copied().still(last, info),
        }
    }

    fn wait_news(&mut self, waiter: &Waiter, until: Instant) -> News {
        match self.now {
            Wire::Control => self.control.wait_news(waiter, until),
            Wire::Touch | Wire::Raw | Wire::None => self.copied().wait_news(waiter, until),
        }
    }

    fn lease(&mut self, info: &VideoInfo) -> Leased {
        match self.now {
            Wire::Control => self.control.lease(info),
            Wire::Touch | Wire::Raw | Wire::None => Leased::Copy,
        }
    }

    fn read(&mut self, buffer: &mut gst::BufferRef, info: &VideoInfo) -> Read {
        match self.now {
            Wire::Control => self.control.read(buffer, info),
            Wire::Touch | Wire::Raw | Wire::None => self.copied().read(buffer, info),
        }
    }
}
