// SPDX-License-Identifier: MPL-2.0
//! Starts, ends, crashes and faults of the CUDA IPC elements: what is opened is closed, and nobody hangs.
//!
//! Like `cudaipc.rs` these want a CUDA driver. Where they count calls and order faults it must be the emulated one:
//! `cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored`.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::folder::Folder;
use common::name::Name;
use common::run::Run;
use common::sender::{ROLE, Sender};
use common::{PATIENCE, PROMPT, frames, pictures, poll};
use gst::prelude::*;
use gst_video::VideoInfo;

const CAPS: &str = "video/x-raw,format=BGRA,width=64,height=48,framerate=60/1";
const PICTURES: &str = "videotestsrc is-live=true ! video/x-raw,format=BGRA,width=64,height=48,framerate=60/1";

#[test]
#[ignore = "the other process of the tests here; does nothing by itself"]
fn the_other_process() {
    assert_eq!(ROLE, "the_other_process");
    common::sender::serve();
}

fn sending(name: &str) -> String {
    format!(
        "appsrc name=a format=time is-live=true do-timestamp=true caps={CAPS} ! cudaupload ! video/x-raw(memory:CUDAMemory) ! tdcudaipcsink name=k sync=false shm-name={name}"
    )
}

fn receiving(name: &str, options: &str) -> String {
    format!(
        "tdcudaipcsrc name=s shm-name={name} keepalive=0 {options} ! video/x-raw(memory:CUDAMemory),format=BGRA ! cudadownload ! appsink name=k sync=false max-buffers=4 drop=true"
    )
}

fn pull(run: &Run) -> gst::Sample {
    let sink = run.element("k").downcast::<gst_app::AppSink>().expect("it is an appsink");
    let sample = sink.try_pull_sample(gst::ClockTime::from_seconds(PATIENCE.as_secs()));
    sample.unwrap_or_else(|| panic!("no picture came; {:#?}", run.history()))
}

/// The number of the picture in a sample, all of which must be as it was made.
fn number(sample: &gst::Sample) -> u32 {
    let info = VideoInfo::from_caps(sample.caps().expect("a sample has caps")).expect("they are video caps");
    pictures::whole_number(&info, &frames::packed(sample.buffer().expect("a sample has a buffer"), &info))
}

/// How many files the other process has open. A pipeline that was let go of may live on for a moment, with the sockets of
/// its bus and the memory of its pools: the thread of GStreamer's that carried on its change of state holds it, too.
fn descriptors_of(other: &mut Sender) -> usize {
    let said = other.order("descriptors", "descriptors");
    said.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number")
}

/// What the emulated driver counted in a process that has ended.
fn counted(file: &std::path::Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(file).expect("the emulated driver wrote its counts");
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines.map(|(name, count)| (name.to_string(), count.parse().expect("a count"))).collect()
}

fn assert_nothing_left(calls: &BTreeMap<String, u64>) {
    let left: Vec<_> = calls.iter().filter(|(name, count)| name.starts_with("living:") && **count > 0).collect();
    assert!(left.is_empty(), "not given back: {left:?}; {calls:#?}");
    let of = |name: &str| calls.get(name).copied().unwrap_or(0);
    assert_eq!(of("cuIpcOpenMemHandle_v2"), of("cuIpcCloseMemHandle"), "every open has its close");
    assert_eq!(of("cuEventCreate") + of("cuIpcOpenEventHandle"), of("cuEventDestroy_v2"));
    // GStreamer's own plugin leaves some at its start, whatever we do.
    let current = (of("cuCtxPushCurrent_v2") + of("cuCtxCreate_v2")).saturating_sub(of("cuCtxPopCurrent_v2"));
    assert!(current < 20, "{current} contexts were not popped");
    assert_eq!(of("cuMemHostAlloc") + of("cuMemAllocHost_v2"), of("cuMemFreeHost"));
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn a_source_that_is_cycled_a_hundred_times_leaves_nothing() {
    let (name, folder) = (Name::new("cycle-src"), Folder::new("cycle-src"));
    let counts = folder.join("counts");
    let producer = Run::playing(&format!("{PICTURES} ! tdcudaipcsink name=k sync=false shm-name={name}"));
    let mut other = Sender::start(&[("EMULATED_CUDA_STATS", counts.to_str().expect("a path of ours"))]);
    let mut fewest = usize::MAX;
    for round in 0..100 {
        other.play(&receiving(&name, if round % 3 == 0 { "origin=top-left io-mode=import" } else { "" }));
        let taken = other.order("take", "taken");
        assert_eq!(taken, "taken one", "round {round}");
        other.order("stop", "stopped");
        if (1..=10).contains(&round) {
            fewest = fewest.min(descriptors_of(&mut other));
        }
    }
    poll("no file stays open", PATIENCE, || (descriptors_of(&mut other) <= fewest).then_some(()));
    producer.assert_no_error();
    other.end();
    assert_nothing_left(&counted(&counts));
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn a_sink_that_is_cycled_a_hundred_times_leaves_nothing() {
    let (name, folder) = (Name::new("cycle-sink"), Folder::new("cycle-sink"));
    let counts = folder.join("counts");
    // It follows every restart.
    let reader =
        Run::playing(&format!("tdcudaipcsrc name=s shm-name={name} keepalive=0 ! video/x-raw ! fakesink sync=false"));
    let mut other = Sender::start(&[("EMULATED_CUDA_STATS", counts.to_str().expect("a path of ours"))]);
    let mut fewest = usize::MAX;
    for round in 0..100 {
        other.play(&sending(&name));
        other.send(round, 2, 200);
        other.order("stop", "stopped");
        assert!(!name.exists(), "the name goes with the sink");
        if (1..=10).contains(&round) {
            fewest = fewest.min(descriptors_of(&mut other));
        }
    }
    poll("no file stays open", PATIENCE, || (descriptors_of(&mut other) <= fewest).then_some(()));
    assert!(reader.stat("s", "reattached") > 50, "the reader came back {} times", reader.stat("s", "reattached"));
    reader.assert_no_error();
    reader.stop();
    other.end();
    assert_nothing_left(&counted(&counts));
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn gst_launch_leaves_no_object_alive() {
    let name = Name::new("leaks");
    let both = "origin=top-left";
    let producer = Run::playing(&format!("{PICTURES} ! tdcudaipcsink name=k sync=false shm-name={name} {both}"));
    producer.wait_message("tdlink-published");
    let memory = "video/x-raw(memory:CUDAMemory)";
    let source = format!("tdcudaipcsrc num-buffers=20 shm-name={name}");
    for pipeline in [
        format!("{source} ! {memory} ! cudadownload ! video/x-raw ! fakesink"),
        format!("{source} {both} io-mode=import ! {memory} ! cudadownload ! video/x-raw ! fakesink"),
        format!("{source} ! video/x-raw ! fakesink"),
        PICTURES.replace("is-live=true", "num-buffers=20")
            + &format!(" ! cudaupload ! {memory} ! tdcudaipcsink sync=false shm-name={name}-out"),
    ] {
        let mut command = std::process::Command::new("gst-launch-1.0");
        command.envs([("GST_TRACERS", "leaks"), ("GST_DEBUG", "GST_TRACER:7"), ("GST_DEBUG_NO_COLOR", "1")]);
        command.arg(common::peer::load_plugin()).args(pipeline.split_whitespace());
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("GST_TRACER"), "{pipeline}: {said}");
        let alive: Vec<_> = said.lines().filter(|line| line.contains("object-alive, type-name=(string)")).collect();
        assert!(alive.iter().all(|line| line.contains("(string)%")), "{pipeline}: {alive:#?}");
    }
    producer.stop();
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn nothing_is_opened_or_made_for_a_frame_after_the_first() {
    let (name, folder) = (Name::new("per-frame"), Folder::new("per-frame"));
    let of = |frames: u32| {
        let (sink, source) = (folder.join(format!("sink-{frames}")), folder.join(format!("source-{frames}")));
        let path = |path: &std::path::Path| path.to_str().expect("a path of ours").to_string();
        let mut sender = Sender::start(&[("EMULATED_CUDA_STATS", &path(&sink))]);
        let mut reader = Sender::start(&[("EMULATED_CUDA_STATS", &path(&source))]);
        reader.play(&receiving(&name, "").replace("max-buffers=4 drop=true", ""));
        sender.play(&sending(&name));
        sender.send(0, frames, 60);
        for _ in 0..frames / 4 {
            assert_eq!(reader.order("take", "taken"), "taken one");
        }
        for mut other in [reader, sender] {
            other.order("stop", "stopped");
            other.end();
        }
        [counted(&sink), counted(&source)]
    };
    let (few, many) = (of(8), of(80));
    if gst::version() < (1, 24, 0, 0) {
        // Memory has no stream there: a buffer goes back to its pool when the sink returns, so it must have been read by
        // then. Once a frame for that, and once for the element that uploads.
        let waits = |counts: &[BTreeMap<String, u64>; 2]| counts[0].get("cuStreamSynchronize").copied().unwrap_or(0);
        assert!(waits(&many) - waits(&few) >= 2 * 72, "the sink returned before its copies were done");
    }
    // Memory of GStreamer's own pools may come later than the first frame, but not with every frame.
    let once = [
        "cuIpcGetMemHandle",
        "cuIpcGetEventHandle",
        "cuIpcOpenMemHandle_v2",
        "cuIpcOpenEventHandle",
        "cuIpcCloseMemHandle",
        "cuEventCreate",
        "cuStreamCreate",
        "cuMemAlloc_v2",
        "cuMemHostAlloc",
        "cuModuleLoadData",
        "cuCtxCreate_v2",
    ];
    for (end, (few, many)) in ["sink", "source"].iter().zip(few.iter().zip(&many)) {
        for call in once {
            assert_eq!(few.get(call), many.get(call), "{call} of the {end}: as often for 8 frames as for 80");
        }
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn a_producer_that_is_killed_is_followed_by_the_next() {
    kill("killed", 25);
}

#[test]
#[ignore = "needs the emulated CUDA driver, and a minute: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn a_hundred_and_fifty_producers_are_killed_one_after_the_other() {
    kill("killed-often", 150);
}

fn kill(label: &str, rounds: u32) {
    let name = Name::new(label);
    let run = Run::playing(&receiving(&name, ""));
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..rounds {
        let mut sender = Sender::start(&[("EMULATED_CUDA_COPY_DELAY_US", "1000")]);
        sender.play(&sending(&name));
        sender.peer.say(&format!("send {} 100000 200", round * 1000));
        let came = poll("a picture of this producer", PATIENCE, || {
            let came = number(&pull(&run));
            (came / 1000 == round).then_some(came)
        });
        // Somewhere in a frame.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::park_timeout(Duration::from_micros(random % 20_000));
        sender.peer.kill();
        assert!(came >= round * 1000);
        run.assert_no_error();
    }
    let sender = &mut Sender::start(&[]);
    sender.play(&sending(&name));
    sender.peer.say("send 500000 20 60");
    poll("the last producer's picture", PATIENCE, || (number(&pull(&run)) >= 500_000).then_some(()));
    sender.peer.hear("sent all", PATIENCE);
    sender.order("stop", "stopped");
    run.stop();
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn readers_that_are_killed_do_not_disturb_the_producer() {
    let name = Name::new("readers");
    let run = Run::playing(&format!("{PICTURES} ! tdcudaipcsink name=k sync=false shm-name={name}"));
    for round in 0..15 {
        let mut reader = Sender::start(&[]);
        reader.play(&receiving(&name, if round % 2 == 0 { "" } else { "origin=top-left io-mode=import" }));
        assert_eq!(reader.order("take", "taken"), "taken one");
        let before = run.stat("k", "frames");
        reader.peer.kill();
        poll("frames after the kill", PATIENCE, || (run.stat("k", "frames") > before + 3).then_some(()));
        run.assert_no_error();
    }
    run.stop();
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn buffers_that_are_held_outlive_their_producer() {
    for (label, options, copied) in [("held-copy", "", true), ("held-import", "origin=top-left io-mode=import", false)]
    {
        let name = Name::new(label);
        let run = Run::playing(&format!(
            "tdcudaipcsrc name=s shm-name={name} keepalive=0 {options} ! video/x-raw(memory:CUDAMemory),format=BGRA ! appsink name=k sync=false max-buffers=2"
        ));
        let mut sender = Sender::start(&[]);
        sender.play(
            &sending(&name).replace("sync=false", if copied { "sync=false" } else { "sync=false origin=top-left" }),
        );
        sender.peer.say("send 1 100000 60");
        let held = [pull(&run), pull(&run), pull(&run)];
        sender.peer.kill();
        run.wait_message("tdlink-disconnected");
        for sample in &held {
            if copied || gst::version() < (1, 24, 0, 0) {
                number(sample);
            } else {
                // What stands in it is nobody's promise; that it can be looked at is.
                let map = sample.buffer().expect("a sample has a buffer").map_readable().expect("it can be mapped");
                assert_eq!(map.len() % (64 * 4), 0);
            }
        }
        run.assert_no_error();
        run.stop();
        drop(held);
        // The next producer takes what the dead one left.
        let mut sender = Sender::start(&[]);
        sender.play(&sending(&name));
        sender.send(1, 1, 60);
        sender.order("stop", "stopped");
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn a_paused_producer_is_a_stall_and_its_last_picture_is_repeated() {
    let name = Name::new("paused");
    for options in ["", "origin=top-left io-mode=import"] {
        let sink = options.split(' ').next().unwrap_or_default();
        let run = Run::playing(&receiving(&name, options).replace("keepalive=0", "keepalive=100"));
        let mut sender = Sender::start(&[]);
        sender.play(&format!("{} {sink}", sending(&name)));
        sender.send(7, 5, 60);
        poll("the last picture", PATIENCE, || (number(&pull(&run)) == 11).then_some(()));
        run.wait_message("tdlink-stalled");
        for _ in 0..3 {
            let repeat = pull(&run);
            assert!(repeat.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::GAP)));
            assert_eq!(number(&repeat), 11, "the same picture");
        }
        assert_eq!(run.posted("tdlink-disconnected"), 0, "silence is no disconnect");
        sender.send(20, 3, 60);
        run.wait_message("tdlink-resumed");
        sender.order("stop", "stopped");
        run.wait_message("tdlink-disconnected");
        run.assert_no_error();
        run.stop();
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn the_end_of_a_producer_ends_a_source_that_was_told_so() {
    let name = Name::new("end");
    let run = Run::playing(&format!("tdcudaipcsrc name=s shm-name={name} on-disconnect=eos ! fakesink sync=false"));
    let mut sender = Sender::start(&[]);
    sender.play(&sending(&name));
    sender.send(1, 3, 60);
    poll("a picture", PATIENCE, || (run.stat("s", "frames") > 0).then_some(()));
    sender.order("stop", "stopped");
    run.wait_eos(PROMPT);
    run.stop();
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn the_end_of_a_stream_is_told_while_its_sink_still_plays() {
    let name = Name::new("eos");
    let run = Run::playing(&format!("tdcudaipcsrc name=s shm-name={name} on-disconnect=eos ! fakesink sync=false"));
    let mut sender = Sender::start(&[]);
    sender.play(&sending(&name));
    sender.send(1, 3, 60);
    poll("a picture", PATIENCE, || (run.stat("s", "frames") > 0).then_some(()));
    sender.order("eos", "ended");
    run.wait_eos(PROMPT);
    assert!(name.exists(), "the sink is still there");
    run.stop();
    sender.order("stop", "stopped");
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn a_second_producer_is_refused_and_one_that_is_dead_is_not() {
    let name = Name::new("second");
    let mut first = Sender::start(&[]);
    first.play(&sending(&name));
    first.peer.say("send 1 100000 60");
    first.peer.hear("frame 5 ", PATIENCE);
    let second = Run::playing(&format!("{PICTURES} ! tdcudaipcsink name=k shm-name={name}"));
    let error = second.wait_error(PATIENCE);
    assert!(error.contains("takeover") && error.contains(&*name), "{error}");
    second.stop();
    first.peer.kill();
    let third = Run::playing(&format!("{PICTURES} ! tdcudaipcsink name=k shm-name={name}"));
    third.wait_message("tdlink-published");
    third.assert_no_error();
    third.stop();
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn a_reader_whose_copies_are_slower_than_the_ring_gives_up_frames_and_pushes_none_that_is_torn() {
    let device = "video/x-raw(memory:CUDAMemory),format=BGRA";
    // On the host, on the device, and from another context of the process over the host to the device.
    // (GStreamer's own element brings a context of its own, where ours would take that which has the ring open.)
    let download = format!("{device} ! cudadownload");
    for (capture, elsewhere) in [("video/x-raw,format=BGRA", false), (device, false), (&download, true)] {
        let name = Name::new("slow");
        let mut sender = Sender::start(&[]);
        sender.play(&sending(&name).replace("sync=false", "sync=false origin=top-left slots=3"));
        // The halves of its copies are read 35 and 70 ms after a frame came, and three frames of 60 a second are 50 ms.
        let folder = Folder::new("slow");
        let counts = folder.join("counts");
        let counting = ("EMULATED_CUDA_STATS", counts.to_str().expect("a path of ours"));
        let mut reader = Sender::start(&[("EMULATED_CUDA_COPY_DELAY_US", "70000"), counting]);
        if elsewhere {
            sender.send(0, 1, 60);
            reader.order(&format!("also tdcudaipcsrc shm-name={name} ! {device} ! fakesink sync=false"), "playing too");
        }
        reader.play(&format!(
            "tdcudaipcsrc name=s shm-name={name} keepalive=0 origin=top-left ! {capture} ! appsink name=k sync=false max-buffers=4 drop=true"
        ));
        let overwritten = sender.overtake(&mut reader);
        assert_ne!(overwritten, "stat 0", "{capture}: the reader was too quick to be overtaken");
        let said = reader.order("errors", "said ");
        assert_eq!(said.contains("another CUDA context"), elsewhere, "{said}");
        reader.order("stop", "stopped");
        sender.order("stop", "stopped");
        reader.end();
        let pinned = counted(&counts).get("cuMemHostAlloc").is_some_and(|calls| *calls > 0);
        assert_eq!(
            pinned,
            elsewhere || capture.starts_with("video/x-raw,"),
            "{capture}: memory for the way over the host"
        );
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn black_frames_come_before_the_first_where_the_size_is_known() {
    let name = Name::new("black");
    for memory in ["", "(memory:CUDAMemory)"] {
        let run = Run::playing(&format!(
            "tdcudaipcsrc name=s shm-name={name} while-waiting=black ! video/x-raw{memory},format=BGRA,width=64,height=48 ! appsink name=k sync=false"
        ));
        let sample = pull(&run);
        let map = sample.buffer().expect("a sample has a buffer").map_readable().expect("it can be mapped");
        assert!(map.chunks(4).take(64).all(|pixel| pixel == [0, 0, 0, 255]), "{memory}: black and opaque");
        drop(map);
        let mut sender = Sender::start(&[]);
        sender.play(&sending(&name));
        sender.send(5, 3, 60);
        poll("a picture", PATIENCE, || {
            let sample = pull(&run);
            let gap = sample.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::GAP));
            let info = VideoInfo::from_caps(sample.caps()?).ok()?;
            let picture = frames::packed(sample.buffer()?, &info);
            (!gap && pictures::number_of(&picture) == 7).then(|| pictures::whole_number(&info, &picture))
        });
        run.assert_no_error();
        run.stop();
        sender.order("stop", "stopped");
    }
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn a_pipeline_has_one_context_and_an_applications_own_is_taken() {
    let name = Name::new("context");
    let context_of = |run: &Run, element: &str| {
        let mut query = gst::query::Context::new("gst.cuda.context");
        assert!(run.element(element).pads()[0].query(&mut query), "{element} answers");
        let context = query.context_owned().expect("the answer has a context");
        context.structure().get::<gst::Object>("gst.cuda.context").expect("it is there")
    };
    let first = Run::playing(&format!(
        "{PICTURES} ! cudaupload name=u ! video/x-raw(memory:CUDAMemory) ! tdcudaipcsink name=k sync=false shm-name={name}"
    ));
    first.wait_message("tdlink-published");
    let theirs = context_of(&first, "k");
    assert_eq!(context_of(&first, "u"), theirs, "neighbours share one");
    // Whoever asks the application gets this one; its handler runs in the middle of our asking.
    let pipeline = Run::new(&format!("{PICTURES} ! tdcudaipcsink name=k sync=false shm-name={name}-2"));
    let mut query = gst::query::Context::new("gst.cuda.context");
    assert!(first.element("k").pads()[0].query(&mut query));
    let shared = query.context_owned().expect("a context");
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = asked.clone();
    pipeline.pipeline.bus().expect("a bus").set_sync_handler(move |_, message| {
        if let gst::MessageView::NeedContext(need) = message.view()
            && need.context_type() == "gst.cuda.context"
        {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let element = message.src().and_then(|src| src.clone().downcast::<gst::Element>().ok());
            element.expect("an element asks").set_context(&shared);
        }
        gst::BusSyncReply::Pass
    });
    pipeline.play();
    pipeline.wait_message("tdlink-published");
    assert!(asked.load(std::sync::atomic::Ordering::SeqCst) > 0, "the application was asked");
    assert_eq!(context_of(&pipeline, "k"), theirs, "its answer is taken");
    pipeline.assert_no_error();
    pipeline.stop();
    first.stop();
}

/// Faults that are ordered from the emulated driver, in a process of their own, and what that process then says.
fn fault(order: (&str, &str), pipeline: &str) -> String {
    let mut other = Sender::start(&[order]);
    other.play(pipeline);
    poll("an error", PATIENCE, || {
        let said = other.order("errors", "said");
        let words = ["Error", "GPU", "driver", "cuModuleLoadData"];
        words.iter().any(|word| said.contains(word)).then_some(said)
    })
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn a_fault_of_the_driver_is_one_clear_error() {
    let name = Name::new("fault");
    let sink = format!("{PICTURES} ! tdcudaipcsink name=k sync=false shm-name={name}");
    let said = fault(("EMULATED_CUDA_FAIL", "cuInit:1+:100"), &sink);
    assert!(said.contains("finds no GPU"), "{said}");
    let said = fault(("EMULATED_CUDA_HIDE", "cuIpcOpenEventHandle"), &sink);
    assert!(said.contains("cuIpcOpenEventHandle"), "{said}");
    let said = fault(("EMULATED_CUDA_LOSE", "cuEventRecord:9:719"), &sink);
    assert!(said.contains("the GPU was reset; this process must restart"), "{said}");
    let said = fault(("EMULATED_CUDA_FAIL", "cuMemAlloc_v2:2:2"), &sink);
    assert!(said.contains("bytes free") && said.contains("fewer slots"), "{said}");
    let said = fault(("EMULATED_CUDA_DEVICES", "1"), &format!("{sink} cuda-device-id=7"));
    assert!(said.contains("device 7"), "{said}");

    let producer = Run::playing(&sink);
    let source = receiving(&name, "");
    let said = fault(("EMULATED_CUDA_LOSE", "cuEventQuery:5:719"), &source);
    assert!(said.contains("the GPU was reset; this process must restart"), "{said}");
    assert_eq!(said.matches("the GPU was reset").count(), 1, "said once: {said}");
    // Kernels that the driver does not compile. The rows have to be turned.
    for (code, word) in [("221", "(221)"), ("222", "(222)"), ("2", "bytes free")] {
        let said = fault(("EMULATED_CUDA_FAIL", &format!("cuModuleLoadData:1+:{code}")), &source);
        assert!(said.contains(word), "{said}");
        assert_eq!(said.matches(word).count(), 1, "said once: {said}");
    }
    producer.stop();
}

/// A ring whose events lead nowhere, though its memory does not, is not opened and closed all the time.
#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn an_event_that_does_not_open_is_tried_again_once_a_second() {
    let (name, folder) = (Name::new("dead-event"), Folder::new("dead-event"));
    let counts = folder.join("counts");
    let producer = Run::playing(&format!("{PICTURES} ! tdcudaipcsink name=k sync=false shm-name={name}"));
    producer.wait_message("tdlink-published");
    for device in ["", "cuda-device-id=0"] {
        let mut reader = Sender::start(&[
            ("EMULATED_CUDA_FAIL", "cuIpcOpenEventHandle:1+:400"),
            ("EMULATED_CUDA_STATS", counts.to_str().expect("a path of ours")),
        ]);
        let began = Instant::now();
        reader.play(&receiving(&name, device));
        std::thread::park_timeout(Duration::from_millis(2500));
        reader.order("stop", "stopped");
        let rounds = began.elapsed().as_secs() + 1;
        reader.end();
        let opened = counted(&counts).get("cuIpcOpenMemHandle_v2").copied().unwrap_or(0);
        assert!((1..=rounds).contains(&opened), "{opened} opens where {rounds} are the most");
    }
    producer.assert_no_error();
    producer.stop();
}

#[test]
#[ignore = "needs a CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn a_sink_and_a_source_in_one_process_are_told_so() {
    let name = Name::new("loop");
    let producer = Run::playing(&format!("{PICTURES} ! tdcudaipcsink name=k sync=false shm-name={name}"));
    producer.wait_message("tdlink-published");
    let reader = Run::playing(&receiving(&name, ""));
    let error = reader.wait_error(PATIENCE);
    assert!(error.contains("this very process"), "{error}");
    reader.stop();
    producer.assert_no_error();
    producer.stop();
}

#[test]
#[ignore = "needs the emulated CUDA driver: cargo xtask emulated -- cargo test --test cudaipc_life -- --ignored"]
fn memory_of_a_new_size_that_does_not_open_is_no_reason_to_show_the_old() {
    for options in ["", "origin=top-left io-mode=import"] {
        let name = Name::new("unopened");
        let sink = options.split(' ').next().unwrap_or_default();
        let mut sender = Sender::start(&[]);
        // The first slot of the second generation; when it is tried again it opens.
        let mut reader = Sender::start(&[("EMULATED_CUDA_FAIL", "cuIpcOpenMemHandle_v2:4:400")]);
        sender.play(&format!("{} {sink}", sending(&name)));
        sender.send(1, 3, 60);
        reader.play(&receiving(&name, options));
        assert_eq!(reader.order("verify", "whole"), "whole 3");
        sender.order(&format!("caps {}", CAPS.replace("64", "32")), "caps set");
        for number in 100..103 {
            sender.send(number, 1, 60);
            let came = reader.order("verify", "whole");
            assert_eq!(came, format!("whole {number}"), "what was sent, not what stands in old memory");
        }
        assert_eq!(reader.order("stat-of-source reattached", "stat"), "stat 1");
        reader.order("stop", "stopped");
        sender.order("stop", "stopped");
    }
}
