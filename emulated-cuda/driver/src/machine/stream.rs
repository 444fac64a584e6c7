// SPDX-License-Identifier: MPL-2.0
//! Streams: work in order, done by a thread of its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::graph::Capture;
use super::work::Work;
use crate::code::{Code, Outcome};

pub const NON_BLOCKING: u32 = 1;

/// Whether a context is still usable. Shared with its streams.
#[derive(Debug, Default)]
pub struct Fate(AtomicU32);

impl Fate {
    pub fn check(&self) -> Outcome {
        match self.0.load(Ordering::Acquire) {
            0 => Ok(()),
            code => Err(Code(code)),
        }
    }

    /// The first reason stays.
    pub fn lose(&self, code: Code) {
        let _ = self.0.compare_exchange(0, code.0, Ordering::AcqRel, Ordering::Acquire);
    }
}

#[derive(Debug)]
pub struct Stream {
    /// 0 for the legacy default stream of a context.
    pub id: usize,
    pub context: usize,
    pub flags: u32,
    pub priority: i32,
    fate: Arc<Fate>,
    order: Mutex<Order>,
    changed: Condvar,
    pub capture: Mutex<Option<Capture>>,
}

#[derive(Debug, Default)]
struct Order {
    work: VecDeque<Work>,
    submitted: u64,
    done: u64,
    closing: bool,
    has_thread: bool,
}

impl Stream {
    pub fn new(id: usize, context: usize, flags: u32, priority: i32, fate: Arc<Fate>) -> Arc<Stream> {
        let (order, changed, capture) = (Mutex::default(), Condvar::new(), Mutex::default());
        Arc::new(Stream { id, context, flags, priority, fate, order, changed, capture })
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ordered against the legacy default stream.
    pub fn is_blocking(&self) -> bool {
        self.id != 0 && self.flags & NON_BLOCKING == 0
    }

    /// Queues work; the ticket can be waited for. The thread starts with the first piece.
    pub fn push(self: &Arc<Self>, work: Work) -> Outcome<u64> {
        let mut order = self.order();
        if !order.has_thread {
            let stream = self.clone();
            let thread = std::thread::Builder::new().name("emulated-stream".into());
            thread.spawn(move || stream.run()).map_err(|_| Code::OUT_OF_MEMORY)?;
            order.has_thread = true;
        }
        order.work.push_back(work);
        order.submitted += 1;
        self.changed.notify_all();
        Ok(order.submitted)
    }

    fn run(&self) {
        let mut order = self.order();
        loop {
            let Some(work) = order.work.pop_front() else {
                if order.closing {
                    return;
                }
                order = self.changed.wait(order).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(order);
            // A lost context does nothing any more, and completes nothing.
            if self.fate.check().is_ok()
                && let Err(code) = work.run(&self.fate)
            {
                self.fate.lose(code);
            }
            // It may be the last to hold memory, an event or another stream.
            drop(work);
            order = self.order();
            order.done += 1;
            self.changed.notify_all();
        }
    }

    /// The ticket of the newest work.
    pub fn submitted(&self) -> u64 {
        self.order().submitted
    }

    pub fn is_idle(&self) -> bool {
        let order = self.order();
        order.done == order.submitted
    }

    pub fn wait_for(&self, ticket: u64) -> Outcome {
        let mut order = self.order();
        while order.done < ticket {
            self.fate.check()?;
            // A context that is lost by another thread rings no bell here.
            let waited = self.changed.wait_timeout(order, Duration::from_millis(50));
            order = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(order);
        self.fate.check()
    }

    pub fn drain(&self) -> Outcome {
        self.wait_for(self.submitted())
    }

    /// No more work will come; the thread ends when it has done what there is.
    pub fn close(&self) {
        self.order().closing = true;
        self.changed.notify_all();
    }
}
