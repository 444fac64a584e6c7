// SPDX-License-Identifier: MPL-2.0
//! What the CUDA source does when something else than its producer is in its way: a second producer, a second GPU, a ring
//! that goes round faster than it copies, copies that end late or never.
//!
//! Like `cudaipc.rs` these want a CUDA driver, most of them the emulated one.
#![cfg(target_os = "linux")]

mod common;

use std::os::unix::fs::FileExt;
use std::time::Duration;

use common::folder::Folder;
use common::name::Name;
use common::run::Run;
use common::sender::{ROLE, Sender};
use common::{PATIENCE, frames, pictures, poll};
use gst::prelude::*;

const CAPS: &str = "video/x-raw,format=BGRA,width=64,height=48,framerate=60/1";

#[test]
#[ignore = "the other process of the tests here; does nothing by itself"]
fn the_other_process() {
    assert_eq!(ROLE, "the_other_process");
    common::sender::serve();
}

fn sending(name: &str, options: &str) -> String {
    format!(
        "appsrc name=a format=time is-live=true do-timestamp=true caps={CAPS} ! tdcudaipcsink name=k sync=false shm-name={name} {options}"
    )
}

/// The same with frames on the device.
fn uploading(name: &str, options: &str) -> String {
    sending(name, options).replace("! tdcudaipcsink", "! cudaupload ! video/x-raw(memory:CUDAMemory) ! tdcudaipcsink")
}

fn receiving(name: &str, options: &str, capture: &str) -> String {
    format!("tdcudaipcsrc name=s shm-name={name} keepalive=0 {options} ! {capture} ! appsink name=k sync=false")
}

const TRACE: &str = "EMULATED_CUDA_TRACE";

/// Whether a call of the driver makes a context on the second GPU to open memory there.
fn asks_the_second_gpu(call: &str) -> bool {
    call.contains("cuDevicePrimaryCtxRetain") && call.contains("number=1 ")
}

/// The number of the picture that comes next, all of which must be as it was made.
fn number(run: &Run) -> u32 {
    let (picture, info) = frames::pull(run, "k");
    pictures::whole_number(&info, &picture)
}

const UPRIGHT: &str = "origin=top-left";
const SYSTEM: &str = "video/x-raw,format=BGRA";
const DEVICE: &str = "video/x-raw(memory:CUDAMemory),format=BGRA ! cudadownload ! video/x-raw,format=BGRA";

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn two_producers_under_one_name_are_warned_of_once() {
    let name = Name::new("rivals");
    let run = Run::playing(&receiving(&name, "", SYSTEM));
    let mut sender = Sender::start(&[]);
    sender.play(&sending(&name, ""));
    sender.send(1, 5, 60);
    run.wait_message("tdlink-connected");
    let warnings = || {
        let said = run.sayings();
        said.iter().filter(|text| text.contains("two producers")).count()
    };
    assert_eq!(warnings(), 0);
    // As a program does that counts for itself.
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).expect("the segment is there");
    for round in 0..3 {
        sender.send(10 + 10 * round, 5, 60);
        file.write_all_at(&2u32.to_le_bytes(), 16).expect("it can be written");
        poll("a warning that names both", PATIENCE, || (warnings() == 1).then_some(()));
    }
    assert_eq!(warnings(), 1, "said once");
    run.assert_no_error();
    run.stop();
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_sink_whose_count_somebody_else_writes_warns_once() {
    let name = Name::new("written");
    let run =
        Run::playing(&format!("videotestsrc is-live=true ! {CAPS} ! tdcudaipcsink name=k sync=false shm-name={name}"));
    poll("some frames", PATIENCE, || (run.stat("k", "frames") > 3).then_some(()));
    let warnings = || {
        let said = run.sayings();
        said.iter().filter(|text| text.contains("two producers")).count()
    };
    assert_eq!(warnings(), 0);
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).expect("the segment is there");
    for _ in 0..3 {
        let before = run.stat("k", "frames");
        file.write_all_at(&1_000_000u32.to_le_bytes(), 16).expect("it can be written");
        poll("frames after it", PATIENCE, || (run.stat("k", "frames") > before + 2).then_some(()));
    }
    poll("a warning", PATIENCE, || (warnings() > 0).then_some(()));
    assert_eq!(warnings(), 1, "said once");
    run.assert_no_error();
    run.stop();
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_ring_on_another_gpu_is_found_and_read_there() {
    let two = ("EMULATED_CUDA_DEVICES", "2");
    // The first GPU does not reach it.
    let out_of_reach = ("EMULATED_CUDA_FAIL", "cuIpcOpenMemHandle_v2:1:1");
    for capture in [SYSTEM, DEVICE] {
        let (name, folder) = (Name::new("gpus"), Folder::new("gpus"));
        let trace = folder.join("trace");
        let mut sender = Sender::start(&[two]);
        let mut reader = Sender::start(&[two, out_of_reach, (TRACE, trace.to_str().expect("a path of ours"))]);
        sender.play(&sending(&name, "cuda-device-id=1"));
        sender.send(1, 3, 60);
        reader.play(&receiving(&name, "", capture));
        assert_eq!(reader.order("verify", "whole"), "whole 3", "{capture}");
        sender.send(7, 1, 60);
        assert_eq!(reader.order("verify", "whole"), "whole 7", "{capture}");
        let calls = std::fs::read_to_string(&trace).expect("the driver writes what it is asked");
        let before = calls.lines().take_while(|call| !asks_the_second_gpu(call));
        let opened = before.filter(|call| call.contains("cuIpcOpenMemHandle")).map(|call| call.ends_with("= 0"));
        assert_eq!(
            opened.collect::<Vec<_>>(),
            [false],
            "{capture}: once on the first GPU, then on the second: {calls}"
        );
        reader.order("stop", "stopped");
        sender.order("stop", "stopped");
    }
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_gpu_that_was_chosen_and_does_not_reach_the_ring_is_waited_with() {
    let two = ("EMULATED_CUDA_DEVICES", "2");
    let (name, folder) = (Name::new("chosen"), Folder::new("chosen"));
    let trace = folder.join("trace");
    let mut sender = Sender::start(&[two]);
    let mut reader = Sender::start(&[
        two,
        ("EMULATED_CUDA_FAIL", "cuIpcOpenMemHandle_v2:1:1"),
        (TRACE, trace.to_str().expect("a path of ours")),
    ]);
    sender.play(&sending(&name, "cuda-device-id=1"));
    sender.send(1, 3, 60);
    // Never another GPU than this one; the second try succeeds.
    reader.play(&receiving(&name, "cuda-device-id=0", SYSTEM));
    assert_eq!(reader.order("verify", "whole"), "whole 3");
    let calls = std::fs::read_to_string(&trace).expect("the driver writes what it is asked");
    let mut tries = calls.lines().filter(|call| call.contains("cuIpcOpenMemHandle"));
    assert!(tries.next().is_some_and(|call| call.ends_with("= 1")), "the first try fails: {calls}");
    assert!(tries.next().is_some_and(|call| call.ends_with("= 0")), "the second does not: {calls}");
    let elsewhere: Vec<_> = calls.lines().filter(|call| asks_the_second_gpu(call)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    reader.order("stop", "stopped");
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_copy_on_the_device_that_was_overtaken_is_given_up() {
    let name = Name::new("overtaken");
    let mut sender = Sender::start(&[]);
    // The halves of its copies are read 35 and 70 ms after a frame came, and three frames of 60 a second are 50 ms.
    let mut reader = Sender::start(&[("EMULATED_CUDA_COPY_DELAY_US", "70000")]);
    reader.play(&receiving(&name, "origin=top-left", DEVICE));
    sender.play(&sending(&name, "origin=top-left slots=3"));
    let overwritten = sender.overtake(&mut reader);
    assert_ne!(overwritten, "stat 0", "the reader was too quick to be overtaken");
    reader.order("stop", "stopped");
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_frame_whose_copy_does_not_end_is_a_stall_and_holds_nobody() {
    for options in ["", "origin=top-left io-mode=import"] {
        let name = Name::new("hangs");
        let sink = options.split(' ').next().unwrap_or_default();
        let run = Run::playing(&receiving(&name, options, DEVICE));
        let mut sender = Sender::start(&[("EMULATED_CUDA_EVENT_DELAY_US", "60000000")]);
        sender.play(&uploading(&name, sink));
        sender.send(1, 1, 60);
        run.wait_message("tdlink-connected");
        run.wait_message("tdlink-stalled");
        // Longer than anybody's patience with one frame.
        assert_eq!(run.stat("s", "frames"), 0);
        std::thread::park_timeout(Duration::from_secs(3));
        assert_eq!(run.posted("tdlink-disconnected"), 0, "slow is not dead");
        run.assert_no_error();
        // Promptly.
        run.stop();
        run.play();
        run.wait_message("tdlink-connected");
        sender.peer.kill();
        run.wait_message("tdlink-disconnected");
        let mut sender = Sender::start(&[]);
        sender.play(&uploading(&name, sink));
        sender.send(9, 1, 60);
        // A death ends the waits for its events, and a last frame that is whole may still be shown.
        poll("its successor's picture", PATIENCE, || (number(&run) == 9).then_some(()));
        run.stop();
        sender.order("stop", "stopped");
    }
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_frame_that_comes_late_comes() {
    for options in ["", "origin=top-left io-mode=import"] {
        let name = Name::new("late");
        let sink = options.split(' ').next().unwrap_or_default();
        let run = Run::playing(&receiving(&name, options, DEVICE));
        let mut sender = Sender::start(&[("EMULATED_CUDA_EVENT_DELAY_US", "3000000")]);
        sender.play(&uploading(&name, sink));
        sender.send(5, 1, 60);
        assert_eq!(number(&run), 5);
        assert_eq!(run.posted("tdlink-disconnected"), 0, "slow is not dead");
        run.assert_no_error();
        run.stop();
        sender.order("stop", "stopped");
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn frames_come_as_what_black_was_shown_as_while_nobody_knew_the_wire() {
    let name = Name::new("shown");
    let caps = "video/x-raw(memory:CUDAMemory),width=64,height=48 ! cudadownload";
    let run = Run::playing(&receiving(&name, "while-waiting=black", caps));
    let luma = || {
        let sink = run.element("k").downcast::<gst_app::AppSink>().expect("it is an appsink");
        let sample = sink.try_pull_sample(gst::ClockTime::from_seconds(PATIENCE.as_secs())).expect("a frame comes");
        let info = gst_video::VideoInfo::from_caps(sample.caps().expect("a sample has caps")).expect("video");
        assert_eq!(info.format(), gst_video::VideoFormat::Nv12);
        let map = sample.buffer().expect("a sample has a buffer").map_readable().expect("the host can read it");
        map[..64].to_vec()
    };
    assert_eq!(luma(), [16; 64], "black");
    let mut sender = Sender::start(&[]);
    // By itself that is offered with 10 bits first.
    sender.play(&sending(&name, "sample-type=f16"));
    sender.send(0, 10, 60);
    run.wait_message("tdlink-connected");
    poll("a frame of the producer's", PATIENCE, || (luma() != [16; 64]).then_some(()));
    run.assert_no_error();
    run.stop();
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_driver_without_kernels_leaves_conversions_to_the_host() {
    let name = Name::new("no-kernels");
    let mut sender = Sender::start(&[]);
    sender.play(&uploading(&name, "sample-type=f16"));
    sender.send(3, 1, 60);
    let mut reader = Sender::start(&[("EMULATED_CUDA_VERSION", "11080")]);
    reader.play(&receiving(&name, "", "videoconvert ! video/x-raw,format=BGRA"));
    assert_eq!(reader.order("verify", "whole"), "whole 3");
    reader.order("stop", "stopped");
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_sink_whose_driver_has_no_kernels_converts_on_the_host() {
    let mut sender = Sender::start(&[("EMULATED_CUDA_VERSION", "11080")]);
    let cases = [(false, ""), (false, "sample-type=f16"), (true, ""), (true, "sample-type=f16"), (true, UPRIGHT)];
    for (case, (on_device, options)) in (0..).zip(cases) {
        let name = Name::new("no-kernels-sink");
        let origin = if options == UPRIGHT { UPRIGHT } else { "" };
        let run = Run::playing(&receiving(&name, origin, "videoconvert ! video/x-raw,format=BGRA"));
        sender.play(&if on_device { uploading(&name, options) } else { sending(&name, options) });
        sender.send(case, 1, 60);
        assert_eq!(number(&run), case, "{on_device} {options}");
        run.assert_no_error();
        run.stop();
        assert_eq!(sender.order("errors", "said").matches("Error").count(), 0);
        sender.order("stop", "stopped");
    }
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_driver_that_lacks_any_one_function_is_an_error_of_both_ends_that_names_it() {
    let name = Name::new("hidden");
    for symbol in tdlink_core::cuda::Driver::symbols() {
        let mut other = Sender::start(&[("EMULATED_CUDA_HIDE", symbol)]);
        for pipeline in [sending(&name, ""), receiving(&name, "", SYSTEM)] {
            other.play(&pipeline);
            let said = other.order("errors", "said");
            assert!(said.contains(&format!("has no {symbol};")), "{symbol}: {said}");
            other.order("stop", "stopped");
        }
        other.end();
    }
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_frame_is_copied_after_what_upstream_has_queued_in_a_stream_of_its_own() {
    if gst::version() < (1, 24, 0, 0) {
        eprintln!("not tested: memory of {} has no stream", gst::version_string());
        return;
    }
    let name = Name::new("foreign-stream");
    // Synchronising waits for nothing there: what cudaupload passes on is still on its way.
    let mut sender = Sender::start(&[("EMULATED_CUDA_BREAK_SYNC", "1"), ("EMULATED_CUDA_COPY_DELAY_US", "20000")]);
    let run = Run::playing(&receiving(&name, UPRIGHT, SYSTEM));
    // Its memory has the stream of the sink behind it. The ring that is read is another sink's.
    let first = uploading(&format!("{name}-first"), UPRIGHT);
    let second = format!("appsrc name=b format=time is-live=true ! tdcudaipcsink sync=false shm-name={name} {UPRIGHT}");
    sender.play(&format!("{first} {second}"));
    for sent in 1..=10 {
        sender.send(sent, 1, 60);
        assert_eq!(number(&run), sent);
    }
    run.assert_no_error();
    run.stop();
    sender.order("stop", "stopped");
}

/// What tests of whole pictures are worth: with either of the driver's mutants they fail.
#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_guards -- --ignored"]
fn a_source_whose_waits_were_none_would_be_caught() {
    const SLOW: (&str, &str) = ("EMULATED_CUDA_COPY_DELAY_US", "20000");
    for (mutant, right) in [("none", true), ("EMULATED_CUDA_BREAK_SYNC", false), ("EMULATED_CUDA_BREAK_EVENTS", false)]
    {
        let name = Name::new("mutant");
        let mut sender = Sender::start(&[SLOW]);
        let orders = [SLOW, (mutant, "1")];
        let mut reader = Sender::start(if right { &orders[..1] } else { &orders });
        reader.play(&receiving(&name, UPRIGHT, SYSTEM));
        sender.play(&uploading(&name, UPRIGHT));
        let whole = (1..=5).take_while(|number| {
            sender.send(*number, 1, 60);
            reader.peer.say("verify");
            // Over a picture that is not as it was made, the reader ends.
            reader.peer.try_hear("whole", PATIENCE) == Some(format!("whole {number}"))
        });
        assert_eq!(whole.count() == 5, right, "{mutant}");
        sender.order("stop", "stopped");
    }
}
