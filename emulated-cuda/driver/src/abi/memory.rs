// SPDX-License-Identifier: MPL-2.0
//! Device memory and pinned host memory.

use super::types::*;
use crate::calls::{entries, put, put_if_wanted};
use crate::code::{Code, Outcome};
use crate::machine::context::current;
use crate::machine::memory::Origin;
use crate::machine::state::state;

/// Rows of pitched memory start at multiples of this.
const PITCH: usize = 512;

fn allocate_host(size: usize, flags: u32) -> Outcome<usize> {
    let context = current()?;
    state().memory.allocate_host(context.id, size, flags)
}

entries! {
    fn cuMemAlloc_v2(pointer: *mut DevicePointer, size: usize) {
        let context = current()?;
        put!(pointer, state().memory.allocate(context.id, context.device, size, Origin::Own)?);
        Ok(())
    }

    fn cuMemAllocPitch_v2(
        pointer: *mut DevicePointer,
        pitch: *mut usize,
        width: usize,
        height: usize,
        element: u32,
    ) {
        let context = current()?;
        if !matches!(element, 4 | 8 | 16) || width == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let row = width.checked_next_multiple_of(PITCH).ok_or(Code::OUT_OF_MEMORY)?;
        let size = row.checked_mul(height).ok_or(Code::OUT_OF_MEMORY)?;
        put!(pitch, row);
        put!(pointer, state().memory.allocate(context.id, context.device, size, Origin::Own)?);
        Ok(())
    }

    fn cuMemFree_v2(pointer: DevicePointer) {
        let context = current()?;
        if pointer == 0 {
            return Ok(());
        }
        // Whoever uses it on any stream is waited for; the memory itself says whose it is.
        let owner = {
            let state = state();
            let range = state.memory.find(pointer).filter(|range| range.base == pointer).ok_or(Code::INVALID_VALUE)?;
            state.contexts.get(&range.context).cloned()
        };
        context.drain()?;
        if let Some(owner) = owner.filter(|owner| owner.id != context.id) {
            owner.drain()?;
        }
        state().memory.free(pointer).map(drop)
    }

    fn cuMemAllocHost_v2(pointer: *mut usize, size: usize) {
        put!(pointer, allocate_host(size, 0)?);
        Ok(())
    }

    fn cuMemHostAlloc(pointer: *mut usize, size: usize, flags: u32) {
        if flags & !7 != 0 {
            return Err(Code::INVALID_VALUE);
        }
        put!(pointer, allocate_host(size, flags)?);
        Ok(())
    }

    fn cuMemFreeHost(pointer: usize) {
        let context = current()?;
        context.drain()?;
        state().memory.forget_host(pointer, true)
    }

    fn cuMemHostRegister_v2(pointer: usize, size: usize, flags: u32) {
        let context = current()?;
        state().memory.register_host(context.id, pointer, size, flags)
    }

    fn cuMemHostUnregister(pointer: usize) {
        let context = current()?;
        context.drain()?;
        state().memory.forget_host(pointer, false)
    }

    fn cuMemHostGetFlags(flags: *mut u32, pointer: usize) {
        current()?;
        put!(flags, state().memory.find_host(pointer).ok_or(Code::INVALID_VALUE)?.1.flags);
        Ok(())
    }

    fn cuMemGetAddressRange_v2(base: *mut DevicePointer, size: *mut usize, pointer: DevicePointer) {
        current()?;
        let state = state();
        let range = state.memory.find(pointer).ok_or(Code::NOT_FOUND)?;
        put_if_wanted!(base, range.base);
        put_if_wanted!(size, range.size);
        Ok(())
    }
}
