// SPDX-License-Identifier: MPL-2.0
//! Faults on order, what is written down about the calls, and the library as programs load it.
#![allow(unsafe_code, reason = "calls of a C ABI with pointers to locals")]
#![cfg(target_os = "linux")]

mod common;

use std::collections::HashMap;
use std::ffi::{CString, c_void};

use common::*;

/// What the children of this program do.
#[test]
#[ignore = "a part in other tests"]
fn child() {
    match part().as_deref() {
        Some("failing allocations") => failing_allocations(),
        Some("lost") => lost(),
        Some("lost by code") => {
            let _context = std::mem::ManuallyDrop::new(context());
            assert_eq!(cu!(cuStreamSynchronize(0)), 214);
        }
        Some("leaks") => leaks(),
        Some("names") => names(),
        Some("hidden") => hidden(),
        Some("anything") => init(),
        None => {}
        other => panic!("no part {other:?}"),
    }
}

/// With the third and fourth allocation failing, and every event from the second on.
fn failing_allocations() {
    let _context = context();
    let mut pointer = 0;
    let mut allocate = || cu!(cuMemAlloc_v2(&raw mut pointer, 16));
    assert_eq!([allocate(), allocate(), allocate(), allocate(), allocate()], [0, 0, 2, 999, 0]);
    let mut event = 0;
    let mut create = || cu!(cuEventCreate(&raw mut event, 0));
    assert_eq!([create(), create(), create()], [0, 304, 304]);
}

#[test]
fn the_nth_call_of_a_name_fails_on_order() {
    let orders = [("FAIL", "cuMemAlloc_v2:3:2, cuMemAlloc_v2:4,cuEvent*:2+:304")];
    Player::start("failing allocations", &orders).succeed();
}

/// With the context lost at the second record.
fn lost() {
    let context = std::mem::ManuallyDrop::new(context());
    let (stream, event, memory) = (stream(), shared_event(), memory_of(&[1; 16]));
    ok!(cuEventRecord(event, stream));
    ok!(cuEventSynchronize(event));
    assert_eq!(cu!(cuEventRecord(event, stream)), 719);
    let mut pointer = 0;
    assert_eq!(cu!(cuMemAlloc_v2(&raw mut pointer, 16)), 719);
    assert_eq!(cu!(cuMemFree_v2(memory)), 719);
    assert_eq!(cu!(cuEventQuery(event)), 719);
    assert_eq!(cu!(cuStreamSynchronize(stream)), 719);
    assert_eq!(cu!(cuCtxSynchronize()), 719);
    ok!(cuCtxDestroy_v2(context.0));
    let _fresh = self::context();
    assert_eq!(read(memory_of(&[2; 16]), 16), [2; 16], "a new context works");
}

#[test]
fn a_lost_context_answers_everything_with_its_loss_and_a_new_one_works() {
    Player::start("lost", &[("LOSE", "cuEventRecord:2")]).succeed();
    Player::start("lost by code", &[("LOSE", "cuStreamSynchronize:1:214")]).succeed();
}

#[test]
fn an_order_that_cannot_be_read_ends_the_process() {
    let bad = [("FAIL", "cuInit:0"), ("COPY_DELAY_US", "soon"), ("BREAK_SYNC", "yes"), ("LOSE", "cuInit:1:x")];
    for order in bad {
        assert_eq!(Player::start("anything", &[order]).end().code(), Some(86), "{order:?}");
    }
}

/// Gives back all but one of each.
fn leaks() {
    let _context = std::mem::ManuallyDrop::new(context());
    let streams = [stream(), stream()];
    let events = [shared_event(), shared_event()];
    let memories = [memory(1), memory(1)];
    ok!(cuStreamDestroy_v2(streams[0]));
    ok!(cuEventDestroy_v2(events[0]));
    ok!(cuMemFree_v2(memories[0]));
}

#[test]
fn calls_are_counted_and_what_is_not_given_back_is_named() {
    let (stats, trace) = (scratch("stats"), scratch("trace"));
    let orders = [("STATS", stats.to_str().unwrap()), ("TRACE", trace.to_str().unwrap())];
    Player::start("leaks", &orders).succeed();
    let text = std::fs::read_to_string(&stats).unwrap();
    let count: HashMap<&str, u32> =
        text.lines().map(|line| line.split_once(' ').unwrap()).map(|(name, n)| (name, n.parse().unwrap())).collect();
    for (name, number) in [
        ("cuInit", 1),
        ("cuStreamCreate", 2),
        ("cuStreamDestroy_v2", 1),
        ("cuMemAlloc_v2", 2),
        ("living:contexts", 1),
        ("living:streams", 1),
        ("living:events", 1),
        ("living:memory", 1),
        ("living:imported", 0),
    ] {
        assert_eq!(count.get(name), Some(&number), "{name}");
    }
    assert!(!count.contains_key("cuMemAllocHost_v2"), "never called");
    let trace_text = std::fs::read_to_string(&trace).unwrap();
    assert!(trace_text.lines().any(|line| line.contains(" cuInit(flags=0 ) = 0")), "{trace_text}");
    for file in [stats, trace] {
        std::fs::remove_file(file).unwrap();
    }
}

/// The library that cargo builds beside the tests, opened as programs open it.
fn open() -> *mut c_void {
    let path = CString::new(library().into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: a path that ends with a zero; the library's start runs no code of the test.
    let opened = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!opened.is_null(), "{} does not load", library().display());
    opened
}

fn has(library: *mut c_void, name: &str) -> bool {
    let name = CString::new(name).unwrap();
    // SAFETY: an open library, and a name that ends with a zero.
    !unsafe { libc::dlsym(library, name.as_ptr()) }.is_null()
}

/// What GStreamer 1.28 will not do without (1.22 asks for a part of it), cuda-link, and this plugin.
const NEEDED: &str = "cuInit cuGetErrorName cuGetErrorString cuCtxCreate_v2 cuCtxDestroy_v2 cuCtxPopCurrent_v2 \
    cuCtxPushCurrent_v2 cuCtxEnablePeerAccess cuCtxDisablePeerAccess cuDeviceGet cuDeviceGetCount cuDeviceGetName \
    cuDeviceGetAttribute cuDeviceCanAccessPeer cuDriverGetVersion cuMemAlloc_v2 cuMemAllocPitch_v2 cuMemAllocHost_v2 \
    cuMemFree_v2 cuMemFreeHost cuMemcpy2D_v2 cuMemcpy2DAsync_v2 cuStreamCreate cuStreamDestroy cuStreamDestroy_v2 \
    cuStreamSynchronize cuModuleLoadData cuModuleUnload cuModuleGetFunction cuLaunchKernel cuTexObjectCreate \
    cuTexObjectDestroy cuGraphicsMapResources cuGraphicsUnmapResources cuGraphicsUnregisterResource \
    cuGraphicsResourceSetMapFlags_v2 cuGraphicsSubResourceGetMappedArray cuGraphicsResourceGetMappedPointer_v2 \
    cuGraphicsGLRegisterImage cuGraphicsGLRegisterBuffer cuGLGetDevices_v2 cuCtxSynchronize cuCtxGetLimit \
    cuCtxSetLimit cuDeviceGetUuid cuEventCreate cuEventDestroy_v2 cuEventRecord cuEventSynchronize cuIpcGetMemHandle \
    cuIpcOpenMemHandle cuIpcOpenMemHandle_v2 cuIpcCloseMemHandle cuIpcGetEventHandle cuIpcOpenEventHandle \
    cuMemcpyDtoD_v2 cuMemcpyDtoDAsync_v2 cuMemcpyDtoH_v2 cuMemcpyDtoHAsync_v2 cuMemcpyHtoD_v2 cuMemcpyHtoDAsync_v2 \
    cuMemsetD2D8_v2 cuMemsetD2D8Async cuMemsetD2D16_v2 cuMemsetD2D16Async cuMemsetD2D32_v2 cuMemsetD2D32Async \
    cuMemAddressReserve cuMemAddressFree cuMemCreate cuMemRelease cuMemExportToShareableHandle \
    cuMemImportFromShareableHandle cuMemSetAccess cuMemGetAccess cuMemGetAllocationGranularity \
    cuMemGetAllocationPropertiesFromHandle cuMemMap cuMemUnmap cuMemRetainAllocationHandle cuMemAllocAsync \
    cuMemAllocFromPoolAsync cuMemFreeAsync cuMemPoolCreate cuMemPoolDestroy cuMemPoolSetAttribute cuMemPoolGetAttribute \
    cuDevicePrimaryCtxRetain cuDevicePrimaryCtxRelease cuDevicePrimaryCtxRelease_v2 cuCtxGetCurrent cuCtxSetCurrent \
    cuCtxGetDevice cuStreamCreateWithPriority cuStreamWaitEvent cuStreamQuery cuEventQuery cuMemGetAddressRange_v2 \
    cuPointerGetAttribute cuPointerGetAttributes cuMemHostAlloc cuLaunchHostFunc";

fn names() {
    let library = open();
    let missing: Vec<_> = NEEDED.split_whitespace().filter(|name| !has(library, name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // Other ABIs on a real driver: who asks for them is wrong.
    for other in ["cuMemAlloc", "cuMemFree", "cuMemcpyDtoH", "cuMemcpy2DAsync", "cuEventDestroy", "cuCtxCreate"] {
        assert!(!has(library, other), "{other}");
    }
}

#[test]
fn the_library_has_exactly_the_names_that_programs_ask_for() {
    Player::start("names", &[]).succeed();
}

fn hidden() {
    let library = open();
    assert!(!has(library, "cuStreamWaitEvent"));
    assert!(!has(library, "cuInit"));
    assert!(has(library, "cuStreamQuery"));
}

#[test]
fn a_symbol_is_hidden_on_order() {
    // The copy of the driver inside this test program has no names to hide; the library does.
    assert!(library().exists(), "cargo builds {} beside the tests", library().display());
    Player::start("hidden", &[("HIDE", "cuStreamWaitEvent,cuInit")]).succeed();
}
