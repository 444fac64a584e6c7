// SPDX-License-Identifier: MPL-2.0
//! Everything that lives in this process, by handle. A handle is a number that is never given twice, so one of a dead
//! object is found out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::context::Context;
use super::event::Event;
use super::graph::Graph;
use super::memory::Memory;
use super::module::{Function, Module};
use super::stream::Stream;
use super::vmm::Physical;
use crate::code::{Code, Outcome};
use crate::config::config;

/// A device's primary context.
#[derive(Debug, Default)]
pub struct Primary {
    pub context: Option<Arc<Context>>,
    pub holders: u32,
    pub flags: u32,
}

/// A pool: only what its memory is allocated on.
#[derive(Clone, Debug)]
pub struct Pool {
    pub device: i32,
    pub release_threshold: u64,
    pub is_default: bool,
}

#[derive(Debug, Default)]
pub struct State {
    last_handle: usize,
    pub contexts: HashMap<usize, Arc<Context>>,
    pub primaries: HashMap<i32, Primary>,
    pub streams: HashMap<usize, Arc<Stream>>,
    pub events: HashMap<usize, Arc<Event>>,
    pub memory: Memory,
    pub modules: HashMap<usize, Arc<Module>>,
    pub functions: HashMap<usize, Function>,
    pub graphs: HashMap<usize, Graph>,
    pub executables: HashMap<usize, Graph>,
    pub physical: HashMap<u64, Physical>,
    pub pools: HashMap<usize, Pool>,
}

/// Handles look like addresses that nobody may read.
const HANDLES: usize = 0x0e3d_0000_0000;

impl State {
    pub fn handle(&mut self) -> usize {
        self.last_handle += 1;
        HANDLES + self.last_handle * 64
    }

    pub fn context(&self, handle: usize) -> Outcome<Arc<Context>> {
        self.contexts.get(&handle).cloned().ok_or(Code::INVALID_CONTEXT)
    }

    /// The stream of a handle; 0, 1 and 2 are the legacy default stream of `context`.
    pub fn stream(&self, context: &Context, handle: usize) -> Outcome<Arc<Stream>> {
        match handle {
            0..=2 => Ok(context.legacy.clone()),
            _ => self.streams.get(&handle).cloned().ok_or(Code::INVALID_HANDLE),
        }
    }

    /// The same for work, which a stream of another context does not take.
    pub fn stream_of(&self, context: &Context, handle: usize) -> Outcome<Arc<Stream>> {
        self.stream(context, handle).and_then(|stream| match stream.context == context.id {
            true => Ok(stream),
            false => Err(Code::INVALID_HANDLE),
        })
    }

    pub fn event(&self, handle: usize) -> Outcome<Arc<Event>> {
        self.events.get(&handle).cloned().ok_or(Code::INVALID_HANDLE)
    }

    /// Takes a context and everything in it from the tables.
    pub fn forget_context(&mut self, context: &Context) {
        self.contexts.remove(&context.id);
        self.streams.retain(|_, stream| stream.context != context.id);
        self.events.retain(|_, event| event.context != context.id);
        self.modules.retain(|_, module| module.context != context.id);
        self.functions.retain(|_, function| function.context != context.id);
        self.graphs.retain(|_, graph| graph.context != context.id);
        self.executables.retain(|_, graph| graph.context != context.id);
        self.memory.forget_context(context.id);
        context.destroy();
    }
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
static READY: AtomicBool = AtomicBool::new(false);

pub fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// After cuInit.
pub fn ready() -> Outcome {
    if READY.load(Ordering::Acquire) { Ok(()) } else { Err(Code::NOT_INITIALIZED) }
}

pub fn initialize() -> Outcome {
    if config().devices == 0 {
        return Err(Code::NO_DEVICE);
    }
    READY.store(true, Ordering::Release);
    Ok(())
}

/// As after a reset of the device: every context of this process is of no more use.
pub fn lose_contexts(code: Code) {
    for context in state().contexts.values() {
        context.fate.lose(code);
    }
}

/// How many of each are alive, for the search for leaks.
pub fn living() -> Vec<(&'static str, usize)> {
    let state = state();
    let (own, imported) = state.memory.counts();
    vec![
        ("contexts", state.contexts.len()),
        ("events", state.events.len()),
        ("executables", state.executables.len()),
        ("graphs", state.graphs.len()),
        ("host", state.memory.host_count()),
        ("imported", imported),
        ("memory", own),
        ("modules", state.modules.len()),
        ("physical", state.physical.len()),
        ("streams", state.streams.len()),
    ]
}
