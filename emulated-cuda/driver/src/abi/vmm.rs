// SPDX-License-Identifier: MPL-2.0
//! Virtual memory: physical memory, addresses, and files to pass it on.

use std::ffi::{c_int, c_void};
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::sync::Arc;

use super::device::device;
use super::types::*;
use crate::calls::{entries, get, put};
use crate::code::{Code, Outcome};
use crate::config::config;
use crate::machine::pages::{BLOCK, Backing, PAGE};
use crate::machine::state::{self, State, state};
use crate::machine::vmm::{Physical, Properties};

const PINNED: u32 = 1;
const ON_DEVICE: u32 = 1;
const FILE_DESCRIPTOR: u32 = 1;

fn supported() -> Outcome {
    state::ready()?;
    if config().vmm { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
}

fn properties(properties: *const AllocationProperties) -> Outcome<Properties> {
    let given = get!(properties);
    if given.kind != PINNED || given.location.kind != ON_DEVICE || given.handle_types & !FILE_DESCRIPTOR != 0 {
        return Err(Code::INVALID_VALUE);
    }
    Ok(Properties { handle_types: given.handle_types, device: device(given.location.id)? })
}

/// One holder less; the last one frees the memory.
fn release(state: &mut State, handle: u64) -> Outcome {
    let physical = state.physical.get_mut(&handle).ok_or(Code::INVALID_VALUE)?;
    physical.references -= 1;
    if physical.references == 0
        && let Some(gone) = state.physical.remove(&handle)
        && !gone.imported
    {
        state.memory.release(gone.properties.device, gone.backing.size());
    }
    Ok(())
}

entries! {
    fn cuMemGetAllocationGranularity(granularity: *mut usize, given: *const AllocationProperties, _option: u32) {
        supported()?;
        properties(given)?;
        put!(granularity, BLOCK);
        Ok(())
    }

    fn cuMemCreate(handle: *mut u64, size: usize, given: *const AllocationProperties, flags: u64) {
        supported()?;
        let properties = properties(given)?;
        if size == 0 || !size.is_multiple_of(BLOCK) || flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        let mut state = state();
        state.memory.charge(properties.device, size)?;
        let backing = match Backing::new(size) {
            Ok(backing) => Arc::new(backing),
            Err(_) => {
                state.memory.release(properties.device, size);
                return Err(Code::OUT_OF_MEMORY);
            }
        };
        let id = state.handle() as u64;
        state.physical.insert(id, Physical { backing, properties, references: 1, imported: false });
        put!(handle, id);
        Ok(())
    }

    fn cuMemRelease(handle: u64) {
        supported()?;
        release(&mut state(), handle)
    }

    fn cuMemRetainAllocationHandle(handle: *mut u64, address: usize) {
        supported()?;
        let mut state = state();
        let range = state.memory.find(address as u64).ok_or(Code::INVALID_VALUE)?;
        let id = range.physical().ok_or(Code::INVALID_VALUE)?;
        state.physical.get_mut(&id).ok_or(Code::INVALID_VALUE)?.references += 1;
        put!(handle, id);
        Ok(())
    }

    fn cuMemGetAllocationPropertiesFromHandle(given: *mut AllocationProperties, handle: u64) {
        supported()?;
        let properties = state().physical.get(&handle).ok_or(Code::INVALID_VALUE)?.properties;
        put!(given, AllocationProperties {
            kind: PINNED,
            handle_types: properties.handle_types,
            location: Location { kind: ON_DEVICE, id: properties.device },
            ..AllocationProperties::default()
        });
        Ok(())
    }

    fn cuMemExportToShareableHandle(shareable: *mut c_void, handle: u64, kind: u32, flags: u64) {
        supported()?;
        let physical = state().physical.get(&handle).cloned().ok_or(Code::INVALID_VALUE)?;
        if kind != FILE_DESCRIPTOR || flags != 0 || physical.properties.handle_types & FILE_DESCRIPTOR == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let copy = physical.backing.file().try_clone_to_owned().map_err(|_| Code::OUT_OF_MEMORY)?;
        put!(shareable.cast::<c_int>(), copy.into_raw_fd());
        Ok(())
    }

    fn cuMemImportFromShareableHandle(handle: *mut u64, shareable: usize, kind: u32) {
        supported()?;
        if kind != FILE_DESCRIPTOR {
            return Err(Code::INVALID_VALUE);
        }
        let file = c_int::try_from(shareable).ok().filter(|file| *file >= 0).ok_or(Code::INVALID_VALUE)?;
        // SAFETY: the caller gives a file of its own that stays open during this call.
        let file = unsafe { BorrowedFd::borrow_raw(file) };
        let file = file.try_clone_to_owned().map_err(|_| Code::INVALID_VALUE)?;
        let len = rustix::fs::fstat(&file).map_err(|_| Code::INVALID_VALUE)?.st_size;
        let size = usize::try_from(len).ok().and_then(|len| len.checked_sub(PAGE)).ok_or(Code::INVALID_VALUE)?;
        let backing = Arc::new(Backing::open(file, size).ok_or(Code::INVALID_VALUE)?);
        let properties = Properties { handle_types: FILE_DESCRIPTOR, device: 0 };
        let mut state = state();
        let id = state.handle() as u64;
        state.physical.insert(id, Physical { backing, properties, references: 1, imported: true });
        put!(handle, id);
        Ok(())
    }

    fn cuMemAddressReserve(start: *mut DevicePointer, size: usize, alignment: usize, _address: DevicePointer, flags: u64) {
        supported()?;
        let odd = alignment != 0 && !alignment.is_power_of_two();
        if size == 0 || !size.is_multiple_of(BLOCK) || odd || flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        put!(start, state().memory.reserve(size, alignment)?);
        Ok(())
    }

    fn cuMemAddressFree(start: DevicePointer, size: usize) {
        supported()?;
        state().memory.unreserve(start, size)
    }

    fn cuMemMap(start: DevicePointer, size: usize, offset: usize, handle: u64, flags: u64) {
        supported()?;
        let mut state = state();
        let physical = state.physical.get(&handle).cloned().ok_or(Code::INVALID_VALUE)?;
        if offset != 0 || flags != 0 || size != physical.backing.size() {
            return Err(Code::INVALID_VALUE);
        }
        state.memory.map(start, handle, physical.backing, physical.properties.device)?;
        if let Some(physical) = state.physical.get_mut(&handle) {
            physical.references += 1;
        }
        Ok(())
    }

    fn cuMemUnmap(start: DevicePointer, size: usize) {
        supported()?;
        let contexts: Vec<_> = state().contexts.values().cloned().collect();
        contexts.iter().try_for_each(|context| context.drain())?;
        let mut state = state();
        for handle in state.memory.unmap(start, size)? {
            release(&mut state, handle)?;
        }
        Ok(())
    }

    fn cuMemSetAccess(start: DevicePointer, size: usize, access: *const Access, count: usize) {
        supported()?;
        if count == 0 {
            return Err(Code::INVALID_VALUE);
        }
        for at in 0..count {
            // The caller gives `count` of them.
            let wanted = get!(access.wrapping_add(at));
            if wanted.location.kind != ON_DEVICE || !matches!(wanted.flags, 0 | 1 | 3) {
                return Err(Code::INVALID_VALUE);
            }
            device(wanted.location.id)?;
            state().memory.grant(start, size, wanted.flags)?;
        }
        Ok(())
    }

    fn cuMemGetAccess(flags: *mut u64, location: *const Location, pointer: DevicePointer) {
        supported()?;
        device(get!(location).id)?;
        let access = state().memory.find(pointer).and_then(|range| match range.origin {
            crate::machine::memory::Origin::Mapped { access, .. } => Some(access),
            _ => None,
        });
        put!(flags, access.ok_or(Code::INVALID_VALUE)?.into());
        Ok(())
    }
}
