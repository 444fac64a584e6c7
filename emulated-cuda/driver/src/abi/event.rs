// SPDX-License-Identifier: MPL-2.0
//! Events.

use std::sync::Arc;

use super::types::*;
use crate::calls::{entries, put};
use crate::code::{Code, Outcome};
use crate::config::config;
use crate::machine::context::current;
use crate::machine::event::{BLOCKING_SYNC, DISABLE_TIMING, Event, INTERPROCESS};
use crate::machine::graph::Node;
use crate::machine::state::state;

fn record(event: Handle, stream: Handle, flags: u32) -> Outcome {
    let context = current()?;
    let (stream, event) = {
        let state = state();
        (state.stream_of(&context, stream)?, state.event(event)?)
    };
    if flags > 1 {
        return Err(Code::INVALID_VALUE);
    }
    if event.context != stream.context {
        return Err(Code::INVALID_HANDLE);
    }
    context.enqueue(&stream, Node::Record { event, external: flags == 1 }).map(drop)
}

entries! {
    fn cuEventCreate(handle: *mut Handle, flags: u32) {
        let context = current()?;
        let known = BLOCKING_SYNC | DISABLE_TIMING | INTERPROCESS;
        if flags & !known != 0 || flags & INTERPROCESS != 0 && flags & DISABLE_TIMING == 0 {
            return Err(Code::INVALID_VALUE);
        }
        if flags & INTERPROCESS != 0 && !config().events {
            return Err(Code::NOT_SUPPORTED);
        }
        let mut state = state();
        let id = state.handle();
        state.events.insert(id, Arc::new(Event::new(id, context.id, context.device, flags)?));
        put!(handle, id);
        Ok(())
    }

    fn cuEventDestroy_v2(handle: Handle) {
        current()?;
        // A record that is under way holds it until it is complete.
        state().events.remove(&handle).map(drop).ok_or(Code::INVALID_HANDLE)
    }

    fn cuEventRecord(event: Handle, stream: Handle) {
        record(event, stream, 0)
    }

    fn cuEventRecordWithFlags(event: Handle, stream: Handle, flags: u32) {
        record(event, stream, flags)
    }

    fn cuEventQuery(handle: Handle) {
        current()?;
        let event = state().event(handle)?;
        if event.is_over(event.newest()) { Ok(()) } else { Err(Code::NOT_READY) }
    }

    fn cuEventSynchronize(handle: Handle) {
        let context = current()?;
        let event = state().event(handle)?;
        if config().break_sync {
            return Ok(());
        }
        event.wait(event.newest(), || context.fate.check())
    }

    fn cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) {
        current()?;
        let (start, end) = {
            let state = state();
            (state.event(start)?, state.event(end)?)
        };
        if (start.flags | end.flags) & DISABLE_TIMING != 0 || start.newest() == 0 || end.newest() == 0 {
            return Err(Code::INVALID_HANDLE);
        }
        if !start.is_complete(start.newest()) || !end.is_complete(end.newest()) {
            return Err(Code::NOT_READY);
        }
        let elapsed = end.completed_at() as i64 - start.completed_at() as i64;
        put!(milliseconds, elapsed as f32 / 1e6);
        Ok(())
    }
}
