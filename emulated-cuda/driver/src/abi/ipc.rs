// SPDX-License-Identifier: MPL-2.0
//! Legacy IPC: memory and events of one process in another.

use std::sync::Arc;

use super::device::device;
use super::types::*;
use crate::calls::{entries, put};
use crate::code::{Code, Outcome};
use crate::config::config;
use crate::machine::context::current;
use crate::machine::event::Event;
use crate::machine::share::{Kind, Share};
use crate::machine::state::state;

/// The only flag there is, and it must be given.
const LAZY_ENABLE_PEER_ACCESS: u32 = 1;

fn decode(handle: &IpcHandle, kind: Kind) -> Outcome<Share> {
    let share = Share::decode(&handle.reserved).filter(|share| share.kind == kind).ok_or(Code::INVALID_VALUE)?;
    device(share.device)?;
    Ok(share)
}

fn open_memory(pointer: *mut DevicePointer, handle: &IpcHandle, flags: u32) -> Outcome {
    let context = current()?;
    if flags != LAZY_ENABLE_PEER_ACCESS {
        return Err(Code::INVALID_VALUE);
    }
    let share = decode(handle, Kind::Memory)?;
    put!(pointer, state().memory.import(context.id, share)?);
    Ok(())
}

entries! {
    fn cuIpcGetMemHandle(handle: *mut IpcHandle, pointer: DevicePointer) {
        current()?;
        let share = state().memory.share(pointer)?;
        put!(handle, IpcHandle { reserved: share.encode() });
        Ok(())
    }

    fn cuIpcOpenMemHandle_v2(pointer: *mut DevicePointer, handle: IpcHandle, flags: u32) {
        open_memory(pointer, &handle, flags)
    }

    fn cuIpcOpenMemHandle(pointer: *mut DevicePointer, handle: IpcHandle, flags: u32) {
        open_memory(pointer, &handle, flags)
    }

    fn cuIpcCloseMemHandle(pointer: DevicePointer) {
        let context = current()?;
        if !state().memory.is_import(pointer) {
            return Err(Code::INVALID_VALUE);
        }
        if !config().close_at_once {
            context.drain()?;
        } else if context.is_busy() {
            // What is at work may be at work there.
            context.fate.lose(Code::ILLEGAL_ADDRESS);
        }
        state().memory.close_import(pointer)
    }

    fn cuIpcGetEventHandle(handle: *mut IpcHandle, event: Handle) {
        current()?;
        let share = state().event(event)?.share().ok_or(Code::INVALID_HANDLE)?;
        put!(handle, IpcHandle { reserved: share.encode() });
        Ok(())
    }

    fn cuIpcOpenEventHandle(event: *mut Handle, handle: IpcHandle) {
        let context = current()?;
        let share = decode(&handle, Kind::Event)?;
        if share.exporter.pid == std::process::id() {
            return Err(Code::INVALID_CONTEXT);
        }
        let file = share.open().ok_or(Code::INVALID_VALUE)?;
        let mut state = state();
        let id = state.handle();
        let opened = Event::open(id, context.id, share.device, file).ok_or(Code::INVALID_VALUE)?;
        state.events.insert(id, Arc::new(opened));
        put!(event, id);
        Ok(())
    }
}
