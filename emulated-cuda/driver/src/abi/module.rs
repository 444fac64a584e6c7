// SPDX-License-Identifier: MPL-2.0
//! Modules and kernels.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use super::types::*;
use crate::calls::{entries, get, put};
use crate::code::{Code, Outcome};
use crate::machine::context::current;
use crate::machine::graph::Node;
use crate::machine::kernels::Launch;
use crate::machine::module::{Function, Module};
use crate::machine::state::state;

fn load(image: *const c_char) -> Outcome<usize> {
    let context = current()?;
    if image.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: a text that ends with a zero, as the driver asks for; machine code starts with bytes that end the reading.
    let image = unsafe { CStr::from_ptr(image) };
    let module = Module::load(context.id, image.to_bytes())?;
    let mut state = state();
    let id = state.handle();
    state.modules.insert(id, Arc::new(module));
    Ok(id)
}

entries! {
    fn cuModuleLoadData(module: *mut Handle, image: *const c_char) {
        put!(module, load(image)?);
        Ok(())
    }

    fn cuModuleLoadDataEx(
        module: *mut Handle, image: *const c_char, _options: u32, _names: *const u32, _values: *const *mut c_void,
    ) {
        put!(module, load(image)?);
        Ok(())
    }

    fn cuModuleUnload(module: Handle) {
        current()?;
        let mut state = state();
        let gone = state.modules.remove(&module).ok_or(Code::INVALID_HANDLE)?;
        state.functions.retain(|_, function| !Arc::ptr_eq(&function.module, &gone));
        Ok(())
    }

    fn cuModuleGetFunction(function: *mut Handle, module: Handle, name: *const c_char) {
        let context = current()?;
        if name.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, and a string as the driver asks for.
        let name = unsafe { CStr::from_ptr(name) };
        let mut state = state();
        let module = state.modules.get(&module).cloned().ok_or(Code::INVALID_HANDLE)?;
        let kernel = module.function(name.to_str().map_err(|_| Code::NOT_FOUND)?)?;
        let id = state.handle();
        state.functions.insert(id, Function { context: context.id, module, kernel });
        put!(function, id);
        Ok(())
    }

    fn cuFuncGetAttribute(value: *mut i32, which: u32, function: Handle) {
        if !state().functions.contains_key(&function) {
            return Err(Code::INVALID_HANDLE);
        }
        put!(value, if which == 0 { 1024 } else { 0 });
        Ok(())
    }

    fn cuLaunchKernel(
        function: Handle,
        grid_x: u32, grid_y: u32, grid_z: u32,
        block_x: u32, block_y: u32, block_z: u32,
        _shared: u32,
        stream: Handle,
        parameters: *const *const u8,
        extra: *const *const c_void,
    ) {
        let context = current()?;
        let (stream, function) = {
            let state = state();
            let function = state.functions.get(&function).cloned().ok_or(Code::INVALID_HANDLE)?;
            (state.stream_of(&context, stream)?, function)
        };
        if function.context != context.id {
            return Err(Code::INVALID_HANDLE);
        }
        let threads = u64::from(block_x) * u64::from(block_y) * u64::from(block_z);
        let grid = [grid_x, grid_y, grid_z];
        if grid.contains(&0) || grid[1] > 65_535 || grid[2] > 65_535 || !(1..=1024).contains(&threads) || block_z > 64 {
            return Err(Code::INVALID_VALUE);
        }
        if !extra.is_null() {
            return Err(Code::NOT_SUPPORTED);
        }
        if parameters.is_null() && !function.kernel.parameters.is_empty() {
            return Err(Code::INVALID_VALUE);
        }
        let mut arguments = Vec::with_capacity(function.kernel.parameters.len());
        for (at, size) in function.kernel.parameters.iter().enumerate() {
            // The caller gives a pointer for each parameter of the kernel.
            let argument = get!(parameters.wrapping_add(at));
            match size {
                4 => arguments.push(get!(argument.cast::<u32>()).into()),
                // A structure is given as a whole.
                size => {
                    for word in 0..size / 8 {
                        arguments.push(get!(argument.cast::<u64>().wrapping_add(word)));
                    }
                }
            }
        }
        let launch = Launch { kernel: function.kernel, arguments };
        context.enqueue(&stream, Node::Launch(launch)).map(drop)
    }
}
