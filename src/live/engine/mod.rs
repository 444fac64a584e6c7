// SPDX-License-Identifier: MPL-2.0
//! Which buffer is pushed next, and when.

mod black;
mod link;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use gst::{ClockTime, FlowError};
use tdlink_core::segment::monotonic_ns;

use super::{
    Feed, FeedDesc, Host, Leased, LiveSettings, Made, Negotiated, News, Offer, Read, Stats,
    pacing::{Rising, Tick, Ticks, count_time},
};
use crate::enums::TimestampMode;

/// Black is pushed this often when keepalive is off, since a stream must not starve before its first frame.
const BLACK_EVERY: Duration = Duration::from_millis(500);

/// How long before it is due a frame is looked at.
const PREVIEW: Duration = Duration::from_millis(3);
/// How often a frame that seems to stand still is compared as a whole.
const VERIFY_EVERY: Duration = Duration::from_millis(500);
/// A pause sets the running time back by less.
const SET_BACK: ClockTime = ClockTime::from_mseconds(500);
/// Whoever waits for a frame's time shows it after that: a stamp that is further ahead is nobody's time to show it at.
const AHEAD: ClockTime = ClockTime::from_mseconds(5);
/// The same for one that is further behind.
const BEHIND: ClockTime = ClockTime::from_mseconds(200);
/// A frame that was waited for this long is not one of many that come as fast as they are taken.
const PACED: Duration = Duration::from_millis(2);
/// How long to leave a writer that was in the middle of a frame.
const AGAIN: Duration = Duration::from_millis(1);

/// What to do with hashes of frames.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    /// Tell about each change.
    pub announce: bool,
    /// Push only what has changed.
    pub only: bool,
}

/// The state of one run of a source, owned by its streaming thread.
#[derive(Debug)]
pub struct Engine {
    settings: LiveSettings,
    changes: Changes,
    stats: Arc<Stats>,
    /// When the wait for the first producer began, pauses left out.
    started: Instant,
    /// A buffer is mapped, caps are agreed on, and it can be read.
    linked: bool,
    /// `tdlink-connected` was the last word.
    connected: bool,
    ever_connected: bool,
    /// Silence was taken for a disconnect: only news connects again.
    silenced: bool,
    said_waiting: bool,
    next_look: Instant,
    /// The producer was let go for a pause: it is to be found again, and that is no reconnection.
    rested: bool,
    /// Since when it is not, with the pause over.
    missed: Option<Instant>,
    desc: Option<FeedDesc>,
    negotiated: Option<Negotiated>,
    /// What black was shown as, when nobody knew the wire: kept, where frames can become it.
    shown: Option<Offer>,
    ticks: Option<Ticks>,
    /// What is pushed again when there is nothing new. Black before the first frame.
    last: Option<gst::Buffer>,
    /// It is a slot of the producer's, which is wanted back before another one is taken.
    last_leased: bool,
    /// What `last` was before, until the frame that came after it was pushed.
    spent: Option<gst::Buffer>,
    /// The newest frame was waited for: the producer is in no hurry to have slots back.
    paced: bool,
    last_pushed: Option<Instant>,
    last_hash: Option<String>,
    /// When all of the last frame was last compared with the wire.
    verified: Instant,
    /// A frame that was seen to be there and not yet read whole.
    pending: Option<Instant>,
    last_news: Instant,
    stalled: bool,
    /// The producer stamps its frames far from when they come: when they come counts, until the next producer.
    pub(super) unpaced: bool,
    /// When this was last told to return: time stood still from then on.
    interrupted: Option<Instant>,
    last_running: ClockTime,
    rising: Rising,
    index: u64,
    discont: bool,
}

/// What a look at the wire gave.
enum Got {
    /// A frame that was not pushed before, and what its producer says about it.
    Fresh(gst::Buffer, Option<Made>),
    /// The same frame as before.
    Same,
    /// The last frame again, since somebody had the wire's lock for too long.
    Locked,
    /// Nothing that could be pushed.
    Nothing,
}

impl Engine {
    /// A source that starts now.
    pub fn new(settings: LiveSettings, changes: Changes, stats: Arc<Stats>) -> Self {
        let now = Instant::now();
        Self {
            settings,
            changes,
            stats,
            started: now,
            linked: false,
            connected: false,
            ever_connected: false,
            silenced: false,
            said_waiting: false,
            next_look: now,
            rested: false,
            missed: None,
            desc: None,
            negotiated: None,
            shown: None,
            ticks: None,
            last: None,
            last_leased: false,
            spent: None,
            paced: false,
            last_pushed: None,
            last_hash: None,
            verified: now,
            pending: None,
            last_news: now,
            stalled: false,
            unpaced: false,
            interrupted: None,
            last_running: ClockTime::ZERO,
            rising: Rising::default(),
            index: 0,
            discont: true,
        }
    }

    /// The next buffer to push. Returns only with one, or when the host is told to return.
    ///
    /// # Errors
    /// `Flushing`, `Eos`, or `Error` after an error message.
    pub fn next(&mut self, feed: &mut impl Feed, host: &impl Host) -> Result<gst::Buffer, FlowError> {
        self.spent = None;
        if let Some(since) = self.interrupted.take() {
            // Nobody looked meanwhile: that was no silence of the producer, and no wait for one.
            self.last_news = Instant::now();
            self.started += since.elapsed();
        }
        let next = self.find(feed, host);
        if matches!(next, Err(FlowError::Flushing)) {
            self.interrupted = Some(Instant::now());
        }
        next
    }

    fn find(&mut self, feed: &mut impl Feed, host: &impl Host) -> Result<gst::Buffer, FlowError> {
        loop {
            if host.flushing() {
                return Err(FlowError::Flushing);
            }
            if host.take_reconfigure() {
                self.reconsider(feed, host)?;
            }
            self.tend(feed, host)?;
            let buffer = if self.negotiated.is_none() {
                self.sleep(host, self.next_look)?;
                None
            } else if self.ticks.is_some() {
                self.at_tick(feed, host)?
            } else {
                self.at_news(feed, host)?
            };
            if let Some(buffer) = buffer {
                self.last_pushed = Some(Instant::now());
                return Ok(buffer);
            }
        }
    }

    /// Constant pacing: the frame of the next step of the grid.
    fn at_tick(&mut self, feed: &mut impl Feed, host: &impl Host) -> Result<Option<gst::Buffer>, FlowError> {
        let running = self.running_time(host)?;
        let Some(ticks) = &mut self.ticks else { return Ok(None) };
        let tick = ticks.due(running);
        if running < tick.at {
            let now = Instant::now();
            let due = now + Duration::from_nanos((tick.at - running).nseconds());
            // A look shortly before the read tells a writer at rest from one in the middle of a frame.
            let preview = due.checked_sub(PREVIEW).filter(|at| self.linked && *at > now);
            let first = preview.map_or(self.next_look, |at| self.next_look.min(at)).min(due);
            self.sleep(host, first)?;
            if first < due {
                if preview.is_some_and(|at| at <= first) && feed.glance() {
                    self.heard(host, Instant::now());
                }
                return Ok(None);
            }
            self.stats.woke(due.elapsed());
        }
        let got = if self.linked { self.read(feed, host, Instant::now())? } else { Got::Nothing };
        if self.connected && feed.has_ended() {
            self.next_look = Instant::now();
        }
        let served = self.running_time(host)?;
        if matches!(got, Got::Nothing) && self.linked && served < tick.at + (tick.end - tick.at) / 2 {
            // The writer was in it: it will be done in a moment, and half a step is time enough to see.
            self.sleep(host, Instant::now() + AGAIN)?;
            return Ok(None);
        }
        let skipped = self.ticks.as_mut().map_or(0, |ticks| ticks.serve(served));
        let buffer = match got {
            Got::Fresh(buffer, _) => Some(buffer),
            Got::Same | Got::Locked | Got::Nothing => self.repeat(feed),
        };
        let stamped = match buffer {
            Some(buffer) => Some(self.stamp_tick(buffer, tick, served)),
            None => {
                self.discont |= !self.changes.only;
                None
            }
        };
        if skipped > 0 {
            self.stats.skipped.fetch_add(skipped, Relaxed);
            self.discont = true;
        }
        Ok(stamped)
    }

    fn stamp_tick(&mut self, buffer: gst::Buffer, tick: Tick, served: ClockTime) -> gst::Buffer {
        let at = match self.settings.timestamp_mode {
            TimestampMode::Arrival | TimestampMode::Producer => served,
            TimestampMode::Auto | TimestampMode::Count => tick.at,
        };
        self.stamp(buffer, at, Some(tick.end - tick.at))
    }

    /// As produced: each new frame once, and the last one again when nothing comes.
    fn at_news(&mut self, feed: &mut impl Feed, host: &impl Host) -> Result<Option<gst::Buffer>, FlowError> {
        let until = self.next_look.min(self.keepalive_due().unwrap_or(self.next_look));
        let began = self.verify(feed);
        let seen = match self.pending.take() {
            Some(at) => Some(at),
            None if self.linked => match feed.wait_news(host.waiter(), until) {
                News::Fresh(at) => Some(at),
                News::None => None,
                News::Respec(desc) => {
                    self.agree(feed, host, desc, false)?;
                    None
                }
                News::Ended => {
                    self.next_look = Instant::now();
                    None
                }
            },
            None => {
                self.sleep(host, until)?;
                None
            }
        };
        if host.flushing() {
            return Err(FlowError::Flushing);
        }
        if let Some(at) = seen {
            self.paced = at.saturating_duration_since(began) >= PACED;
            match self.read(feed, host, at)? {
                Got::Fresh(buffer, made) => {
                    let time = self.time_of(host, at, made)?;
                    let duration = made.and_then(|made| made.duration).map(ClockTime::from_nseconds);
                    return Ok(Some(self.stamp(buffer, time, duration.or_else(|| self.nominal()))));
                }
                Got::Locked => {
                    // There is news, and it is asked for again.
                    self.pending = Some(at);
                    if let Some(buffer) = self.repeat(feed) {
                        let now = self.running_time(host)?;
                        return Ok(Some(self.stamp(buffer, now, None)));
                    }
                }
                // Torn: the writer is at it, and the next wait ends when it is done.
                Got::Nothing if self.linked => self.sleep(host, Instant::now() + AGAIN)?,
                Got::Same | Got::Nothing => {}
            }
        }
        if self.keepalive_due().is_some_and(|due| Instant::now() >= due)
            && let Some(buffer) = self.repeat(feed)
        {
            let now = self.running_time(host)?;
            return Ok(Some(self.stamp(buffer, now, None)));
        }
        Ok(None)
    }

    /// The running time of a frame that was seen at `seen`.
    fn time_of(&mut self, host: &impl Host, seen: Instant, made: Option<Made>) -> Result<ClockTime, FlowError> {
        let now = self.running_time(host)?;
        match made {
            Some(made) if self.settings.timestamp_mode != TimestampMode::Arrival => {
                // A producer that does not wait for its own clock drifts away from it, and must not jump to and fro.
                let stamp = made.pts.filter(|_| !self.unpaced);
                self.unpaced |= stamp.is_some_and(|pts| {
                    let ahead = pts > made.published + AHEAD.nseconds();
                    ahead || pts + BEHIND.nseconds() < made.published
                });
                host.running_time_at(stamp.filter(|_| !self.unpaced).unwrap_or(made.published))
            }
            _ => {
                let ago = ClockTime::from_nseconds(u64::try_from(seen.elapsed().as_nanos()).unwrap_or(0));
                Ok(now.saturating_sub(ago))
            }
        }
    }

    /// A wire without a frame counter is watched in places only: what changes elsewhere is found by comparing all of it,
    /// now and then. Gives the time.
    fn verify(&mut self, feed: &mut impl Feed) -> Instant {
        let now = Instant::now();
        if !self.linked || self.pending.is_some() || now < self.verified + VERIFY_EVERY {
            return now;
        }
        self.verified = now;
        let (Some(last), Some(negotiated)) = (&self.last, &self.negotiated) else { return now };
        if self.stats.frames.load(Relaxed) > 0 && !self.changes.announce && !feed.still(last, &negotiated.info) {
            self.pending = Some(now);
        }
        now
    }

    /// When the last frame is to be pushed again, if at all.
    fn keepalive_due(&self) -> Option<Instant> {
        self.last.as_ref().filter(|_| self.may_repeat())?;
        let every = self.settings.keepalive().unwrap_or(BLACK_EVERY);
        Some(self.last_pushed.map_or_else(Instant::now, |at| at + every))
    }

    /// Whether a frame may be pushed a second time.
    fn may_repeat(&self) -> bool {
        let only_black = self.stats.frames.load(Relaxed) == 0;
        let keepalive = self.ticks.is_some() || self.settings.keepalive().is_some();
        // Where frames are counted, a repeat would count as one.
        self.settings.timestamp_mode != TimestampMode::Count && (only_black || (keepalive && !self.changes.only))
    }

    fn nominal(&self) -> Option<ClockTime> {
        let rate = self.negotiated.as_ref()?.info.fps();
        (rate.numer() > 0).then(|| count_time(1, rate))
    }

    fn read(&mut self, feed: &mut impl Feed, host: &impl Host, due: Instant) -> Result<Got, FlowError> {
        let Some(info) = self.negotiated.as_ref().map(|negotiated| negotiated.info.clone()) else {
            return Ok(Got::Nothing);
        };
        // Constant pacing asks for a frame at each step: the same one is pushed by reference.
        if self.ticks.is_some()
            && self.stats.frames.load(Relaxed) > 0
            && let Some(last) = &self.last
            && feed.still(last, &info)
        {
            return Ok(Got::Same);
        }
        let mut leased = feed.lease(&info);
        if matches!(leased, Leased::Copy) && self.last_leased {
            // Its slot is wanted for the next frame.
            (self.last, self.last_leased) = (None, false);
            leased = feed.lease(&info);
        }
        match leased {
            Leased::Frame(buffer, made) => {
                self.last_leased = true;
                self.seen(host, due, Some(made));
                Ok(Got::Fresh(buffer, Some(made)))
            }
            Leased::Copy => {
                let mut buffer = host.alloc(&info)?;
                match feed.read(buffer.make_mut(), &info) {
                    Read::Whole { changed, torn, hash, made } => {
                        self.stats.torn.fetch_add(torn.into(), Relaxed);
                        if changed {
                            self.heard(host, Instant::now());
                        }
                        let differs = hash.is_none() || hash != self.last_hash;
                        if let Some(hash) = hash.filter(|_| differs) {
                            if self.changes.announce {
                                host.image_changed(&hash);
                            }
                            self.last_hash = Some(hash);
                        }
                        if self.changes.only && !differs {
                            return Ok(Got::Same);
                        }
                        self.seen(host, due, made);
                        Ok(Got::Fresh(buffer, made))
                    }
                    other => self.not_read(feed, host, other),
                }
            }
            Leased::Not(why) => self.not_read(feed, host, why),
        }
    }

    /// Counts a new frame.
    fn seen(&mut self, host: &impl Host, due: Instant, made: Option<Made>) {
        let now = Instant::now();
        let mut latency = now.saturating_duration_since(due);
        if let Some(made) = made {
            self.heard(host, now);
            latency = Duration::from_nanos(monotonic_ns().saturating_sub(made.published));
            self.stats.skipped.fetch_add(made.skipped, Relaxed);
            self.discont |= made.discont || made.skipped > 0;
        }
        self.stats.fresh(now, latency);
    }

    fn not_read(&mut self, feed: &mut impl Feed, host: &impl Host, why: Read) -> Result<Got, FlowError> {
        match why {
            Read::Torn(times) => {
                self.stats.torn.fetch_add(times.into(), Relaxed);
                // A writer that is always at it is no silence.
                self.heard(host, Instant::now());
                Ok(Got::Nothing)
            }
            Read::Lost(reason) => {
                self.let_go(feed, host, &reason)?;
                Ok(Got::Nothing)
            }
            Read::Respec(desc) => {
                self.agree(feed, host, desc, false)?;
                // The frame that it is about is there already.
                Ok(Got::Nothing)
            }
            Read::Locked => {
                self.stats.lock_timeouts.fetch_add(1, Relaxed);
                Ok(Got::Locked)
            }
            Read::Failed(message) => Err(host.fail(message)),
            // A whole frame is the caller's.
            Read::Nothing | Read::Whole { .. } => Ok(Got::Same),
        }
    }

    /// The last frame again, by reference.
    fn repeat(&mut self, feed: &mut impl Feed) -> Option<gst::Buffer> {
        if self.may_repeat() {
            self.keep(feed);
        }
        let mut buffer = self.last.as_ref().filter(|_| self.may_repeat())?.copy();
        buffer.make_mut().set_flags(gst::BufferFlags::GAP);
        self.stats.repeated.fetch_add(1, Relaxed);
        Some(buffer)
    }

    /// Times `buffer`, and keeps a reference to it for as long as it may have to be pushed again.
    fn stamp(&mut self, mut buffer: gst::Buffer, at: ClockTime, duration: Option<ClockTime>) -> gst::Buffer {
        let (at, duration) = match self.settings.timestamp_mode {
            TimestampMode::Count => {
                let at = count_time(self.index, self.settings.framerate);
                (at, Some(count_time(self.index + 1, self.settings.framerate) - at))
            }
            _ => (self.rising.next(at), duration),
        };
        let fields = buffer.make_mut();
        fields.set_pts(at);
        fields.set_duration(duration);
        fields.set_offset(self.index);
        fields.set_offset_end(self.index + 1);
        if std::mem::take(&mut self.discont) {
            fields.set_flags(gst::BufferFlags::DISCONT);
        } else {
            fields.unset_flags(gst::BufferFlags::DISCONT);
        }
        self.index += 1;
        if !fields.flags().contains(gst::BufferFlags::GAP) {
            // Without one the memory stays writable for downstream.
            let kept = self.may_repeat().then(|| buffer.clone());
            // To give a slot back takes its time. Where there is some, the new frame goes first.
            self.spent = std::mem::replace(&mut self.last, kept).filter(|_| self.paced);
            self.last_leased &= self.last.is_some();
        }
        buffer
    }

    /// The running time. A pause may set it back by a moment; when it has gone back by more (a flush sets it to zero) the
    /// grid begins anew.
    fn running_time(&mut self, host: &impl Host) -> Result<ClockTime, FlowError> {
        let now = host.running_time()?;
        if now + SET_BACK < self.last_running {
            self.ticks = self.ticks.as_ref().map(|ticks| Ticks::new(ticks.rate()));
            self.rising = Rising::default();
            self.discont = true;
        }
        self.last_running = now;
        Ok(now)
    }

    /// Sleeps until `until`; `Flushing` when told to return.
    fn sleep(&self, host: &impl Host, until: Instant) -> Result<(), FlowError> {
        host.waiter().wait_until(until);
        if host.flushing() { Err(FlowError::Flushing) } else { Ok(()) }
    }
}
