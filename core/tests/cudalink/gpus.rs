// SPDX-License-Identifier: MPL-2.0
//! Several GPUs in a machine, GPUs that cannot share events, and memory that does not open.

use tdlink_core::protocol::cudalink::Wait;

use super::peer::Peer;
use super::{TestName, next, watch};

#[test]
#[ignore = "needs the emulated driver"]
fn a_process_reads_rings_of_two_gpus_each_in_a_context_of_its_own() {
    let two = [("DEVICES", "2")];
    let names = [TestName::new("gpu-0"), TestName::new("gpu-1")];
    let mut senders = [Peer::with(&two), Peer::with(&two)];
    for (device, (sender, name)) in senders.iter_mut().zip(&names).enumerate() {
        sender.expect(&format!("device {device}"), "chosen");
        sender.expect(&format!("produce {} 3 64 48 u8 4 plain", **name), "ready");
        sender.expect(&format!("send {}", 10 + device), "1");
    }
    let mut reader = Peer::with(&two);
    for (device, (sender, name)) in senders.iter_mut().zip(&names).enumerate() {
        reader.expect(&format!("device {device}"), "chosen");
        reader.expect(&format!("consume {}", **name), "ready");
        reader.expect("device-of-consumer", &device.to_string());
        reader.expect("receive", &format!("1 {} whole right", 10 + device));
        // What is kept keeps its GPU's context while the other one is used.
        sender.expect(&format!("send {}", 20 + device), "2");
        reader.expect("keep", "kept");
    }
    reader.expect("drop", "0 imports");
    reader.exit();
}

#[test]
#[ignore = "needs the emulated driver"]
fn where_events_cannot_be_shared_a_frame_is_published_when_its_copy_is_done() {
    let name = TestName::new("no-events");
    let mut sender = Peer::with(&[("IPC_EVENTS", "0"), ("COPY_DELAY_US", "4000")]);
    let mut receiver = Peer::start();
    sender.expect(&format!("produce {} 3 320 240 u8 4 plain", *name), "ready");
    let mut watch = watch(&name);
    let handles = watch.header().handles.clone().unwrap();
    assert!(handles.iter().all(|slot| slot.event.is_none()), "an event that nobody can open");
    receiver.expect(&format!("consume {}", *name), "ready");
    for number in 1..=6 {
        sender.expect(&format!("send {number}"), &number.to_string());
        receiver.expect("receive", &format!("{number} {number} whole right"));
    }
    assert_eq!(next(&mut watch), Wait::Newer);
}

#[test]
#[ignore = "needs the emulated driver"]
fn a_generation_whose_memory_does_not_open_is_never_read_from_the_old() {
    let name = TestName::new("broken");
    let mut sender = Peer::start();
    // The first slot of the second generation.
    let mut receiver = Peer::with(&[("FAIL", "cuIpcOpenMemHandle_v2:4:1")]);
    sender.expect(&format!("produce {} 3 64 48 u8 4 plain", *name), "ready");
    receiver.expect(&format!("consume {}", *name), "ready");
    sender.expect("send 1", "1");
    receiver.expect("receive", "1 1 whole right");
    sender.expect("resize 64 40 u8 4", "2");
    sender.expect("send 2", "1");
    let error = receiver.ask("receive");
    assert!(error.contains("shared GPU memory does not open"), "{error}");
    // Not even when it is asked again.
    for order in ["receive", "keep", "receive"] {
        let error = receiver.ask(order);
        assert!(error.contains("is not ready yet"), "{order}: {error}");
    }
    receiver.expect(&format!("consume {}", *name), "ready");
    receiver.expect("receive", "1 2 whole right");
    receiver.expect("drop", "0 imports");
}
