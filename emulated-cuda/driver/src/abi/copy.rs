// SPDX-License-Identifier: MPL-2.0
//! Copies and fills. Every extent is checked at the call.

use std::sync::Arc;

use super::types::*;
use crate::calls::{entries, get};
use crate::code::{Code, Outcome};
use crate::config::config;
use crate::machine::context::{Context, current};
use crate::machine::graph::Node;
use crate::machine::memory::Memory;
use crate::machine::state::state;
use crate::machine::stream::Stream;
use crate::machine::work::{Copy, Fill, Place};

/// One end of a copy as the caller describes it.
struct End {
    kind: u32,
    host: usize,
    device: DevicePointer,
    x: usize,
    y: usize,
    pitch: usize,
}

impl End {
    /// The place of the first byte, and the bytes from there to the last.
    fn place(&self, memory: &Memory, width: usize, rows: usize) -> Outcome<(Place, usize)> {
        let end = self.x.checked_add(width).ok_or(Code::INVALID_VALUE)?;
        if rows > 1 && self.pitch < end {
            return Err(Code::INVALID_VALUE);
        }
        let rows_len = rows.saturating_sub(1).checked_mul(self.pitch).ok_or(Code::INVALID_VALUE)?;
        let len = rows_len.checked_add(width).ok_or(Code::INVALID_VALUE)?;
        let skip = self.y.checked_mul(self.pitch).and_then(|skip| skip.checked_add(self.x));
        let skip = skip.ok_or(Code::INVALID_VALUE)?;
        let at = |start: u64| start.checked_add(skip as u64).ok_or(Code::INVALID_VALUE);
        let place = match self.kind {
            HOST => memory.host_place(at(self.host as u64)? as usize),
            DEVICE => memory.device(at(self.device)?, len),
            UNIFIED => memory.anywhere(at(self.device)?, len),
            _ => Err(Code::NOT_SUPPORTED),
        };
        Ok((place?, len))
    }
}

/// How the caller wants it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sync,
    Async,
}

/// Whether the caller may change or use its side at once, so that the copy may not run later.
fn is_pageable(memory: &Memory, place: &Place, len: usize) -> bool {
    matches!(place, Place::Host(address) if !memory.is_pinned(*address, len))
}

fn copy(stream: Option<Handle>, to: &End, from: &End, width: usize, rows: usize) -> Outcome {
    let context = current()?;
    let mode = if stream.is_some() { Mode::Async } else { Mode::Sync };
    if width == 0 || rows == 0 {
        return Ok(());
    }
    let state = state();
    let stream = state.stream_of(&context, stream.unwrap_or(0))?;
    let (to_place, to_len) = to.place(&state.memory, width, rows)?;
    let (mut from_place, from_len) = from.place(&state.memory, width, rows)?;
    let between_device = matches!((&to_place, &from_place), (Place::Device { .. }, Place::Device { .. }));
    let mut wait = mode == Mode::Sync && !between_device;
    if mode == Mode::Async && !config().pageable_async {
        wait |= is_pageable(&state.memory, &to_place, to_len);
        if is_pageable(&state.memory, &from_place, from_len)
            && let Place::Host(address) = from_place
        {
            // SAFETY: the caller gives so many bytes to read, as the driver asks for.
            let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, from_len) };
            from_place = Place::Staged(Arc::from(bytes));
        }
    }
    drop(state);
    let (to_pitch, from_pitch) = (to.pitch, from.pitch);
    let node = Node::Copy(Copy { to: to_place, to_pitch, from: from_place, from_pitch, width, rows });
    finish(&context, &stream, node, wait)
}

/// Queues it, and waits if the call promises that.
fn finish(context: &Context, stream: &Arc<Stream>, node: Node, wait: bool) -> Outcome {
    match context.enqueue(stream, node)? {
        Some(ticket) if wait => stream.wait_for(ticket),
        Some(_) => Ok(()),
        None if wait => Err(Code::CAPTURE_UNSUPPORTED),
        None => Ok(()),
    }
}

fn copy_2d(stream: Option<Handle>, copy: *const Copy2d) -> Outcome {
    let Copy2d { src_x, src_y, src_type, src_host, src_device, src_pitch, .. } = get!(copy);
    let Copy2d { dst_x, dst_y, dst_type, dst_host, dst_device, dst_pitch, width, height, .. } = get!(copy);
    let from = End { kind: src_type, host: src_host, device: src_device, x: src_x, y: src_y, pitch: src_pitch };
    let to = End { kind: dst_type, host: dst_host, device: dst_device, x: dst_x, y: dst_y, pitch: dst_pitch };
    self::copy(stream, &to, &from, width, height)
}

/// A row of `len` bytes.
fn row(kind: u32, address: u64) -> End {
    End { kind, host: address as usize, device: address, x: 0, y: 0, pitch: 0 }
}

fn copy_row(stream: Option<Handle>, to: (u32, u64), from: (u32, u64), len: usize) -> Outcome {
    copy(stream, &row(to.0, to.1), &row(from.0, from.1), len, 1)
}

/// Only between pointers, one slice: what a graph's node of one dimension is.
pub(super) fn flat(copy: &Copy3d) -> Outcome<Copy> {
    if copy.height != 1 || copy.depth != 1 || copy.src_y | copy.src_z | copy.dst_y | copy.dst_z != 0 {
        return Err(Code::NOT_SUPPORTED);
    }
    let state = state();
    let end = |kind, host: usize, device, x| End { kind, host, device, x, y: 0, pitch: 0 };
    let from = end(copy.src_type, copy.src_host, copy.src_device, copy.src_x);
    let to = end(copy.dst_type, copy.dst_host, copy.dst_device, copy.dst_x);
    let (to, _) = to.place(&state.memory, copy.width, 1)?;
    let (from, _) = from.place(&state.memory, copy.width, 1)?;
    Ok(Copy { to, to_pitch: 0, from, from_pitch: 0, width: copy.width, rows: 1 })
}

fn fill(
    stream: Option<Handle>,
    to: DevicePointer,
    pitch: usize,
    value: u32,
    unit: usize,
    width: usize,
    rows: usize,
) -> Outcome {
    let context = current()?;
    if width == 0 || rows == 0 {
        return Ok(());
    }
    if !to.is_multiple_of(unit as u64) || rows > 1 && !pitch.is_multiple_of(unit) {
        return Err(Code::INVALID_VALUE);
    }
    let state = state();
    let stream = state.stream_of(&context, stream.unwrap_or(0))?;
    let bytes = width.checked_mul(unit).ok_or(Code::INVALID_VALUE)?;
    let end = End { kind: DEVICE, host: 0, device: to, x: 0, y: 0, pitch };
    let (to, _) = end.place(&state.memory, bytes, rows)?;
    drop(state);
    let fill = Fill { to, pitch, value: value.to_le_bytes(), unit, width, rows };
    finish(&context, &stream, Node::Fill(fill), false)
}

entries! {
    fn cuMemcpy2D_v2(copy: *const Copy2d) {
        copy_2d(None, copy)
    }

    fn cuMemcpy2DUnaligned_v2(copy: *const Copy2d) {
        copy_2d(None, copy)
    }

    fn cuMemcpy2DAsync_v2(copy: *const Copy2d, stream: Handle) {
        copy_2d(Some(stream), copy)
    }

    fn cuMemcpy(to: DevicePointer, from: DevicePointer, len: usize) {
        copy_row(None, (UNIFIED, to), (UNIFIED, from), len)
    }

    fn cuMemcpyAsync(to: DevicePointer, from: DevicePointer, len: usize, stream: Handle) {
        copy_row(Some(stream), (UNIFIED, to), (UNIFIED, from), len)
    }

    fn cuMemcpyDtoD_v2(to: DevicePointer, from: DevicePointer, len: usize) {
        copy_row(None, (DEVICE, to), (DEVICE, from), len)
    }

    fn cuMemcpyDtoDAsync_v2(to: DevicePointer, from: DevicePointer, len: usize, stream: Handle) {
        copy_row(Some(stream), (DEVICE, to), (DEVICE, from), len)
    }

    fn cuMemcpyDtoH_v2(to: usize, from: DevicePointer, len: usize) {
        copy_row(None, (HOST, to as u64), (DEVICE, from), len)
    }

    fn cuMemcpyDtoHAsync_v2(to: usize, from: DevicePointer, len: usize, stream: Handle) {
        copy_row(Some(stream), (HOST, to as u64), (DEVICE, from), len)
    }

    fn cuMemcpyHtoD_v2(to: DevicePointer, from: usize, len: usize) {
        copy_row(None, (DEVICE, to), (HOST, from as u64), len)
    }

    fn cuMemcpyHtoDAsync_v2(to: DevicePointer, from: usize, len: usize, stream: Handle) {
        copy_row(Some(stream), (DEVICE, to), (HOST, from as u64), len)
    }

    fn cuMemsetD8_v2(to: DevicePointer, value: u8, count: usize) {
        fill(None, to, 0, value.into(), 1, count, 1)
    }

    fn cuMemsetD8Async(to: DevicePointer, value: u8, count: usize, stream: Handle) {
        fill(Some(stream), to, 0, value.into(), 1, count, 1)
    }

    fn cuMemsetD32_v2(to: DevicePointer, value: u32, count: usize) {
        fill(None, to, 0, value, 4, count, 1)
    }

    fn cuMemsetD32Async(to: DevicePointer, value: u32, count: usize, stream: Handle) {
        fill(Some(stream), to, 0, value, 4, count, 1)
    }

    fn cuMemsetD2D8_v2(to: DevicePointer, pitch: usize, value: u8, width: usize, height: usize) {
        fill(None, to, pitch, value.into(), 1, width, height)
    }

    fn cuMemsetD2D8Async(
        to: DevicePointer, pitch: usize, value: u8, width: usize, height: usize, stream: Handle,
    ) {
        fill(Some(stream), to, pitch, value.into(), 1, width, height)
    }

    fn cuMemsetD2D16_v2(to: DevicePointer, pitch: usize, value: u16, width: usize, height: usize) {
        fill(None, to, pitch, value.into(), 2, width, height)
    }

    fn cuMemsetD2D16Async(
        to: DevicePointer, pitch: usize, value: u16, width: usize, height: usize, stream: Handle,
    ) {
        fill(Some(stream), to, pitch, value.into(), 2, width, height)
    }

    fn cuMemsetD2D32_v2(to: DevicePointer, pitch: usize, value: u32, width: usize, height: usize) {
        fill(None, to, pitch, value, 4, width, height)
    }

    fn cuMemsetD2D32Async(
        to: DevicePointer, pitch: usize, value: u32, width: usize, height: usize, stream: Handle,
    ) {
        fill(Some(stream), to, pitch, value, 4, width, height)
    }
}
