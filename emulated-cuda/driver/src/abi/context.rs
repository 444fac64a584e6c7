// SPDX-License-Identifier: MPL-2.0
//! Contexts: the stack of a thread, primary contexts, peers.

use std::ffi::c_int;

use super::device::device;
use super::types::*;
use crate::calls::{entries, put, put_if_wanted};
use crate::code::{Code, Outcome};
use crate::config::config;
use crate::machine::context::{self, Context, current};
use crate::machine::state::{self, state};

fn release_primary(number: Device) -> Outcome {
    let number = device(number)?;
    let gone = {
        let mut state = state();
        let primary = state.primaries.entry(number).or_default();
        primary.holders = primary.holders.checked_sub(1).ok_or(Code::INVALID_CONTEXT)?;
        if primary.holders == 0 { primary.context.take() } else { None }
    };
    if let Some(context) = gone {
        end(&context);
    }
    Ok(())
}

/// A context that goes takes everything in it along; its work is finished first, unless the device has failed.
fn end(context: &Context) {
    // Its own failure does not keep a context from going.
    let _ = context.drain();
    state().forget_context(context);
}

const STACK_SIZE: u32 = 0;

entries! {
    fn cuCtxCreate_v2(handle: *mut Handle, flags: u32, number: Device) {
        let number = device(number)?;
        let context = {
            let mut state = state();
            let id = state.handle();
            let context = Context::new(id, number, flags, false);
            state.contexts.insert(id, context.clone());
            context
        };
        put!(handle, context.id);
        context::push(context)
    }

    fn cuCtxDestroy_v2(handle: Handle) {
        state::ready()?;
        let context = state().context(handle)?;
        if context.primary {
            return Err(Code::INVALID_CONTEXT);
        }
        if context::top()?.is_some_and(|top| top.id == context.id) {
            context::pop()?;
        }
        end(&context);
        Ok(())
    }

    fn cuCtxPushCurrent_v2(handle: Handle) {
        state::ready()?;
        let context = state().context(handle)?;
        context::push(context)
    }

    fn cuCtxPopCurrent_v2(handle: *mut Handle) {
        state::ready()?;
        let context = context::pop()?;
        put_if_wanted!(handle, context.id);
        Ok(())
    }

    fn cuCtxGetCurrent(handle: *mut Handle) {
        state::ready()?;
        put!(handle, context::top()?.map_or(0, |context| context.id));
        Ok(())
    }

    fn cuCtxSetCurrent(handle: Handle) {
        state::ready()?;
        let context = match handle {
            0 => None,
            _ => Some(state().context(handle)?),
        };
        context::set(context)
    }

    fn cuCtxGetDevice(number: *mut Device) {
        put!(number, current()?.device);
        Ok(())
    }

    fn cuCtxGetFlags(flags: *mut u32) {
        put!(flags, current()?.flags);
        Ok(())
    }

    fn cuCtxGetApiVersion(handle: Handle, version: *mut u32) {
        state::ready()?;
        match handle {
            0 => drop(current()?),
            _ => drop(state().context(handle)?),
        }
        put!(version, 3020);
        Ok(())
    }

    fn cuCtxSynchronize() {
        let context = current()?;
        if config().break_sync { Ok(()) } else { context.drain() }
    }

    fn cuCtxGetLimit(value: *mut usize, limit: u32) {
        current()?;
        put!(value, if limit == STACK_SIZE { 1024 } else { 0 });
        Ok(())
    }

    fn cuCtxSetLimit(_limit: u32, _value: usize) {
        current().map(drop)
    }

    fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        current()?;
        put_if_wanted!(least, 0);
        put_if_wanted!(greatest, -5);
        Ok(())
    }

    fn cuCtxEnablePeerAccess(peer: Handle, flags: u32) {
        let context = current()?;
        let peer = state().context(peer)?;
        match flags {
            0 if peer.device != context.device => Ok(()),
            0 => Err(Code::INVALID_DEVICE),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    fn cuCtxDisablePeerAccess(peer: Handle) {
        current()?;
        state().context(peer).map(drop)
    }

    fn cuDevicePrimaryCtxRetain(handle: *mut Handle, number: Device) {
        let number = device(number)?;
        let id = {
            let mut state = state();
            let fresh = state.handle();
            let primary = state.primaries.entry(number).or_default();
            primary.holders += 1;
            let flags = primary.flags;
            let context = primary.context.get_or_insert_with(|| Context::new(fresh, number, flags, true)).clone();
            state.contexts.insert(context.id, context.clone());
            context.id
        };
        put!(handle, id);
        Ok(())
    }

    fn cuDevicePrimaryCtxRelease_v2(number: Device) {
        release_primary(number)
    }

    fn cuDevicePrimaryCtxRelease(number: Device) {
        release_primary(number)
    }

    fn cuDevicePrimaryCtxReset_v2(number: Device) {
        let number = device(number)?;
        let gone = state().primaries.get_mut(&number).and_then(|primary| primary.context.take());
        if let Some(context) = gone {
            end(&context);
        }
        Ok(())
    }

    fn cuDevicePrimaryCtxGetState(number: Device, flags: *mut u32, active: *mut c_int) {
        let number = device(number)?;
        let state = state();
        let primary = state.primaries.get(&number);
        put!(flags, primary.map_or(0, |primary| primary.flags));
        put!(active, c_int::from(primary.is_some_and(|primary| primary.context.is_some())));
        Ok(())
    }

    fn cuDevicePrimaryCtxSetFlags_v2(number: Device, flags: u32) {
        let number = device(number)?;
        state().primaries.entry(number).or_default().flags = flags;
        Ok(())
    }
}
