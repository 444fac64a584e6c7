// SPDX-License-Identifier: MPL-2.0
//! Streams.

use std::ffi::c_int;
use std::sync::PoisonError;

use super::types::*;
use crate::calls::{entries, put};
use crate::code::{Code, Outcome};
use crate::config::config;
use crate::machine::context::current;
use crate::machine::graph::Node;
use crate::machine::state::state;
use crate::machine::stream::{NON_BLOCKING, Stream};
use crate::machine::work::HostCall;

fn create(flags: u32, priority: i32) -> Outcome<usize> {
    let context = current()?;
    if flags & !NON_BLOCKING != 0 {
        return Err(Code::INVALID_VALUE);
    }
    let mut state = state();
    let id = state.handle();
    let stream = Stream::new(id, context.id, flags, priority.clamp(-5, 0), context.fate.clone());
    state.streams.insert(id, stream.clone());
    context.add(stream);
    Ok(id)
}

fn destroy(handle: Handle) -> Outcome {
    current()?;
    // What it still has to do is done; the context knows it until then.
    state().streams.remove(&handle).ok_or(Code::INVALID_HANDLE)?.close();
    Ok(())
}

/// A stream that is captured runs nothing that could be waited for, and asking spoils the capture.
fn not_captured(stream: &Stream) -> Outcome {
    match &mut *stream.capture.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(capture) => {
            capture.spoil();
            Err(Code::CAPTURE_UNSUPPORTED)
        }
        None => Ok(()),
    }
}

entries! {
    fn cuStreamCreate(handle: *mut Handle, flags: u32) {
        put!(handle, create(flags, 0)?);
        Ok(())
    }

    fn cuStreamCreateWithPriority(handle: *mut Handle, flags: u32, priority: c_int) {
        put!(handle, create(flags, priority)?);
        Ok(())
    }

    fn cuStreamDestroy(handle: Handle) {
        destroy(handle)
    }

    fn cuStreamDestroy_v2(handle: Handle) {
        destroy(handle)
    }

    fn cuStreamSynchronize(handle: Handle) {
        let context = current()?;
        let stream = state().stream(&context, handle)?;
        not_captured(&stream)?;
        if config().break_sync {
            return Ok(());
        }
        match stream.id {
            // What the legacy default stream would wait for.
            0 => drain_blocking(&context),
            _ => stream.drain(),
        }
    }

    fn cuStreamQuery(handle: Handle) {
        let context = current()?;
        let stream = state().stream(&context, handle)?;
        not_captured(&stream)?;
        if stream.is_idle() { Ok(()) } else { Err(Code::NOT_READY) }
    }

    fn cuStreamWaitEvent(handle: Handle, event: Handle, flags: u32) {
        let context = current()?;
        let (stream, event) = {
            let state = state();
            (state.stream_of(&context, handle)?, state.event(event)?)
        };
        if flags > 1 {
            return Err(Code::INVALID_VALUE);
        }
        context.enqueue(&stream, Node::Wait { event, external: flags == 1 }).map(drop)
    }

    fn cuStreamGetFlags(handle: Handle, flags: *mut u32) {
        let context = current()?;
        put!(flags, state().stream(&context, handle)?.flags);
        Ok(())
    }

    fn cuStreamGetPriority(handle: Handle, priority: *mut c_int) {
        let context = current()?;
        put!(priority, state().stream(&context, handle)?.priority);
        Ok(())
    }

    fn cuStreamGetCtx(handle: Handle, owner: *mut Handle) {
        let context = current()?;
        put!(owner, state().stream(&context, handle)?.context);
        Ok(())
    }

    fn cuStreamGetId(handle: Handle, id: *mut u64) {
        let context = current()?;
        put!(id, state().stream(&context, handle)?.id as u64);
        Ok(())
    }

    fn cuLaunchHostFunc(handle: Handle, function: Option<unsafe extern "C" fn(usize)>, data: usize) {
        let context = current()?;
        let stream = state().stream_of(&context, handle)?;
        let function = function.ok_or(Code::INVALID_VALUE)?;
        context.enqueue(&stream, Node::Call(HostCall { function, data })).map(drop)
    }
}

/// Waits for the legacy default stream, and for the streams that it is ordered against.
fn drain_blocking(context: &crate::machine::context::Context) -> Outcome {
    let streams: Vec<_> = {
        let state = state();
        let of_this = state.streams.values().filter(|stream| stream.context == context.id && stream.is_blocking());
        of_this.cloned().collect()
    };
    streams.iter().try_for_each(|stream| stream.drain())?;
    context.legacy.drain()
}
