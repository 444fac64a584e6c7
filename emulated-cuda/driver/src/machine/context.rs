// SPDX-License-Identifier: MPL-2.0
//! Contexts, and the stack of them that each thread has.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::event::Event;
use super::graph::Node;
use super::state;
use super::stream::{Fate, Stream};
use super::work::Work;
use crate::code::{Code, Outcome};

#[derive(Debug)]
pub struct Context {
    pub id: usize,
    pub device: i32,
    pub flags: u32,
    pub primary: bool,
    pub fate: Arc<Fate>,
    pub legacy: Arc<Stream>,
    destroyed: AtomicBool,
    /// All that have work or may get some, also those that were destroyed with work left. Held while work is queued: the
    /// order of events is the order of the queues.
    streams: Mutex<Vec<Arc<Stream>>>,
}

impl Context {
    pub fn new(id: usize, device: i32, flags: u32, primary: bool) -> Arc<Context> {
        let fate = Arc::<Fate>::default();
        let legacy = Stream::new(0, id, 0, 0, fate.clone());
        let (destroyed, streams) = (AtomicBool::new(false), Mutex::default());
        Arc::new(Context { id, device, flags, primary, fate, legacy, destroyed, streams })
    }

    fn streams(&self) -> MutexGuard<'_, Vec<Arc<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, stream: Arc<Stream>) {
        let mut streams = self.streams();
        // Those that were destroyed and have nothing left to do.
        streams.retain(|stream| Arc::strong_count(stream) > 1 || !stream.is_idle());
        streams.push(stream);
    }

    /// Queues work behind what the rules of the legacy default stream demand.
    fn submit(&self, stream: &Arc<Stream>, make: impl FnOnce() -> Work) -> Outcome<u64> {
        let streams = self.streams();
        if stream.id == 0 {
            for other in streams.iter().filter(|other| other.is_blocking() && !other.is_idle()) {
                stream.push(Work::Behind(other.clone(), other.submitted()))?;
            }
        } else if stream.is_blocking() && !self.legacy.is_idle() {
            stream.push(Work::Behind(self.legacy.clone(), self.legacy.submitted()))?;
        }
        stream.push(make())
    }

    /// Queues what a node says, or notes it down while the stream is being captured (then there is no ticket).
    pub fn enqueue(&self, stream: &Arc<Stream>, node: Node) -> Outcome<Option<u64>> {
        if let Some(capture) = &mut *stream.capture.lock().unwrap_or_else(PoisonError::into_inner) {
            return capture.add(node).map(|()| None);
        }
        self.perform(stream, &node).map(Some)
    }

    /// Queues what a node says.
    pub fn perform(&self, stream: &Arc<Stream>, node: &Node) -> Outcome<u64> {
        match node {
            Node::Copy(copy) => self.submit(stream, || Work::Copy(copy.clone())),
            Node::Fill(fill) => self.submit(stream, || Work::Fill(fill.clone())),
            Node::Launch(launch) => self.submit(stream, || Work::Launch(launch.clone())),
            Node::Call(call) => self.submit(stream, || Work::Call(*call)),
            Node::Drop(backing) => self.submit(stream, || Work::Drop(backing.clone())),
            Node::Record { event, .. } => self.record(stream, event),
            Node::Wait { event, .. } => self.submit(stream, || Work::Wait(event.clone(), event.newest())),
        }
    }

    fn record(&self, stream: &Arc<Stream>, event: &Arc<Event>) -> Outcome<u64> {
        self.submit(stream, || Work::Record(event.clone(), event.submit()))
    }

    /// Waits for all work of all streams.
    pub fn drain(&self) -> Outcome {
        let streams: Vec<_> = self.streams().iter().chain([&self.legacy]).cloned().collect();
        streams.iter().try_for_each(|stream| stream.drain())
    }

    /// Whether a stream has something left to do.
    pub fn is_busy(&self) -> bool {
        self.streams().iter().chain([&self.legacy]).any(|stream| !stream.is_idle())
    }

    pub fn is_destroyed(&self) -> bool {
        self.destroyed.load(Ordering::Acquire)
    }

    /// Ends the streams' threads.
    pub fn destroy(&self) {
        self.destroyed.store(true, Ordering::Release);
        // Whoever slips in behind on another thread gets an answer, not a wait without end.
        self.fate.lose(Code::CONTEXT_IS_DESTROYED);
        for stream in self.streams().drain(..) {
            stream.close();
        }
        self.legacy.close();
    }
}

thread_local! {
    static STACK: RefCell<Vec<Arc<Context>>> = const { RefCell::new(Vec::new()) };
}

/// Works on this thread's stack; a thread that is ending has none.
fn stack<T>(work: impl FnOnce(&mut Vec<Arc<Context>>) -> T) -> Outcome<T> {
    STACK.try_with(|stack| work(&mut stack.borrow_mut())).map_err(|_| Code::INVALID_CONTEXT)
}

pub fn push(context: Arc<Context>) -> Outcome {
    stack(|stack| stack.push(context))
}

pub fn pop() -> Outcome<Arc<Context>> {
    stack(Vec::pop)?.ok_or(Code::INVALID_CONTEXT)
}

/// What is on top, in whatever state it is.
pub fn top() -> Outcome<Option<Arc<Context>>> {
    stack(|stack| stack.last().cloned())
}

/// Replaces what is on top; none takes it away.
pub fn set(context: Option<Arc<Context>>) -> Outcome {
    stack(|stack| {
        stack.pop();
        stack.extend(context);
    })
}

/// The context in which a call works.
pub fn current() -> Outcome<Arc<Context>> {
    state::ready()?;
    let context = top()?.ok_or(Code::INVALID_CONTEXT)?;
    if context.is_destroyed() {
        return Err(Code::CONTEXT_IS_DESTROYED);
    }
    context.fate.check()?;
    Ok(context)
}
