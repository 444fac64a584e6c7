// SPDX-License-Identifier: MPL-2.0
//! The driver itself: missing parts of it, contexts, memory. Other drivers than a whole one are the emulated one's.

use tdlink_core::cuda::{
    BLOCK, Context, CudaError, DeviceMem, Driver, Event, Imported, IpcEventHandle, IpcMemHandle, PinnedMem, Stream,
    address_range, driver,
};

use super::peer::Peer;

const NEEDED: &str = "a CUDA driver: cargo xtask emulated -- cargo test …";

fn context() -> Context {
    Context::primary(0).expect(NEEDED)
}

#[test]
#[ignore = "needs the emulated driver"]
fn each_function_that_a_driver_lacks_is_an_error_that_names_it() {
    for symbol in Driver::symbols() {
        let mut peer = Peer::with(&[("HIDE", symbol)]);
        let answer = peer.ask("driver");
        assert!(answer.starts_with(&format!("error: libcuda.so.1 has no {symbol};")), "{answer}");
        peer.exit();
    }
}

#[test]
#[ignore = "needs the emulated driver"]
fn a_driver_without_a_gpu_is_an_error_that_says_so() {
    let answer = Peer::with(&[("DEVICES", "0")]).ask("driver");
    assert!(answer.contains("finds no GPU"), "{answer}");
    let answer = Peer::with(&[("FAIL", "cuInit:1+:34")]).ask("driver");
    assert!(answer.contains("stub"), "{answer}");
    let answer = Peer::with(&[("FAIL", "cuInit:1+:803")]).ask("driver");
    assert!(answer.contains("restart the machine"), "{answer}");
    assert_eq!(Peer::with(&[("VERSION", "11080")]).ask("driver"), "11080");
}

#[test]
#[ignore = "needs the emulated driver"]
fn a_gpu_that_is_reset_is_one_error_and_nothing_hangs() {
    for call in ["cuEventRecord:3", "cuMemcpyHtoDAsync_v2:2", "cuMemAlloc_v2:2", "cuEventSynchronize:1"] {
        let name = super::TestName::new("reset");
        let mut peer = Peer::with(&[("LOSE", &format!("{call}:719"))]);
        let mut answer = peer.ask(&format!("produce {} 3 64 48 u8 4 plain", *name));
        for number in 0..10 {
            if !answer.starts_with("error") {
                answer = peer.ask(&format!("send {number}"));
            }
        }
        assert!(answer.contains("the GPU was reset; this process must restart"), "{call}: {answer}");
        peer.expect("drop", "0 imports");
        peer.exit();
    }
}

#[test]
#[ignore = "needs the emulated driver"]
fn a_kernel_that_found_no_memory_loads_later_and_one_that_is_refused_is_not_tried_again() {
    let mut peer = Peer::with(&[("FAIL", "cuModuleLoadData:1:2")]);
    assert!(peer.ask("flip").contains("bytes free"));
    peer.expect("flip", "flipped");
    peer.exit();
    let mut peer = Peer::with(&[("FAIL", "cuModuleLoadData:1:222")]);
    for _ in 0..2 {
        let error = peer.ask("flip");
        assert!(error.contains("cuModuleLoadData failed") && error.contains("222"), "{error}");
    }
    peer.exit();
    let mut peer = Peer::with(&[("VERSION", "11080")]);
    assert!(peer.ask("flip").contains("kernels need 12.0"));
    peer.exit();
}

#[test]
#[ignore = "needs a CUDA driver"]
fn memory_comes_in_whole_blocks_and_its_range_is_known() {
    let context = context();
    for (len, rounded) in [(1, BLOCK), (BLOCK, BLOCK), (BLOCK + 1, 2 * BLOCK)] {
        let memory = DeviceMem::new(&context, len).unwrap();
        assert_eq!(memory.len(), rounded);
        assert_eq!(address_range(&context, memory.ptr()).unwrap(), (memory.ptr(), rounded));
        assert_eq!(address_range(&context, memory.ptr() + 77).unwrap(), (memory.ptr(), rounded));
        assert!(memory.plane(rounded, rounded, 1).is_ok() && memory.plane(rounded, rounded, 2).is_err());
    }
    assert!(matches!(DeviceMem::new(&context, 1 << 50), Err(CudaError::OutOfMemory { wanted }) if wanted == 1 << 50));
    assert!(address_range(&context, 4096).is_err());
}

#[test]
#[ignore = "needs a CUDA driver"]
fn handles_of_this_process_and_of_nothing_are_told_apart() {
    let context = context();
    let (memory, event) = (DeviceMem::new(&context, 1).unwrap(), Event::interprocess(&context).unwrap());
    let own = memory.ipc_handle().unwrap();
    assert_eq!(own, memory.ipc_handle().unwrap());
    assert_eq!(Imported::open(&context, &own).unwrap_err(), CudaError::OwnProcess);
    assert_eq!(Event::import(&context, &event.ipc_handle().unwrap()).unwrap_err(), CudaError::OwnProcess);
    for bytes in [[0; 64], [7; 64]] {
        assert!(matches!(Imported::open(&context, &IpcMemHandle(bytes)), Err(CudaError::DeadHandle { .. })));
        assert!(matches!(Event::import(&context, &IpcEventHandle(bytes)), Err(CudaError::DeadHandle { .. })));
    }
    assert!(Event::new(&context).unwrap().ipc_handle().is_err(), "not made for other processes");
}

#[test]
#[ignore = "needs a CUDA driver"]
fn contexts_are_current_as_long_as_they_are_entered_in_whatever_order_they_are_left() {
    let (a, b) = (context(), context());
    assert!(a.is(&b) && a.id() == b.id(), "the primary context is one");
    let first = a.enter().unwrap();
    let second = b.enter().unwrap();
    drop(first);
    let memory = DeviceMem::new(&a, 1).unwrap();
    drop(second);
    drop((a, b));
    // The last that keeps the context.
    let stream = Stream::new(memory.context()).unwrap();
    drop(memory);
    assert!(stream.query().unwrap());
}

#[test]
#[ignore = "needs a CUDA driver"]
fn memory_of_the_host_is_looked_at_when_the_copy_is_done() {
    let context = context();
    let stream = Stream::new(&context).unwrap();
    let memory = DeviceMem::new(&context, 100_000).unwrap();
    let mut host = PinnedMem::new(&context, 64 * 300).unwrap();
    for round in 0..20u8 {
        let (tight, pitched) = (memory.plane(50, 50, 300).unwrap(), memory.plane(256, 50, 300).unwrap());
        for plane in [tight, pitched] {
            host.bytes_mut().unwrap().fill(round);
            host.upload(plane, 64, &stream).unwrap();
            host.bytes_mut().unwrap().fill(0xEE);
            host.download(plane, 64, &stream).unwrap();
            let bytes = host.bytes().unwrap();
            for row in bytes.chunks(64) {
                assert_eq!((&row[..50], &row[50..]), (&[round; 50][..], &[0xEE; 14][..]));
            }
        }
    }
    assert!(host.download(memory.plane(65, 65, 300).unwrap(), 64, &stream).is_err(), "rows longer than apart");
}

#[test]
#[ignore = "needs a CUDA driver"]
fn a_driver_tells_what_it_is() {
    let driver = driver().expect(NEEDED);
    assert!(driver.version() >= 11_000 && driver.devices() >= 1);
    assert!(!driver.device_name(0).unwrap().is_empty());
    assert!(driver.shares_events(0).unwrap());
    assert!(driver.device_name(driver.devices()).is_err() && driver.device_name(-1).is_err());
    assert!(Context::primary(driver.devices()).is_err());
}
