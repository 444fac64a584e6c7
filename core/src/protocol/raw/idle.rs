// SPDX-License-Identifier: MPL-2.0
//! Letting go of a section of Windows in which nothing happens.
//!
//! A name there lives as long as anybody has its section open, and a sender that starts anew cannot create what is still
//! there. Whether the old one has gone, the system does not tell. So a reader to which nothing new comes lets go of the
//! section, and opens it for a moment now and then.

use std::sync::Arc;
use std::time::Duration;

use crate::segment::{OpenOptions, Segment, SegmentError, SegmentName};

/// As long without news.
const IDLE: Duration = Duration::from_secs(1);
/// Between two looks for news after that.
const PROBE: Duration = Duration::from_millis(100);

/// Whether the section is let go of.
#[derive(Debug)]
pub(super) struct Idle {
    name: SegmentName,
    needed: usize,
    /// When the last news came.
    since: Duration,
    /// When it was last looked for some, if the section is let go of.
    away: Option<Duration>,
    /// It was not there then.
    gone: bool,
}

/// What a look may do.
pub(super) enum Turn {
    /// Look at the memory.
    Look,
    /// Look at this memory, and let go of it if it brings no news.
    LookAt(Arc<Segment>),
    /// There is no memory to look at.
    Away,
}

impl Idle {
    pub(super) fn new(name: SegmentName, needed: usize) -> Self {
        Self { name, needed, since: Duration::ZERO, away: None, gone: false }
    }

    /// What the look at `now` may do.
    pub(super) fn turn(&mut self, now: Duration) -> Result<Turn, SegmentError> {
        match self.away {
            None => Ok(Turn::Look),
            Some(last) if now.saturating_sub(last) < PROBE => Ok(Turn::Away),
            Some(_) => {
                self.away = Some(now);
                Ok(self.open()?.map_or(Turn::Away, Turn::LookAt))
            }
        }
    }

    /// The memory for a read, though it is let go of. It is kept for another while.
    pub(super) fn back(&mut self, now: Duration) -> Result<Arc<Segment>, SegmentError> {
        let gone = SegmentError::NotFound { name: self.name.as_str().to_owned() };
        let segment = self.open()?.ok_or(gone)?;
        (self.away, self.since) = (None, now);
        Ok(segment)
    }

    fn open(&mut self) -> Result<Option<Arc<Segment>>, SegmentError> {
        match Segment::open(&self.name, OpenOptions::default()) {
            Ok(segment) => {
                // One that is too small is another one.
                self.gone = segment.len() < self.needed;
                Ok(Some(Arc::new(segment)).filter(|_| !self.gone))
            }
            Err(SegmentError::NotFound { .. }) => {
                self.gone = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Says whether the look at `now` brought news. True: let go of the memory.
    pub(super) fn looked(&mut self, now: Duration, news: bool) -> bool {
        if news {
            (self.since, self.away) = (now, None);
            return false;
        }
        if self.away.is_none() && now.saturating_sub(self.since) < IDLE {
            return false;
        }
        self.away.get_or_insert(now);
        true
    }

    /// Whether the section is let go of.
    pub(super) fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Whether it was not there at the last look.
    pub(super) fn is_gone(&self) -> bool {
        self.is_away() && self.gone
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::consumer::{Consumer, Look, Standing};
    use super::super::layout::RawLayout;
    use crate::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
    use crate::pixels::Options;
    use crate::segment::{CreateOptions, OpenOptions, OwnedSegment, SegmentName};

    #[test]
    fn a_sender_can_come_back_though_a_reader_waits_for_it() {
        let name = SegmentName::new(&format!("tdlink-idle-{}", std::process::id())).unwrap();
        let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).unwrap();
        let desc = FrameDesc { width: 16, height: 16, format, origin: Origin::TopLeft };
        let create = || OwnedSegment::create(&name, 1024, &CreateOptions::default()).unwrap();
        let sender = create();
        sender.segment().write(0, &[1; 1024]).unwrap();
        let layout = RawLayout { desc, offset: 0 };
        let mut reader = Consumer::attach(&name, layout, format, Options::default(), OpenOptions::default()).unwrap();
        let mut frame = [0; 1024];
        let until = Instant::now() + std::time::Duration::from_secs(30);
        let patience = || assert!(Instant::now() < until);
        while !reader.read(&mut frame, 64).unwrap().whole {
            patience();
        }
        drop(sender);
        let there = || crate::segment::session_objects().iter().any(|found| found == name.as_str());
        while there() {
            assert_eq!(reader.look().unwrap(), Look::Same);
            patience();
        }
        while reader.standing().unwrap() != Standing::Gone {
            reader.look().unwrap();
            patience();
        }
        let sender = create();
        sender.segment().write(0, &[2; 1024]).unwrap();
        while reader.look().unwrap() == Look::Same {
            patience();
        }
        assert_eq!(reader.standing().unwrap(), Standing::Here);
        while !reader.read(&mut frame, 64).unwrap().whole {
            patience();
        }
        assert_eq!(frame, [2; 1024]);
    }
}
