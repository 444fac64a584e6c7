// SPDX-License-Identifier: MPL-2.0
//! Which wire a name is read by: a control segment where a live producer has one for this very buffer, else raw bytes.

use std::time::{Duration, Instant};

use gst_video::VideoInfo;
use tdlink_core::segment::wait::Waiter;

use super::{
    control::{ControlFeed, Unusable},
    feed::RawFeed,
};
use crate::live::{Attach, Feed, FeedDesc, Leased, News, Read, Standing};

/// A name, by whichever wire there is.
#[derive(Debug)]
pub struct ShmFeed {
    control: ControlFeed,
    raw: RawFeed,
    /// The user wants the raw bytes, whatever stands beside them.
    raw_only: bool,
    now: Wire,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    None,
    Control,
    Raw,
}

impl ShmFeed {
    /// Both ways to read one name, or with `raw_only` one.
    pub fn new(control: ControlFeed, raw: RawFeed, raw_only: bool) -> Self {
        Self { control, raw, raw_only, now: Wire::None }
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

impl Feed for ShmFeed {
    fn attach(&mut self) -> Attach {
        if self.raw_only {
            return self.attach_raw(None);
        }
        match self.control.prepare() {
            Ok(()) => match self.control.attached() {
                Some(desc) => {
                    self.now = Wire::Control;
                    Attach::Attached { desc, warning: None }
                }
                None => Attach::NotYet("the producer has just gone".into()),
            },
            Err(Unusable::NotThere) => self.attach_raw(None),
            Err(unusable) => self.attach_raw(Some(unusable)),
        }
    }

    fn detach(&mut self) {
        match std::mem::replace(&mut self.now, Wire::None) {
            Wire::Control => self.control.detach(),
            Wire::Raw | Wire::None => self.raw.detach(),
        }
    }

    fn expected(&self) -> Option<FeedDesc> {
        self.raw.expected()
    }

    fn name(&self) -> String {
        self.raw.name()
    }

    fn sought(&self) -> String {
        self.raw.sought()
    }

    fn neighbours(&self) -> Vec<String> {
        self.raw.neighbours()
    }

    fn reconsider(&mut self) -> bool {
        // A control segment says its geometry itself.
        self.raw.reconsider() && self.now != Wire::Control
    }

    fn look_after(&self) -> Duration {
        match self.now {
            // Its end is news, and ends a wait for them.
            Wire::Control => Duration::from_millis(500),
            Wire::Raw | Wire::None => self.raw.look_after(),
        }
    }

    fn has_ended(&self) -> bool {
        self.now == Wire::Control && self.control.has_ended()
    }

    fn standing(&mut self) -> Standing {
        match self.now {
            Wire::Control => self.control.standing(),
            Wire::Raw | Wire::None => match self.raw.standing() {
                Standing::Here if !self.raw_only && self.control.has_come() => Standing::Better,
                standing => standing,
            },
        }
    }

    fn target(&mut self, info: &VideoInfo, padded: bool) -> Option<String> {
        match self.now {
            Wire::Control => self.control.target(info, padded),
            Wire::Raw | Wire::None => self.raw.target(info, padded),
        }
    }

    fn glance(&mut self) -> bool {
        match self.now {
            Wire::Control => self.control.glance(),
            Wire::Raw | Wire::None => self.raw.glance(),
        }
    }

    fn still(&mut self, last: &gst::Buffer, info: &VideoInfo) -> bool {
        match self.now {
            Wire::Control => self.control.still(),
            Wire::Raw | Wire::None => self.raw.still(last, info),
        }
    }

    fn wait_news(&mut self, waiter: &Waiter, until: Instant) -> News {
        match self.now {
            Wire::Control => self.control.wait_news(waiter, until),
            Wire::Raw | Wire::None => self.raw.wait_news(waiter, until),
        }
    }

    fn lease(&mut self, info: &VideoInfo) -> Leased {
        match self.now {
            Wire::Control => self.control.lease(info),
            Wire::Raw | Wire::None => Leased::Copy,
        }
    }

    fn read(&mut self, buffer: &mut gst::BufferRef, info: &VideoInfo) -> Read {
        match self.now {
            Wire::Control => self.control.read(buffer, info),
            Wire::Raw | Wire::None => self.raw.read(buffer, info),
        }
    }
}
