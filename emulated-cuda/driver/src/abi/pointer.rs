// SPDX-License-Identifier: MPL-2.0
//! What a pointer is.

use super::types::*;
use crate::calls::{entries, get, put};
use crate::code::{Code, Outcome};
use crate::machine::memory::Origin;
use crate::machine::state::{self, State, state};

/// An attribute's value and its size in bytes.
enum Value {
    Four(u32),
    Eight(u64),
}

fn attribute(state: &State, which: u32, pointer: DevicePointer) -> Outcome<Value> {
    use Value::{Eight, Four};
    if let Some(range) = state.memory.find(pointer) {
        return Ok(match which {
            1 => Eight(range.context as u64),
            2 => Four(DEVICE),
            3 => Eight(pointer),
            7 => Eight(range.id),
            6 | 8 => Four(0),
            9 => Four(range.device as u32),
            10 => Four(u32::from(range.origin == Origin::Own)),
            11 => Eight(range.base),
            12 => Eight(range.size as u64),
            13 => Four(1),
            14 => Eight(u64::from(range.physical().is_some())),
            17 => match range.origin {
                Origin::Pool(pool) => Eight(pool as u64),
                _ => Eight(0),
            },
            _ => return Err(Code::INVALID_VALUE),
        });
    }
    let (start, range) = state.memory.find_host(pointer as usize).ok_or(Code::INVALID_VALUE)?;
    let device = state.contexts.get(&range.context).map_or(0, |context| context.device);
    Ok(match which {
        1 => Eight(range.context as u64),
        2 => Four(HOST),
        3 | 4 => Eight(pointer),
        6 | 8 | 10 => Four(0),
        9 => Four(device as u32),
        11 => Eight(start as u64),
        12 => Eight(range.size as u64),
        13 => Four(1),
        14 | 17 => Eight(0),
        _ => return Err(Code::INVALID_VALUE),
    })
}

fn write(to: *mut u8, value: &Value) -> Outcome {
    match *value {
        Value::Four(value) => put!(to.cast::<u32>(), value),
        Value::Eight(value) => put!(to.cast::<u64>(), value),
    }
    Ok(())
}

entries! {
    fn cuPointerGetAttribute(data: *mut u8, which: u32, pointer: DevicePointer) {
        state::ready()?;
        write(data, &attribute(&state(), which, pointer)?)
    }

    fn cuPointerGetAttributes(count: u32, which: *const u32, data: *const *mut u8, pointer: DevicePointer) {
        state::ready()?;
        let state = state();
        if which.is_null() || data.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        for at in 0..count as usize {
            // The caller gives `count` of each.
            let (which, to) = (which.wrapping_add(at), data.wrapping_add(at));
            // A pointer that nobody knows has no context, no type and no device, which is no error here.
            let value = attribute(&state, get!(which), pointer).unwrap_or(match get!(which) {
                1 | 3 | 4 | 7 | 11 | 12 | 14 | 17 => Value::Eight(0),
                9 => Value::Four(-2_i32 as u32),
                _ => Value::Four(0),
            });
            write(get!(to), &value)?;
        }
        Ok(())
    }
}
