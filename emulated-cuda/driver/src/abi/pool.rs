// SPDX-License-Identifier: MPL-2.0
//! Stream-ordered memory. It is allocated at the call and goes in the stream's order.

use super::device::device;
use super::types::*;
use crate::calls::{entries, get, put};
use crate::code::{Code, Outcome};
use crate::config::config;
use crate::machine::context::current;
use crate::machine::graph::Node;
use crate::machine::memory::Origin;
use crate::machine::state::{self, Pool, State, state};

const RELEASE_THRESHOLD: u32 = 4;

fn supported() -> Outcome {
    state::ready()?;
    if config().pools { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
}

/// The pool that a device has from the start.
fn default_pool(state: &mut State, number: Device) -> usize {
    let found = state.pools.iter().find(|(_, pool)| pool.is_default && pool.device == number).map(|(id, _)| *id);
    found.unwrap_or_else(|| {
        let id = state.handle();
        state.pools.insert(id, Pool { device: number, release_threshold: 0, is_default: true });
        id
    })
}

fn allocate(pool: Option<Handle>, size: usize, stream: Handle) -> Outcome<DevicePointer> {
    supported()?;
    let context = current()?;
    let mut state = state();
    state.stream_of(&context, stream)?;
    let pool = match pool {
        Some(pool) => pool,
        None => default_pool(&mut state, context.device),
    };
    let number = state.pools.get(&pool).ok_or(Code::INVALID_VALUE)?.device;
    state.memory.allocate(context.id, number, size, Origin::Pool(pool))
}

entries! {
    fn cuMemAllocAsync(pointer: *mut DevicePointer, size: usize, stream: Handle) {
        put!(pointer, allocate(None, size, stream)?);
        Ok(())
    }

    fn cuMemAllocFromPoolAsync(pointer: *mut DevicePointer, size: usize, pool: Handle, stream: Handle) {
        put!(pointer, allocate(Some(pool), size, stream)?);
        Ok(())
    }

    fn cuMemFreeAsync(pointer: DevicePointer, stream: Handle) {
        supported()?;
        let context = current()?;
        let (stream, backing) = {
            let mut state = state();
            let stream = state.stream_of(&context, stream)?;
            (stream, state.memory.free(pointer)?)
        };
        // Work that was queued before has its own hold on the memory; this only keeps the order visible.
        context.enqueue(&stream, Node::Drop(backing)).map(drop)
    }

    fn cuMemPoolCreate(pool: *mut Handle, properties: *const PoolProperties) {
        supported()?;
        let properties = get!(properties);
        if properties.kind != 1 || properties.location.kind != 1 {
            return Err(Code::INVALID_VALUE);
        }
        let number = device(properties.location.id)?;
        let mut state = state();
        let id = state.handle();
        state.pools.insert(id, Pool { device: number, release_threshold: 0, is_default: false });
        put!(pool, id);
        Ok(())
    }

    fn cuMemPoolDestroy(pool: Handle) {
        supported()?;
        let mut state = state();
        match state.pools.get(&pool) {
            Some(found) if !found.is_default => state.pools.remove(&pool),
            _ => return Err(Code::INVALID_VALUE),
        };
        Ok(())
    }

    fn cuMemPoolSetAttribute(pool: Handle, which: u32, value: *const u64) {
        supported()?;
        let mut state = state();
        let pool = state.pools.get_mut(&pool).ok_or(Code::INVALID_VALUE)?;
        match which {
            1..=3 => {}
            RELEASE_THRESHOLD => pool.release_threshold = get!(value),
            _ => return Err(Code::INVALID_VALUE),
        }
        Ok(())
    }

    fn cuMemPoolGetAttribute(pool: Handle, which: u32, value: *mut u64) {
        supported()?;
        let state = state();
        let pool = state.pools.get(&pool).ok_or(Code::INVALID_VALUE)?;
        match which {
            1..=3 => put!(value.cast::<u32>(), 1),
            RELEASE_THRESHOLD => put!(value, pool.release_threshold),
            5..=8 => put!(value, state.memory.used(pool.device)),
            _ => return Err(Code::INVALID_VALUE),
        }
        Ok(())
    }

    fn cuMemPoolTrimTo(pool: Handle, _keep: usize) {
        supported()?;
        state().pools.get(&pool).map(drop).ok_or(Code::INVALID_VALUE)
    }

    fn cuDeviceGetDefaultMemPool(pool: *mut Handle, number: Device) {
        supported()?;
        let number = device(number)?;
        put!(pool, default_pool(&mut state(), number));
        Ok(())
    }

    fn cuDeviceGetMemPool(pool: *mut Handle, number: Device) {
        supported()?;
        let number = device(number)?;
        put!(pool, default_pool(&mut state(), number));
        Ok(())
    }
}
