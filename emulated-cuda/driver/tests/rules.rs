// SPDX-License-Identifier: MPL-2.0
//! The rules of one process: memory, contexts, streams, events, kernels, graphs.
#![allow(unsafe_code, reason = "calls of a C ABI with pointers to locals")]
#![cfg(target_os = "linux")]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use common::*;
use emulated_cuda::*;

/// What the children of this program do.
#[test]
#[ignore = "a part in other tests"]
fn child() {
    match part().as_deref() {
        Some("before cuInit") => {
            let (mut count, mut pointer) = (0, 0);
            assert_eq!(cu!(cuDeviceGetCount(&raw mut count)), NOT_INITIALIZED);
            assert_eq!(cu!(cuMemAlloc_v2(&raw mut pointer, 16)), NOT_INITIALIZED);
            ok!(cuDriverGetVersion(&raw mut count));
        }
        Some("reach") => {
            let _context = context();
            let pointer = memory(4096) as *const u8;
            // SAFETY: not at all; this is what must kill the process.
            let byte = unsafe { pointer.read_volatile() };
            tell(&format!("read {byte}"));
        }
        Some("legacy stream") => legacy_stream(),
        Some("staged") => staged(),
        Some("memory") => {
            let _context = context();
            let half = memory(600 << 10);
            let mut pointer = 0;
            assert_eq!(cu!(cuMemAlloc_v2(&raw mut pointer, 600 << 10)), OUT_OF_MEMORY);
            ok!(cuMemFree_v2(half));
            memory(600 << 10);
        }
        Some("poison") => {
            let _context = context();
            assert_eq!(read(memory(4), 4), [0xA5; 4]);
        }
        Some("slow") => slow(),
        Some("pageable") => pageable(),
        Some("two devices") => two_devices(),
        Some("no device") => assert_eq!(cu!(cuInit(0)), 100),
        None => {}
        other => panic!("no part {other:?}"),
    }
}

#[test]
fn nothing_works_before_initialisation() {
    Player::start("before cuInit", &[]).succeed();
}

#[test]
fn without_a_device_initialisation_says_so() {
    Player::start("no device", &[("DEVICES", "0")]).succeed();
}

fn two_devices() {
    init();
    let mut count = 0;
    ok!(cuDeviceGetCount(&raw mut count));
    assert_eq!(count, 2);
    let other: Handle = made!(cuCtxCreate_v2(0, 1));
    let there = memory_of(&[8; 100]);
    let mut device = 0_u32;
    ok!(cuPointerGetAttribute((&raw mut device).cast(), 9, there));
    assert_eq!(device, 1);
    let _context = context();
    let here = memory(100);
    ok!(cuMemcpyDtoD_v2(here, there, 100));
    assert_eq!(read(here, 100), [8; 100]);
    let one: Handle = made!(cuDevicePrimaryCtxRetain(0));
    let two: Handle = made!(cuDevicePrimaryCtxRetain(1));
    assert_ne!(one, two);
    ok!(cuDevicePrimaryCtxRelease_v2(1));
    ok!(cuCtxDestroy_v2(other));
    assert_eq!(cu!(cuMemcpyDtoD_v2(here, there, 100)), INVALID_VALUE, "it went with its context");
}

#[test]
fn there_can_be_two_devices() {
    Player::start("two devices", &[("DEVICES", "2")]).succeed();
}

#[test]
fn a_device_pointer_cannot_be_reached_by_the_processor() {
    assert_eq!(Player::start("reach", &[]).end().signal(), Some(11));
    Player::start("reach", &[("GUARD", "0")]).succeed();
}

#[test]
fn memory_has_an_end() {
    Player::start("memory", &[("MEM_MB", "1")]).succeed();
}

#[test]
fn fresh_memory_can_be_poisoned() {
    Player::start("poison", &[("POISON", "1")]).succeed();
}

#[test]
fn copies_are_checked_against_the_allocation() {
    let _context = context();
    let memory = memory_of(&[7; 100]);
    let host = pinned(200);
    let to = host.as_mut_ptr() as usize;
    assert_eq!(cu!(cuMemcpyDtoH_v2(to, memory, 101)), INVALID_VALUE);
    assert_eq!(cu!(cuMemcpyDtoH_v2(to, memory + 99, 2)), INVALID_VALUE);
    assert_eq!(cu!(cuMemcpyDtoH_v2(to, memory - 1, 1)), INVALID_VALUE);
    assert_eq!(cu!(cuMemcpyDtoH_v2(to, memory, usize::MAX)), INVALID_VALUE);
    assert_eq!(cu!(cuMemcpyHtoD_v2(memory, to, 101)), INVALID_VALUE);
    assert_eq!(cu!(cuMemsetD8_v2(memory, 1, 101)), INVALID_VALUE);
    // A device pointer is no host pointer, and the other way round.
    assert_eq!(cu!(cuMemcpyDtoH_v2(memory as usize, memory, 1)), INVALID_VALUE);
    assert_eq!(cu!(cuMemcpyDtoD_v2(memory, to as u64, 1)), INVALID_VALUE);
    ok!(cuMemcpyDtoH_v2(to, memory, 100));
    assert_eq!(host[..100], [7; 100]);
    ok!(cuMemFree_v2(memory));
    assert_eq!(cu!(cuMemFree_v2(memory)), INVALID_VALUE);
    assert_eq!(cu!(cuMemcpyDtoH_v2(to, memory, 1)), INVALID_VALUE);
    ok!(cuMemFree_v2(0));
}

fn rows(from: (u32, u64, usize), to: (u32, u64, usize), width: usize, height: usize) -> Copy2d {
    Copy2d {
        src_type: from.0,
        src_host: from.1 as usize,
        src_device: from.1,
        src_pitch: from.2,
        dst_type: to.0,
        dst_host: to.1 as usize,
        dst_device: to.1,
        dst_pitch: to.2,
        width,
        height,
        ..Copy2d::default()
    }
}

#[test]
fn rows_are_copied_with_the_pitch_of_each_side() {
    let _context = context();
    let (mut memory, mut pitch) = (0, 0);
    ok!(cuMemAllocPitch_v2(&raw mut memory, &raw mut pitch, 13, 5, 4));
    assert!(pitch >= 13 && pitch % 512 == 0);
    let picture: Vec<u8> = (0..13 * 5).collect();
    let up = rows((HOST, picture.as_ptr() as u64, 13), (DEVICE, memory, pitch), 13, 5);
    ok!(cuMemcpy2D_v2(&raw const up));
    let mut back = [0_u8; 20 * 5];
    let down = rows((UNIFIED, memory, pitch), (UNIFIED, back.as_mut_ptr() as u64, 20), 13, 5);
    ok!(cuMemcpy2D_v2(&raw const down));
    for (row, line) in back.chunks(20).enumerate() {
        assert_eq!(line[..13], picture[13 * row..13 * (row + 1)]);
        assert_eq!(line[13..], [0; 7]);
    }
    let past = Copy2d { height: 6, ..up };
    assert_eq!(cu!(cuMemcpy2D_v2(&raw const past)), INVALID_VALUE, "a row past the end");
    let narrow = Copy2d { dst_pitch: 12, ..up };
    assert_eq!(cu!(cuMemcpy2D_v2(&raw const narrow)), INVALID_VALUE, "a pitch less than a row");
    let array = Copy2d { dst_type: 3, ..up };
    assert_ne!(cu!(cuMemcpy2D_v2(&raw const array)), 0);
    assert_eq!(cu!(cuMemcpy2D_v2(std::ptr::null())), INVALID_VALUE);
}

#[test]
fn an_allocation_is_known_by_any_pointer_into_it() {
    let _context = context();
    let memory = memory(3 << 20);
    assert_eq!(memory % (2 << 20), 0, "large allocations start on a block");
    let (mut base, mut size) = (0, 0);
    ok!(cuMemGetAddressRange_v2(&raw mut base, &raw mut size, memory + 77));
    assert_eq!((base, size), (memory, 3 << 20));
    assert_eq!(cu!(cuMemGetAddressRange_v2(&raw mut base, &raw mut size, 5)), NOT_FOUND);
    let mut kind = 0_u32;
    ok!(cuPointerGetAttribute((&raw mut kind).cast(), 2, memory + 77));
    assert_eq!(kind, DEVICE);
    let host = pinned(10).as_ptr() as u64;
    ok!(cuPointerGetAttribute((&raw mut kind).cast(), 2, host));
    assert_eq!(kind, HOST);
    let stranger = Box::new(0_u8);
    let stranger = &raw const *stranger as u64;
    assert_eq!(cu!(cuPointerGetAttribute((&raw mut kind).cast(), 2, stranger)), INVALID_VALUE);
    let (mut device, which) = (7_u32, [2, 9]);
    let data = [(&raw mut kind).cast::<u8>(), (&raw mut device).cast()];
    ok!(cuPointerGetAttributes(2, which.as_ptr(), data.as_ptr(), stranger));
    assert_eq!((kind, device as i32), (0, -2));
}

#[test]
fn contexts_are_a_stack_of_each_thread() {
    init();
    let mut current = 1;
    ok!(cuCtxGetCurrent(&raw mut current));
    assert_eq!(current, 0);
    assert_eq!(cu!(cuCtxPopCurrent_v2(&raw mut current)), INVALID_CONTEXT);
    let mut pointer = 0;
    assert_eq!(cu!(cuMemAlloc_v2(&raw mut pointer, 1)), INVALID_CONTEXT);
    assert_eq!(cu!(cuStreamCreate(&raw mut current, 0)), INVALID_CONTEXT);
    let one: Handle = made!(cuCtxCreate_v2(0, 0));
    let two: Handle = made!(cuCtxCreate_v2(0, 0));
    let get = || -> Handle {
        let mut current = 0;
        ok!(cuCtxGetCurrent(&raw mut current));
        current
    };
    assert_eq!(get(), two);
    ok!(cuCtxPopCurrent_v2(&raw mut current));
    assert_eq!((current, get()), (two, one));
    ok!(cuCtxSetCurrent(two));
    assert_eq!(get(), two);
    ok!(cuCtxPopCurrent_v2(&raw mut current));
    assert_eq!(get(), 0, "setting replaces what is on top");
    ok!(cuCtxPushCurrent_v2(one));
    std::thread::spawn(move || {
        assert_eq!(get(), 0, "another thread has a stack of its own");
        ok!(cuCtxPushCurrent_v2(one));
        ok!(cuCtxDestroy_v2(one));
    })
    .join()
    .unwrap();
    assert_eq!(cu!(cuCtxSynchronize()), 709, "destroyed by another thread, and still on top here");
    assert_eq!(cu!(cuCtxPushCurrent_v2(one)), INVALID_CONTEXT);
    ok!(cuCtxDestroy_v2(two));
    assert_eq!(cu!(cuCtxDestroy_v2(two)), INVALID_CONTEXT);
    let mut device = 0;
    assert_eq!(cu!(cuDeviceGet(&raw mut device, 1)), 101);
}

#[test]
fn a_primary_context_lives_as_long_as_somebody_holds_it() {
    init();
    let one: Handle = made!(cuDevicePrimaryCtxRetain(0));
    let two: Handle = made!(cuDevicePrimaryCtxRetain(0));
    assert_eq!(one, two);
    ok!(cuCtxPushCurrent_v2(one));
    let memory = memory(10);
    ok!(cuDevicePrimaryCtxRelease_v2(0));
    assert_eq!(read(memory, 1), [0]);
    assert_eq!(cu!(cuCtxDestroy_v2(one)), INVALID_CONTEXT);
    ok!(cuDevicePrimaryCtxRelease(0));
    assert_eq!(cu!(cuCtxSynchronize()), 709);
    assert_eq!(cu!(cuDevicePrimaryCtxRelease_v2(0)), INVALID_CONTEXT);
    let again: Handle = made!(cuDevicePrimaryCtxRetain(0));
    assert_ne!(again, one, "no handle is given twice");
    ok!(cuDevicePrimaryCtxRelease_v2(0));
}

#[test]
fn handles_of_dead_and_of_foreign_objects_are_found_out() {
    let _context = context();
    let (stream, event) = (stream(), shared_event());
    ok!(cuStreamDestroy_v2(stream));
    ok!(cuEventDestroy_v2(event));
    for dead in [stream, event, 3, usize::MAX] {
        assert_eq!(cu!(cuStreamSynchronize(dead)), INVALID_HANDLE);
        assert_eq!(cu!(cuStreamDestroy_v2(dead)), INVALID_HANDLE);
        assert_eq!(cu!(cuStreamDestroy(dead)), INVALID_HANDLE);
        assert_eq!(cu!(cuEventQuery(dead)), INVALID_HANDLE);
        assert_eq!(cu!(cuEventDestroy_v2(dead)), INVALID_HANDLE);
        assert_eq!(cu!(cuEventRecord(dead, 0)), INVALID_HANDLE);
        assert_eq!(cu!(cuStreamWaitEvent(0, dead, 0)), INVALID_HANDLE);
        assert_eq!(cu!(cuGraphLaunch(dead, 0)), INVALID_HANDLE);
        assert_eq!(cu!(cuModuleUnload(dead)), INVALID_HANDLE);
    }
    let other = context();
    let (foreign, foreign_event) = (self::stream(), shared_event());
    ok!(cuCtxPopCurrent_v2(std::ptr::null_mut()));
    assert_eq!(cu!(cuMemcpyDtoDAsync_v2(memory(1), memory(1), 1, foreign)), INVALID_HANDLE);
    assert_eq!(cu!(cuEventRecord(foreign_event, 0)), INVALID_HANDLE);
    // Waiting for another context's event is allowed.
    ok!(cuStreamWaitEvent(0, foreign_event, 0));
    ok!(cuCtxPushCurrent_v2(other.0));
}

#[test]
fn flags_that_do_not_exist_or_contradict_are_refused() {
    let _context = context();
    let mut handle = 0;
    assert_eq!(cu!(cuStreamCreate(&raw mut handle, 2)), INVALID_VALUE);
    assert_eq!(cu!(cuEventCreate(&raw mut handle, 8)), INVALID_VALUE);
    assert_eq!(cu!(cuEventCreate(&raw mut handle, 4)), INVALID_VALUE, "for other processes, but with timing");
    assert_eq!(cu!(cuMemAlloc_v2(std::ptr::null_mut(), 1)), INVALID_VALUE);
    let mut pointer = 0;
    assert_eq!(cu!(cuMemAlloc_v2(&raw mut pointer, 0)), INVALID_VALUE);
}

/// With slow copies.
fn slow() {
    let _context = context();
    let (host, back) = (pinned(1 << 16), pinned(1 << 16));
    host.fill(9);
    let (memory, stream, event) = (memory(1 << 16), stream(), made!(cuEventCreate(0)));
    let before = Instant::now();
    ok!(cuEventRecord(event, stream));
    ok!(cuMemcpyHtoDAsync_v2(memory, host.as_ptr() as usize, 1 << 16, stream));
    let end: Handle = made!(cuEventCreate(0));
    ok!(cuEventRecord(end, stream));
    assert_eq!(cu!(cuStreamQuery(stream)), NOT_READY);
    assert_eq!(cu!(cuEventQuery(end)), NOT_READY);
    assert!(before.elapsed() < Duration::from_millis(500), "asynchronous calls do not wait");
    // Another stream that does not wait sees half of it at most; one that waits sees all.
    let other = self::stream();
    ok!(cuStreamWaitEvent(other, end, 0));
    ok!(cuMemcpyDtoHAsync_v2(back.as_mut_ptr() as usize, memory, 1 << 16, other));
    ok!(cuStreamSynchronize(other));
    assert!(back.iter().all(|byte| *byte == 9));
    ok!(cuEventSynchronize(end));
    ok!(cuEventQuery(end));
    let mut milliseconds = 0.0;
    ok!(cuEventElapsedTime(&raw mut milliseconds, event, end));
    assert!(milliseconds >= 599.0, "{milliseconds} ms for a copy of 600 ms");
    // Destroying a stream lets its work end, and freeing memory waits for that.
    let last = self::stream();
    ok!(cuMemcpyHtoDAsync_v2(memory, host.as_ptr() as usize, 1 << 16, last));
    ok!(cuStreamDestroy_v2(last));
    let before = Instant::now();
    ok!(cuMemFree_v2(memory));
    assert!(before.elapsed() >= Duration::from_millis(500), "the memory went under a copy");
}

#[test]
fn streams_work_by_themselves_and_events_say_how_far() {
    Player::start("slow", &[("COPY_DELAY_US", "600000")]).succeed();
}

#[test]
fn a_synchronisation_that_does_nothing_is_seen() {
    assert!(!Player::start("slow", &[("COPY_DELAY_US", "600000"), ("BREAK_SYNC", "1")]).end().success());
}

#[test]
fn events_that_are_always_complete_are_seen() {
    assert!(!Player::start("slow", &[("COPY_DELAY_US", "600000"), ("BREAK_EVENTS", "1")]).end().success());
}

/// With slow copies: whether work of one stream waits for that of another.
fn legacy_stream() {
    let _context = context();
    let memory = memory_of(&[1; 64]);
    let source = pinned(64);
    source.fill(2);
    // A picture that a copy on the second stream sees while one on the first is under way.
    let seen_behind = |first: Handle, second: Handle| {
        ok!(cuMemcpyHtoD_v2(memory, [1_u8; 64].as_ptr() as usize, 64));
        let (back, elsewhere) = (pinned(64), self::memory(64));
        // The reader's copy takes as long as each of the writer's: three are longer than one.
        for to in [elsewhere, elsewhere, memory] {
            ok!(cuMemcpyHtoDAsync_v2(to, source.as_ptr() as usize, 64, first));
        }
        ok!(cuMemcpyDtoHAsync_v2(back.as_mut_ptr() as usize, memory, 64, second));
        ok!(cuCtxSynchronize());
        back.iter().all(|byte| *byte == 2)
    };
    let (blocking, free): (Handle, Handle) = (made!(cuStreamCreate(0)), stream());
    assert!(seen_behind(blocking, 0), "the legacy stream waits for blocking ones");
    assert!(seen_behind(0, blocking), "blocking streams wait for the legacy one");
    assert!(!seen_behind(free, 0), "the legacy stream does not wait for others");
    assert!(!seen_behind(0, free), "others do not wait for the legacy stream");
    assert!(!seen_behind(blocking, free));
}

#[test]
fn the_legacy_stream_is_ordered_against_blocking_streams_only() {
    Player::start("legacy stream", &[("COPY_DELAY_US", "100000")]).succeed();
}

/// With slow copies: what of ordinary memory is copied.
fn staged() {
    let _context = context();
    let (memory, stream) = (memory(64), stream());
    let mut ordinary = [5_u8; 64];
    ok!(cuMemcpyHtoDAsync_v2(memory, ordinary.as_ptr() as usize, 64, stream));
    ordinary.fill(6);
    let mut back = [0_u8; 64];
    ok!(cuMemcpyDtoHAsync_v2(back.as_mut_ptr() as usize, memory, 64, stream));
    assert_eq!(back, [5; 64], "taken at the call, and back at the return");
    let pinned = pinned(64);
    pinned.fill(7);
    ok!(cuMemcpyHtoDAsync_v2(memory, pinned.as_ptr() as usize, 64, stream));
    pinned.fill(8);
    ok!(cuStreamSynchronize(stream));
    assert_eq!(read(memory, 64), [8; 64], "pinned memory is read when the stream comes to it");
}

#[test]
fn memory_that_is_not_pinned_is_copied_at_the_call() {
    Player::start("staged", &[("COPY_DELAY_US", "500000")]).succeed();
}

/// With slow copies and `PAGEABLE_ASYNC`.
fn pageable() {
    let _context = context();
    let (memory, stream) = (memory(64), stream());
    let mut ordinary = [5_u8; 64];
    ok!(cuMemcpyHtoDAsync_v2(memory, ordinary.as_ptr() as usize, 64, stream));
    ordinary.fill(6);
    ok!(cuStreamSynchronize(stream));
    assert_eq!(read(memory, 64), [6; 64]);
}

#[test]
fn the_hostile_mode_reads_ordinary_memory_late() {
    Player::start("pageable", &[("COPY_DELAY_US", "500000"), ("PAGEABLE_ASYNC", "1")]).succeed();
}

#[test]
fn host_functions_run_when_the_stream_comes_to_them() {
    unsafe extern "C" fn note(data: usize) {
        // SAFETY: the test passes the address of an atomic that outlives the stream's work.
        let seen = unsafe { &*(data as *const std::sync::atomic::AtomicUsize) };
        seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    let _context = context();
    let (stream, seen) = (stream(), std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..3 {
        ok!(cuLaunchHostFunc(stream, Some(note), &raw const seen as usize));
    }
    ok!(cuStreamSynchronize(stream));
    assert_eq!(seen.into_inner(), 3);
    assert_eq!(cu!(cuLaunchHostFunc(stream, None, 0)), INVALID_VALUE);
}

const ROWS: &std::ffi::CStr = c".version 6.0
.target sm_50
.visible .entry tdlink_rows_u8(.param .u64 a, .param .u64 b, .param .u32 c, .param .u32 d, .param .u32 e,
    .param .u32 f, .param .u32 g, .param .u32 h) { ret; }
.visible .entry nobody() { ret; }";

fn launch(function: Handle, stream: Handle, pointers: [u64; 2], numbers: [u32; 6]) -> u32 {
    let mut parameters: Vec<*const u8> = pointers.iter().map(|pointer| (&raw const *pointer).cast()).collect();
    parameters.extend(numbers.iter().map(|number| (&raw const *number).cast::<u8>()));
    cu!(cuLaunchKernel(function, 1, 1, 1, 32, 8, 1, 0, stream, parameters.as_ptr(), std::ptr::null()))
}

#[test]
fn the_kernel_of_rows_turns_swaps_and_covers() {
    let _context = context();
    let module: Handle = made!(cuModuleLoadData(ROWS.as_ptr()));
    let function: Handle = made!(cuModuleGetFunction(module, c"tdlink_rows_u8".as_ptr()));
    let stream = stream();
    for size in 1..=4_usize {
        for flags in 0..8_u32 {
            let (width, height, from_pitch, to_pitch) = (5, 3, 5 * size + 3, 5 * size + 7);
            let picture: Vec<u8> = (0..from_pitch * height).map(|at| (at * 7) as u8).collect();
            let from = memory_of(&picture);
            let to = memory_of(&vec![0xEE; to_pitch * height]);
            let numbers = [from_pitch, to_pitch, width, height, size].map(|number| number as u32);
            let [a, b, c, d, e] = numbers;
            assert_eq!(launch(function, stream, [from, to], [a, b, c, d, e, flags]), 0);
            ok!(cuStreamSynchronize(stream));
            let result = read(to, to_pitch * height);
            for y in 0..height {
                let source = if flags & 1 == 1 { height - 1 - y } else { y };
                for x in 0..width {
                    let mut wanted = picture[source * from_pitch + x * size..][..size].to_vec();
                    if flags & 2 == 2 && size > 2 {
                        wanted.swap(0, 2);
                    }
                    if flags & 4 == 4 && size > 3 {
                        wanted[3] = 255;
                    }
                    assert_eq!(result[y * to_pitch + x * size..][..size], wanted, "{size} bytes, flags {flags}");
                }
                assert!(result[y * to_pitch + width * size..(y + 1) * to_pitch].iter().all(|byte| *byte == 0xEE));
            }
        }
    }
    let mut none = 0;
    assert_eq!(cu!(cuModuleGetFunction(&raw mut none, module, c"missing".as_ptr())), NOT_FOUND);
    assert_eq!(cu!(cuModuleGetFunction(&raw mut none, module, c"nobody".as_ptr())), NOT_FOUND);
    assert_eq!(cu!(cuModuleLoadData(&raw mut none, c"not PTX".as_ptr())), 218);
    ok!(cuModuleUnload(module));
    assert_eq!(launch(function, stream, [0; 2], [0; 6]), INVALID_HANDLE, "a function of an unloaded module");
}

#[test]
fn a_kernel_that_reaches_outside_is_the_end_of_its_context() {
    let lost = context();
    let module: Handle = made!(cuModuleLoadData(ROWS.as_ptr()));
    let function: Handle = made!(cuModuleGetFunction(module, c"tdlink_rows_u8".as_ptr()));
    let (from, to) = (memory(100), memory(100));
    assert_eq!(launch(function, 0, [from, to], [10, 10, 10, 11, 1, 0]), 0, "the launch itself cannot know");
    assert_eq!(cu!(cuCtxSynchronize()), 700);
    let mut pointer = 0;
    assert_eq!(cu!(cuMemAlloc_v2(&raw mut pointer, 1)), 700, "and so for ever");
    ok!(cuCtxDestroy_v2(lost.0));
    std::mem::forget(lost);
    let _fresh = context();
    memory(1);
}

#[test]
fn a_captured_stream_becomes_a_graph_that_can_be_changed() {
    let _context = context();
    let (stream, shared) = (stream(), shared_event());
    let (one, two, to) = (memory_of(&[1; 32]), memory_of(&[2; 32]), memory_of(&[0; 32]));
    let source: Handle = made!(cuEventCreate(2));
    ok!(cuStreamBeginCapture_v2(stream, 2));
    ok!(cuStreamWaitEvent(stream, source, 1));
    ok!(cuMemcpyDtoDAsync_v2(to, one, 32, stream));
    ok!(cuEventRecordWithFlags(shared, stream, 1));
    let mut graph = 0;
    ok!(cuStreamEndCapture(stream, &raw mut graph));
    assert_eq!(read(to, 32), [0; 32], "captured, not done");
    let (mut nodes, mut count) = ([0; 8], 8);
    ok!(cuGraphGetNodes(graph, nodes.as_mut_ptr(), &raw mut count));
    let kinds: Vec<i32> = nodes[..count]
        .iter()
        .map(|node| {
            let mut kind = -1;
            ok!(cuGraphNodeGetType(*node, &raw mut kind));
            kind
        })
        .collect();
    assert_eq!(kinds, [6, 1, 7], "wait, copy, record");
    let executable: Handle = made!(cuGraphInstantiateWithFlags(graph, 0));
    ok!(cuGraphLaunch(executable, stream));
    ok!(cuStreamSynchronize(stream));
    assert_eq!(read(to, 32), [1; 32]);
    let copy = Copy3d {
        src_type: DEVICE,
        src_device: two,
        dst_type: DEVICE,
        dst_device: to,
        width: 32,
        height: 1,
        depth: 1,
        ..Copy3d::default()
    };
    ok!(cuGraphExecMemcpyNodeSetParams(executable, nodes[1], &raw const copy, 0));
    assert_eq!(cu!(cuGraphExecMemcpyNodeSetParams(executable, nodes[0], &raw const copy, 0)), INVALID_VALUE);
    ok!(cuGraphLaunch(executable, stream));
    ok!(cuStreamSynchronize(stream));
    assert_eq!(read(to, 32), [2; 32]);
    // Waiting spoils a capture, and an event of two processes cannot be a mark inside of one.
    ok!(cuStreamBeginCapture_v2(stream, 2));
    assert_eq!(cu!(cuStreamSynchronize(stream)), 900);
    assert_eq!(cu!(cuStreamEndCapture(stream, &raw mut graph)), 901);
    ok!(cuStreamBeginCapture_v2(stream, 2));
    assert_eq!(cu!(cuEventRecord(shared, stream)), 900);
    assert_eq!(cu!(cuStreamEndCapture(stream, &raw mut graph)), 901);
    ok!(cuGraphExecDestroy(executable));
    assert_eq!(cu!(cuGraphLaunch(executable, stream)), INVALID_HANDLE);
}

#[test]
fn pools_give_memory_that_cannot_be_shared() {
    let _context = context();
    let stream = stream();
    let memory: DevicePointer = made!(cuMemAllocAsync(100, stream));
    let mut handle = IpcHandle { reserved: [0; 64] };
    assert_eq!(cu!(cuIpcGetMemHandle(&raw mut handle, memory)), INVALID_VALUE);
    ok!(cuMemsetD8Async(memory, 3, 100, stream));
    ok!(cuStreamSynchronize(stream));
    assert_eq!(read(memory, 100), [3; 100]);
    ok!(cuMemFreeAsync(memory, stream));
    assert_eq!(cu!(cuMemFree_v2(memory)), INVALID_VALUE);
}

#[test]
fn threads_that_make_use_and_break_everything_at_once_do_no_harm() {
    let context = context();
    let handle = context.0;
    let threads: Vec<_> = (0..4_u8)
        .map(|thread| {
            std::thread::spawn(move || {
                ok!(cuCtxPushCurrent_v2(handle));
                let event = shared_event();
                for round in 0..60_u8 {
                    let stream: Handle = made!(cuStreamCreate(u32::from(round % 2)));
                    let (from, to) = (memory(4096), memory(4096));
                    ok!(cuMemsetD8Async(from, round ^ thread, 4096, stream));
                    ok!(cuMemcpyDtoDAsync_v2(to, from, 4096, stream));
                    ok!(cuEventRecord(event, stream));
                    if round % 3 == 0 {
                        ok!(cuStreamDestroy_v2(stream));
                    }
                    ok!(cuEventSynchronize(event));
                    assert_eq!(read(to, 4096), vec![round ^ thread; 4096]);
                    ok!(cuMemFree_v2(from));
                    ok!(cuMemFree_v2(to));
                    if round % 3 != 0 {
                        ok!(cuStreamDestroy_v2(stream));
                    }
                }
                ok!(cuEventDestroy_v2(event));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
