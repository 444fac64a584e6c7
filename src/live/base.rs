// SPDX-License-Identifier: MPL-2.0
//! What every source of ours keeps between the engine, on the streaming thread, and GStreamer's base class, on any.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gst::prelude::*;
use gst_base::prelude::*;
use tdlink_core::{protocol::control::Interrupt, segment::monotonic_ns};

use super::{Announcer, Negotiated, Stats};
use crate::time;

/// How often to ask whether running time has begun.
const NOT_BEGUN: Duration = Duration::from_millis(20);
/// What is reported as latency at low rates and unknown ones: copies take less.
const MOST_LATENCY: gst::ClockTime = gst::ClockTime::from_mseconds(20);

/// The state of a source that more than one thread sees.
#[derive(Debug, Default)]
pub struct Base {
    pub stats: Arc<Stats>,
    pub announcer: Announcer,
    /// Ends waits.
    pub interrupt: Interrupt,
    /// What the streaming thread has agreed on, for the latency query.
    rate: Mutex<Option<gst::Fraction>>,
    flushing: AtomicBool,
    /// Downstream has asked for other caps.
    reconfigure: AtomicBool,
    /// Downstream takes rows that lie further apart than caps say.
    padding: AtomicBool,
    /// The pipeline's clock counts what shared memory's times count.
    on_clock: AtomicBool,
}

impl Base {
    /// The element starts.
    pub fn begin(&self) {
        self.stats.reset();
        self.set_rate(None);
    }

    /// The streaming thread is to return.
    pub fn unlock(&self) {
        self.flushing.store(true, Ordering::SeqCst);
        self.interrupt.raise();
    }

    /// It may wait again.
    pub fn unlock_stop(&self) {
        self.flushing.store(false, Ordering::SeqCst);
        self.interrupt.clear();
    }

    /// Whether it is to return.
    pub fn flushing(&self) -> bool {
        self.flushing.load(Ordering::SeqCst)
    }

    /// Downstream wants other caps.
    pub fn ask_again(&self) {
        self.reconfigure.store(true, Ordering::SeqCst);
    }

    /// Whether downstream has asked for other caps since this was last asked.
    pub fn take_reconfigure(&self, src: &gst_base::BaseSrc) -> bool {
        // The base class looks at the pad only between two buffers, which may be far apart.
        let pad = src.src_pad().check_reconfigure();
        self.reconfigure.swap(false, Ordering::SeqCst) || pad
    }

    /// Whether downstream takes rows that lie further apart than caps say.
    pub fn takes_padding(&self) -> bool {
        self.padding.load(Ordering::SeqCst)
    }

    /// What the ALLOCATION query has said of that.
    pub fn set_padding(&self, padding: bool) {
        self.padding.store(padding, Ordering::SeqCst);
    }

    /// The pipeline has another clock, or none. Asked once and not for each frame: a property is looked up by name.
    pub fn set_clock(&self, clock: Option<&gst::Clock>) {
        self.on_clock.store(clock.is_some_and(time::is_monotonic), Ordering::SeqCst);
    }

    fn set_rate(&self, rate: Option<gst::Fraction>) {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = rate;
    }

    /// Sets the caps that were agreed on, asks for a pool, and says that latency may be another one.
    ///
    /// # Errors
    /// `Flushing`, or `NotNegotiated` when downstream refuses after all.
    pub fn settle(
        &self,
        src: &gst_base::BaseSrc,
        caps: &gst::Caps,
        negotiated: &Negotiated,
    ) -> Result<(), gst::FlowError> {
        if src.set_caps(caps).is_err() || !src.negotiate() {
            return Err(if self.flushing() { gst::FlowError::Flushing } else { gst::FlowError::NotNegotiated });
        }
        // That was us.
        self.reconfigure.store(false, Ordering::SeqCst);
        self.set_rate(Some(negotiated.info.fps()));
        if src.post_message(gst::message::Latency::builder().src(src).build()).is_err() {
            tracing::debug!("no bus to announce a new latency on");
        }
        Ok(())
    }

    /// Answers the latency query.
    pub fn latency(&self, query: &mut gst::query::Latency) -> bool {
        // A frame is pushed as soon as it is copied, and a copy takes no longer than a frame may.
        let rate = *self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let (num, den) = rate.filter(|rate| rate.numer() > 0).map_or((60, 1), |rate| (rate.numer(), rate.denom()));
        let period = gst::ClockTime::SECOND.mul_div_ceil(den.unsigned_abs().into(), num.unsigned_abs().into());
        let least = period.unwrap_or(MOST_LATENCY).min(MOST_LATENCY);
        // No maximum: nothing queues here, a late downstream gets a newer frame.
        query.set(true, least, gst::ClockTime::NONE);
        true
    }

    /// The pipeline's running time; waits until it has begun.
    ///
    /// # Errors
    /// `Flushing`, or what `fail` makes of a pipeline without a clock.
    pub fn running_time(
        &self,
        src: &gst_base::BaseSrc,
        fail: impl Fn(gst::ErrorMessage) -> gst::FlowError,
    ) -> Result<gst::ClockTime, gst::FlowError> {
        loop {
            if let Some(now) = src.current_running_time() {
                return Ok(now);
            }
            if self.flushing() {
                return Err(gst::FlowError::Flushing);
            }
            if src.clock().is_none() {
                return Err(fail(gst::error_msg!(
                    gst::CoreError::Clock,
                    ("the pipeline has no clock, and a live source cannot do without one")
                )));
            }
            // A synchronised start lies ahead.
            self.interrupt.waiter().wait_until(Instant::now() + NOT_BEGUN);
        }
    }

    /// The running time at `ns` of the monotonic clock; zero for what was before it began. Where the pipeline's clock is
    /// another one, by how long ago that was.
    ///
    /// # Errors
    /// As of [`Base::running_time`].
    pub fn running_time_at(
        &self,
        src: &gst_base::BaseSrc,
        ns: u64,
        fail: impl Fn(gst::ErrorMessage) -> gst::FlowError,
    ) -> Result<gst::ClockTime, gst::FlowError> {
        let is_monotonic = self.on_clock.load(Ordering::SeqCst);
        match src.base_time().filter(|_| is_monotonic) {
            Some(base) => Ok(gst::ClockTime::from_nseconds(ns.saturating_sub(base.nseconds()))),
            None => Ok(self.running_time(src, fail)?.saturating_sub(age(ns))),
        }
    }

    /// Posts an element message, and writes it to the log of `category`.
    pub fn post(&self, category: gst::DebugCategory, src: &gst_base::BaseSrc, structure: gst::Structure) {
        gst::info!(category, obj = src, "{structure}");
        let message = gst::message::Element::builder(structure).src(src).build();
        if src.post_message(message).is_err() {
            gst::debug!(category, obj = src, "no bus to post on");
        }
    }
}

/// How long ago `ns` of the monotonic clock was.
fn age(ns: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(monotonic_ns().saturating_sub(ns))
}
