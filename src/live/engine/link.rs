// SPDX-License-Identifier: MPL-2.0
//! Looking for the producer and after it: who is there, who has gone, who is silent.

use super::*;
use crate::{
    enums::{OnDisconnect, WhileWaiting},
    live::{Attach, Standing},
};

/// How often a producer that is not there is looked for.
const LOOK_FOR: Duration = Duration::from_millis(10);
/// How long a producer that was let go for a pause may be missing after it.
const MISSED_FOR: Duration = Duration::from_millis(500);
/// Silence that is worth a message.
const STALLED: Duration = Duration::from_secs(1);

impl Engine {
    /// Looks for the producer, or after it.
    pub(super) fn tend(&mut self, feed: &mut impl Feed, host: &impl Host) -> Result<(), FlowError> {
        let now = Instant::now();
        if now < self.next_look {
            return Ok(());
        }
        if self.linked {
            self.next_look = now + feed.look_after();
            match feed.standing() {
                Standing::Here if self.silenced => {}
                Standing::Here => self.connect(host),
                Standing::Unsure => {}
                Standing::Orphaned(reason) => self.disconnect(host, &reason)?,
                Standing::Replaced(reason) => self.let_go(feed, host, &reason)?,
                Standing::Better => {
                    feed.detach();
                    self.linked = false;
                    self.pending = None;
                }
            }
        }
        if self.linked {
            if feed.glance() {
                self.heard(host, now);
            }
            self.watch_silence(host, now)?;
        } else {
            self.next_look = now + LOOK_FOR;
            self.look_for(feed, host, now)?;
        }
        Ok(())
    }

    fn look_for(&mut self, feed: &mut impl Feed, host: &impl Host, now: Instant) -> Result<(), FlowError> {
        match feed.attach() {
            Attach::Attached { desc, warning } => {
                self.agree(feed, host, desc, false)?;
                self.linked = true;
                self.unpaced = false;
                self.silenced = false;
                self.missed = None;
                let rested = std::mem::take(&mut self.rested);
                if self.ever_connected {
                    self.stats.reattached.fetch_add(u64::from(!rested), Relaxed);
                    self.discont = true;
                }
                self.connect(host);
                if let Some(warning) = warning {
                    host.warn(&warning);
                }
                self.pending = Some(now);
                Ok(())
            }
            Attach::NotYet(why) => {
                if self.rested && now.saturating_duration_since(*self.missed.get_or_insert(now)) >= MISSED_FOR {
                    (self.rested, self.missed) = (false, None);
                    self.disconnect(
                        host,
                        &format!("it went while this source was paused, or downstream had a frame: {why}"),
                    )?;
                }
                // Until then that is no wait that anybody is to hear of.
                if self.rested { Ok(()) } else { self.wait_for(feed, host, &why, now) }
            }
            Attach::Failed(message) => Err(host.fail(message)),
        }
    }

    fn wait_for(&mut self, feed: &mut impl Feed, host: &impl Host, why: &str, now: Instant) -> Result<(), FlowError> {
        if !self.said_waiting {
            self.said_waiting = true;
            host.post(
                gst::Structure::builder("tdlink-waiting").field("name", feed.name()).field("reason", why).build(),
            );
        }
        if self.settings.while_waiting == WhileWaiting::Black
            && self.last.is_none()
            && self.may_repeat()
            && let Some(desc) = feed.expected()
        {
            self.agree(feed, host, desc, false)?;
            self.last = Some(self.black(host)?);
            let offer = |now: &Negotiated| Offer { device: now.device, format: now.info.format() };
            self.shown = self.negotiated.as_ref().map(offer);
        }
        if self.negotiated.is_none()
            && feed.is_told()
            && let Some(desc) = feed.expected()
        {
            // A mixer that knows no size yet makes one up, and begins anew when it learns the right one.
            self.agree(feed, host, desc, false)?;
        }
        match self.settings.connection_timeout() {
            Some(timeout) if !self.ever_connected && now.saturating_duration_since(self.started) >= timeout => {
                Err(host.fail(timed_out(feed, why, timeout)))
            }
            _ => Ok(()),
        }
    }

    /// Settles caps for `desc`, unless they are settled and downstream has not asked for others.
    pub(super) fn agree(
        &mut self,
        feed: &mut impl Feed,
        host: &impl Host,
        mut desc: FeedDesc,
        again: bool,
    ) -> Result<(), FlowError> {
        if let Some(shown) = self.shown {
            desc.offers.sort_by_key(|offer| *offer != shown);
        }
        let same = self.desc.as_ref().is_some_and(|old| old.is_same(&desc));
        if again || !same || self.negotiated.is_none() {
            let negotiated = host.negotiate(&desc, &self.settings)?;
            let rate = self.ticks.as_ref().map(Ticks::rate);
            if rate != negotiated.constant {
                self.ticks = negotiated.constant.map(Ticks::new);
            }
            let form = |negotiated: &Negotiated| (negotiated.info.clone(), negotiated.device);
            if self.negotiated.as_ref().map(form) != Some(form(&negotiated)) {
                // A frame of another form cannot be repeated under the new caps: it is read anew.
                (self.last, self.last_leased) = (None, false);
                self.pending = Some(Instant::now()).filter(|_| self.linked);
            }
            self.negotiated = Some(negotiated);
        }
        if let Some(negotiated) = &self.negotiated
            && let Some(warning) = feed.target(&negotiated.info, host.takes_padding())
        {
            host.warn(&warning);
        }
        self.desc = Some(desc);
        Ok(())
    }

    /// Downstream has changed: other caps, and where nothing else says it, another geometry.
    pub(super) fn reconsider(&mut self, feed: &mut impl Feed, host: &impl Host) -> Result<(), FlowError> {
        let other = feed.reconsider();
        if other && self.linked {
            feed.detach();
            self.linked = false;
            self.next_look = Instant::now();
        } else if let Some(known) = self.desc.clone() {
            // Nobody is there yet whose frames these were.
            let expected = feed.expected().filter(|_| other);
            self.agree(feed, host, expected.unwrap_or(known), true)?;
        }
        Ok(())
    }

    fn connect(&mut self, host: &impl Host) {
        if self.connected {
            return;
        }
        self.connected = true;
        self.ever_connected = true;
        self.said_waiting = false;
        self.stalled = false;
        self.silenced = false;
        self.last_news = Instant::now();
        self.stats.connected.store(true, Relaxed);
        if let (Some(desc), Some(negotiated)) = (&self.desc, &self.negotiated) {
            host.post(connected(desc, negotiated));
        }
        host.connected_changed();
    }

    /// The producer has gone, on proof: the user's policy decides.
    fn disconnect(&mut self, host: &impl Host, reason: &str) -> Result<(), FlowError> {
        if !self.connected {
            return Ok(());
        }
        self.connected = false;
        self.stats.connected.store(false, Relaxed);
        host.post(gst::Structure::builder("tdlink-disconnected").field("reason", reason).build());
        host.connected_changed();
        match self.settings.on_disconnect {
            OnDisconnect::Wait => Ok(()),
            OnDisconnect::Eos => Err(FlowError::Eos),
            OnDisconnect::Error => Err(host.fail(gst::error_msg!(
                gst::ResourceError::Read,
                ("the producer has gone: {reason} (on-disconnect=error; wait would wait for the next one)")
            ))),
        }
    }

    /// Lets go for as long as nobody asks for frames, without a word: the producer is looked for again after it.
    pub fn rest(&mut self, feed: &mut impl Feed) {
        self.spent = None;
        self.keep(feed);
        feed.detach();
        (self.rested, self.missed) = (self.rested || self.linked, None);
        self.linked = false;
        self.pending = None;
        self.next_look = Instant::now();
    }

    pub(super) fn let_go(&mut self, feed: &mut impl Feed, host: &impl Host, reason: &str) -> Result<(), FlowError> {
        self.keep(feed);
        feed.detach();
        self.linked = false;
        self.pending = None;
        self.next_look = Instant::now();
        self.disconnect(host, reason)
    }

    /// What is pushed again is no longer a slot of the producer's.
    pub(super) fn keep(&mut self, feed: &mut impl Feed) {
        if self.last_leased
            && let (Some(last), Some(negotiated)) = (self.last.take(), &self.negotiated)
        {
            self.last = feed.keep(&last, &negotiated.info);
            self.last_leased = self.last.as_ref().is_some_and(|kept| kept.as_ptr() == last.as_ptr());
        }
    }

    /// Silence is a stall, and only after `stall-timeout` a disconnect.
    fn watch_silence(&mut self, host: &impl Host, now: Instant) -> Result<(), FlowError> {
        if !self.connected {
            return Ok(());
        }
        let silent = now.saturating_duration_since(self.last_news);
        if silent >= STALLED && !self.stalled {
            self.stalled = true;
            let age_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
            host.post(gst::Structure::builder("tdlink-stalled").field("age-ms", age_ms).build());
        }
        match self.settings.stall_timeout() {
            // The buffer stays mapped: its next news is the reconnection.
            Some(timeout) if silent >= timeout => {
                self.silenced = true;
                self.disconnect(host, &format!("no new frame for {} s (stall-timeout)", timeout.as_secs()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn heard(&mut self, host: &impl Host, now: Instant) {
        self.last_news = now;
        if self.silenced {
            self.connect(host);
        }
        if self.stalled {
            self.stalled = false;
            host.post(gst::Structure::builder("tdlink-resumed").build());
        }
    }

    /// A black frame under the negotiated caps.
    fn black(&self, host: &impl Host) -> Result<gst::Buffer, FlowError> {
        let Some(info) = self.negotiated.as_ref().map(|negotiated| &negotiated.info) else {
            return Err(FlowError::NotNegotiated);
        };
        let mut buffer = host.alloc(info)?;
        black::paint(buffer.make_mut(), info).map_err(|message| host.fail(message))?;
        Ok(buffer)
    }
}

fn connected(desc: &FeedDesc, negotiated: &Negotiated) -> gst::Structure {
    let sample = desc.sample_type.map_or_else(|| desc.wire.format.sample.to_string(), str::to_owned);
    let mut structure = gst::Structure::builder("tdlink-connected")
        .field("name", &desc.name)
        .field("protocol", desc.protocol)
        .field("width", desc.wire.width)
        .field("height", desc.wire.height)
        .field("format", negotiated.info.format().to_str().as_str())
        .field("sample-type", sample)
        .field("channels", u32::from(desc.wire.format.channels))
        .build();
    if let Some(pid) = desc.pid {
        structure.set("pid", pid);
    }
    structure
}

fn timed_out(feed: &impl Feed, why: &str, after: Duration) -> gst::ErrorMessage {
    let live = feed.neighbours();
    let there = if live.is_empty() {
        "there are no live buffers on this machine".to_string()
    } else {
        format!("live buffers, the nearest name first: {}", live.join(", "))
    };
    gst::error_msg!(
        gst::ResourceError::NotFound,
        ("no producer of {} within {} s (connection-timeout): {why}; {there}", feed.sought(), after.as_secs())
    )
}
