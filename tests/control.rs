// SPDX-License-Identifier: MPL-2.0
//! The control segment and the ring, from element to element: caps, times, zero copy, delivery, restarts.
#![cfg(any(target_os = "linux", windows))]

mod common;

#[cfg(target_os = "linux")]
use std::time::Duration;

use common::frames::{buffer, number, packed, pull};
use common::name::Name;
use common::peer::Peer;
use common::recorder::Recorder;
#[cfg(target_os = "linux")]
use common::ring::is_shared;
use common::ring::{fed, fresh, info, numbered, source};
use common::run::Run;
use common::{PATIENCE, PROMPT, poll, prompt};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

const CAPS: &str = "video/x-raw,format=RGBA,width=64,height=64,framerate=60/1";

#[test]
fn a_source_needs_the_name_and_nothing_else() {
    for slots in [1, 4] {
        let name = Name::new(&format!("alone{slots}"));
        let caps =
            "video/x-raw,format=BGRA,width=333,height=77,framerate=25/1,pixel-aspect-ratio=4/3,colorimetry=2:0:13:7";
        let mut sink =
            Peer::launch(&format!("videotestsrc is-live=true ! {caps} ! tdshmsink shm-name={name} slots={slots}"));
        let (run, recorder) = source(&format!("shm-name={name}"));
        let connected = run.wait_message("tdlink-connected");
        assert_eq!(connected.get::<u32>("pid"), Ok(sink.pid()), "{connected}");
        recorder.wait_until("25 frames", PATIENCE, |all| all.len() >= 25);
        let got = recorder.caps()[0].clone();
        let found = VideoInfo::from_caps(&got).expect("video caps");
        // Raw bytes are RGBA on the wire whatever came in, a ring keeps the caps' own.
        let format = if slots == 1 { VideoFormat::Rgba } else { VideoFormat::Bgra };
        assert_eq!((found.format(), found.width(), found.height()), (format, 333, 77), "{got}");
        assert_eq!((found.fps(), found.par()), (gst::Fraction::new(25, 1), gst::Fraction::new(4, 3)), "{got}");
        assert_eq!(found.colorimetry().primaries(), gst_video::VideoColorPrimaries::Bt2020, "{got}");
        assert_eq!(found.colorimetry().range(), gst_video::VideoColorRange::Range16_235, "{got}");
        // The producer's own times: its frames are 40 ms apart to the nanosecond, whenever they arrive.
        let pictures = recorder.pictures();
        let steps: Vec<u64> = pictures.windows(2).map(|pair| (pair[1].pts - pair[0].pts).nseconds()).collect();
        let even = steps.iter().filter(|step| step.is_multiple_of(40_000_000)).count();
        assert!(even * 10 >= steps.len() * 8, "{steps:?}");
        for picture in &pictures {
            let late = picture.running.expect("it plays").saturating_sub(picture.pts);
            assert!(late < gst::ClockTime::from_mseconds(500), "{late} after its time");
        }
        run.assert_no_error();
        run.stop();
        sink.interrupt();
        sink.wait(PATIENCE);
    }
}

#[test]
fn frames_cross_pixel_for_pixel() {
    use VideoFormat::{Bgr, Bgra, Bgrx, Gray8, Gray16Le, Rgb, Rgba, Rgba64Le, Rgbx};
    for format in [Rgba, Bgra, Rgbx, Bgrx, Rgb, Bgr, Gray8, Rgba64Le, Gray16Le] {
        for (width, height) in [(1, 1), (3, 5), (17, 5), (1921, 1081)] {
            for options in ["slots=1", "slots=1 origin=top-left", "slots=3", "slots=4 origin=bottom-left"] {
                let name = Name::new("exact");
                let info = info(format, width, height);
                let (sink, feed) = fed(&name, &info, options);
                let bytes = (width * height) as usize * info.comp_pstride(0) as usize;
                let mut frame: Vec<u8> = (0..bytes).map(|i| (i * 31 + i / 251 + height as usize) as u8).collect();
                let padded = matches!(format, Rgbx | Bgrx);
                if padded {
                    frame.chunks_mut(4).for_each(|pixel| pixel[3] = 255);
                }
                feed.push_buffer(buffer(&info, &frame)).expect("it is taken");
                let run = Run::playing(&format!(
                    "tdshmsrc name=s shm-name={name} ! video/x-raw,format={format} ! appsink name=p sync=false"
                ));
                let (got, _) = pull(&run, "p");
                assert!(got == frame, "{format} {width}×{height} {options}");
                run.stop();
                sink.stop();
            }
        }
    }
}

#[test]
fn nothing_is_copied_from_a_source_that_takes_our_pool_to_a_sink_that_lets_go() {
    let name = Name::new("zero");
    let sink = Run::playing(&format!(
        "videotestsrc is-live=true pattern=ball ! {CAPS} ! tdshmsink name=k shm-name={name} slots=4"
    ));
    sink.wait_message("tdlink-published");
    let (run, recorder) = source(&format!("shm-name={name} keepalive=0"));
    let pictures = recorder.wait_for(30, PATIENCE);
    let mut places: Vec<usize> = pictures[5..].iter().map(|picture| picture.address).collect();
    #[cfg(target_os = "linux")]
    for &place in &places {
        assert!(is_shared(place, &format!("{name}.tdlink.")), "{place:#x} is in the ring");
    }
    places.sort_unstable();
    places.dedup();
    assert!(places.len() <= 4, "{} places", places.len());
    assert_eq!(sink.element("k").property::<u32>("num-clients"), 1);
    run.stop();
    sink.stop();
    let frames = sink.stat("k", "frames");
    let zero = sink.stat("k", "frames-zero-copy");
    assert!(frames >= 30 && zero == frames, "{zero} of {frames} without a copy");
    assert_eq!(sink.stat("k", "frames-copied"), 0);
}

#[test]
fn io_mode_copy_pushes_private_memory_and_import_says_why_it_copies() {
    let name = Name::new("iomode");
    let info = info(VideoFormat::Rgba, 64, 64);
    let (sink, feed) = fed(&name, &info, "slots=4");
    feed.push_buffer(numbered(&info, 7)).expect("it is taken");
    let (run, recorder) = source(&format!("shm-name={name} io-mode=copy"));
    let picture = recorder.wait_for(1, PATIENCE)[0].clone();
    assert_eq!(picture.number(), 7);
    #[cfg(target_os = "linux")]
    assert!(!is_shared(picture.address, &name));
    run.stop();
    sink.stop();

    let (sink, feed) = fed(&name, &info, "slots=1");
    feed.push_buffer(numbered(&info, 8)).expect("it is taken");
    let (run, recorder) = source(&format!("shm-name={name} io-mode=import"));
    assert_eq!(recorder.wait_for(1, PATIENCE)[0].number(), 8);
    assert!(run.sayings().iter().any(|said| said.contains("io-mode=import") && said.contains("one slot")));
    run.stop();
    sink.stop();
}

/// Buffers that an element upstream keeps, shares or pushes again are never written while somebody reads them.
#[test]
fn what_upstream_keeps_is_not_written() {
    for upstream in [
        "videotestsrc num-buffers=1 pattern=smpte ! video/x-raw,format=RGBA,width=64,height=64 ! imagefreeze is-live=true ! video/x-raw,framerate=60/1",
        "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=RGBA,width=64,height=64,framerate=20/1 ! videorate ! video/x-raw,framerate=60/1",
        "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=RGBA,width=64,height=64,framerate=60/1 ! tee name=t t. ! queue max-size-buffers=20 ! fakesink sync=true ts-offset=200000000 async=false t. ! queue",
    ] {
        let name = Name::new("kept");
        let sink = Run::playing(&format!("{upstream} ! tdshmsink name=k shm-name={name} slots=4"));
        sink.wait_message("tdlink-published");
        let (run, recorder) = source(&format!("shm-name={name}"));
        let pictures = recorder.wait_for(40, PATIENCE);
        // SMPTE bars but for the noise in the corner: the first rows of every frame are the same.
        let rows = 64 * 4 * 32;
        for (n, picture) in pictures.iter().enumerate() {
            assert!(picture.bytes[..rows] == pictures[0].bytes[..rows], "frame {n} of {upstream}");
        }
        sink.assert_no_error();
        run.stop();
        sink.stop();
    }
}

#[test]
fn lossless_delivers_every_frame_to_readers_of_unequal_speed() {
    let name = Name::new("lossless");
    let info = info(VideoFormat::Rgba, 64, 64);
    let (sink, feed) = fed(&name, &info, "slots=4 delivery=lossless");
    feed.set_max_buffers(2);
    feed.set_property("block", true);
    feed.push_buffer(numbered(&info, 0)).expect("it is taken");
    sink.wait_message("tdlink-published");
    let fast = source(&format!("shm-name={name}"));
    let slow = Run::new(&format!(
        "tdshmsrc name=s shm-name={name} ! identity sleep-time=3000 ! fakesink sync=false async=false"
    ));
    let seen = Recorder::source(&slow, "s");
    slow.play();
    fast.1.wait_for(1, PATIENCE);
    seen.wait_for(1, PATIENCE);
    let last = 400;
    for n in 1..=last {
        feed.push_buffer(numbered(&info, n)).expect("it is taken");
    }
    for recorder in [&fast.1, &seen] {
        recorder
            .wait_until("the last frame", PATIENCE, |all| all.last().is_some_and(|picture| picture.number() == last));
        assert_eq!(fresh(recorder), (0..=last).collect::<Vec<_>>());
    }
    assert_eq!(sink.stat("k", "dropped"), 0);
    assert_eq!(sink.element("k").property::<u32>("num-clients"), 2);
    fast.0.stop();
    slow.stop();
    sink.stop();
}

#[cfg(target_os = "linux")] // stops a process, or asks for an inode
#[test]
fn a_lossless_sink_goes_on_without_a_reader_that_stands_still_and_says_so() {
    let name = Name::new("still");
    let mut sink = Peer::launch(&format!(
        "videotestsrc is-live=true ! {CAPS} ! tdshmsink shm-name={name} slots=4 delivery=lossless lossless-timeout=300"
    ));
    sink.hear("tdlink-published", PATIENCE);
    let mut stopped = Peer::launch(&format!("tdshmsrc shm-name={name} ! fakesink"));
    stopped.hear("tdlink-connected", PATIENCE);
    let (run, recorder) = source(&format!("shm-name={name}"));
    recorder.wait_for(5, PATIENCE);
    stopped.signal("-STOP");
    sink.hear("lossless-timeout", PATIENCE);
    recorder.wait_for(recorder.count() + 30, PATIENCE);
    stopped.signal("-CONT");
    run.assert_no_error();
    stopped.interrupt();
    stopped.wait(PATIENCE);
    run.stop();
    sink.interrupt();
    sink.wait(PATIENCE);
}

#[cfg(target_os = "linux")] // stops a process, or asks for an inode
#[test]
fn a_stopped_reader_neither_blocks_the_sink_nor_the_others() {
    let name = Name::new("paused");
    let info = info(VideoFormat::Rgba, 64, 64);
    let (sink, feed) = fed(&name, &info, "slots=4");
    feed.push_buffer(numbered(&info, 0)).expect("it is taken");
    sink.wait_message("tdlink-published");
    let mut stopped = Peer::launch(&format!("tdshmsrc shm-name={name} ! fakesink"));
    stopped.hear("tdlink-connected", PATIENCE);
    let (run, recorder) = source(&format!("shm-name={name}"));
    recorder.wait_for(1, PATIENCE);
    stopped.signal("-STOP");
    let last = 500;
    for n in 1..=last {
        feed.push_buffer(numbered(&info, n)).expect("it is taken");
    }
    recorder.wait_until("the last frame", PATIENCE, |all| all.last().is_some_and(|picture| picture.number() == last));
    let numbers = fresh(&recorder);
    assert!(numbers.is_sorted(), "{numbers:?}");
    stopped.kill();
    feed.push_buffer(numbered(&info, last + 1)).expect("it is taken");
    recorder.wait_until("one more", PATIENCE, |all| all.last().is_some_and(|picture| picture.number() == last + 1));
    run.stop();
    sink.stop();
}

#[test]
fn what_downstream_keeps_beyond_its_leases_is_copied_and_stays_as_it_is() {
    let name = Name::new("hoard");
    let info = info(VideoFormat::Rgba, 64, 64);
    let (sink, feed) = fed(&name, &info, "slots=4");
    let run = Run::playing(&format!("tdshmsrc name=s shm-name={name} ! appsink name=p sync=false max-buffers=40"));
    let kept = run.element("p").downcast::<gst_app::AppSink>().expect("it is an appsink");
    let mut samples = Vec::new();
    for n in 0..12 {
        feed.push_buffer(numbered(&info, n)).expect("it is taken");
        let sample = kept.try_pull_sample(gst::ClockTime::from_seconds(20)).expect("a frame comes");
        samples.push(sample);
    }
    #[cfg(target_os = "linux")]
    {
        let address = |sample: &gst::Sample| {
            let map = sample.buffer().expect("a sample has a buffer").map_readable().expect("it can be read");
            map.as_ptr().addr()
        };
        let leased = samples.iter().filter(|sample| is_shared(address(sample), &name)).count();
        assert!((1..=2).contains(&leased), "{leased} of 12 frames are slots");
    }
    run.stop();
    sink.stop();
    // The last reference keeps the memory, whoever has gone.
    for (n, sample) in (0..).zip(&samples) {
        assert_eq!(number(&packed(sample.buffer().expect("a sample has a buffer"), &info)), n);
    }
    assert!(!name.exists() && !name.leftovers().is_empty(), "{:?}", name.leftovers());
    drop(samples);
    assert!(name.leftovers().is_empty(), "{:?}", name.leftovers());
}

#[test]
fn other_caps_reach_the_source_at_once_and_no_frame_is_of_both() {
    for options in ["slots=4", "slots=4 delivery=lossless", "slots=1"] {
        let name = Name::new("respec");
        let (first, second) = (info(VideoFormat::Rgba, 64, 64), info(VideoFormat::Rgba, 32, 16));
        let (sink, feed) = fed(&name, &first, options);
        let run = Run::playing(&format!("tdshmsrc name=s shm-name={name} ! appsink name=p sync=false"));
        for round in 0..6 {
            let info = if round % 2 == 0 { &first } else { &second };
            feed.set_caps(Some(&info.to_caps().expect("caps of an info")));
            feed.push_buffer(numbered(info, round)).expect("it is taken");
            let (bytes, got) = loop {
                let (bytes, got) = pull(&run, "p");
                if number(&bytes) == round {
                    break (bytes, got);
                }
                assert_eq!(number(&bytes) + 1, round, "{options}: the frame before, again");
            };
            assert_eq!((got.width(), got.height()), (info.width(), info.height()), "{options}");
            assert_eq!(bytes.len(), info.size());
        }
        run.assert_no_error();
        run.stop();
        sink.stop();
    }
}

#[test]
fn a_killed_producer_is_told_at_once_and_its_successor_is_followed() {
    for slots in [1, 4] {
        let name = Name::new(&format!("killed{slots}"));
        let (run, recorder) = source(&format!("shm-name={name}"));
        for (width, height) in [(64, 64), (64, 64), (48, 40)] {
            let caps = format!("video/x-raw,format=RGBA,width={width},height={height},framerate=60/1");
            let mut sink =
                Peer::launch(&format!("videotestsrc is-live=true ! {caps} ! tdshmsink shm-name={name} slots={slots}"));
            run.wait_message("tdlink-connected");
            recorder.wait_for(recorder.count() + 10, PATIENCE);
            let got = VideoInfo::from_caps(recorder.caps().last().expect("caps came")).expect("video caps");
            assert_eq!((got.width(), got.height()), (width, height));
            sink.kill();
            let gone = run.wait_message("tdlink-disconnected");
            assert!(gone.get::<&str>("reason").expect("a reason").contains("process"), "{gone}");
        }
        run.assert_no_error();
        run.stop();
    }
}

#[test]
fn the_end_of_a_stream_crosses_at_once() {
    for slots in [1, 4] {
        let name = Name::new(&format!("eos{slots}"));
        let info = info(VideoFormat::Rgba, 64, 64);
        let (sink, feed) = fed(&name, &info, &format!("slots={slots}"));
        feed.push_buffer(numbered(&info, 1)).expect("it is taken");
        let (run, recorder) = source(&format!("shm-name={name} on-disconnect=eos"));
        recorder.wait_for(1, PATIENCE);
        prompt("EOS across", PROMPT, || {
            feed.end_of_stream().expect("it is taken");
            run.wait_eos(PATIENCE);
        });
        run.stop();
        sink.stop();
    }
}

#[test]
fn a_source_tells_its_stats_while_frames_come_and_at_the_end() {
    let name = Name::new("told");
    let info = info(VideoFormat::Rgba, 64, 64);
    let (sink, feed) = fed(&name, &info, "slots=4");
    feed.push_buffer(numbered(&info, 1)).expect("it is taken");
    let (run, recorder) = source(&format!("shm-name={name} on-disconnect=eos"));
    let (told, times) = std::sync::mpsc::channel();
    run.element("s").connect_notify(Some("stats"), move |_, _| told.send(()).expect("the test listens"));
    recorder.wait_for(1, PATIENCE);
    poll("a notification", PATIENCE, || {
        feed.push_buffer(numbered(&info, 2)).expect("it is taken");
        times.try_recv().ok()
    });
    while times.try_recv().is_ok() {}
    feed.end_of_stream().expect("it is taken");
    run.wait_eos(PATIENCE);
    times.recv_timeout(PATIENCE).expect("a last one before the end");
    run.stop();
    sink.stop();
}

#[test]
fn two_sinks_on_one_ring_are_refused_and_takeover_moves_the_readers() {
    let name = Name::new("rivals");
    let info = info(VideoFormat::Rgba, 64, 64);
    let (sink, feed) = fed(&name, &info, "slots=4");
    feed.push_buffer(numbered(&info, 1)).expect("it is taken");
    let (run, recorder) = source(&format!("shm-name={name}"));
    recorder.wait_for(1, PATIENCE);
    let (second, other) = fed(&name, &info, "slots=4");
    other.push_buffer(numbered(&info, 2)).expect("it is taken");
    let error = second.wait_error(PATIENCE);
    assert!(error.contains(&*name) && error.contains("takeover=true"), "{error}");
    second.stop();

    let (third, other) = fed(&name, &info, "slots=4 takeover=true");
    other.push_buffer(numbered(&info, 3)).expect("it is taken");
    // On Windows the robbed one must notice before the new one can begin.
    if cfg!(windows) {
        poll("the robbed one notices", PATIENCE, || {
            let _ = feed.push_buffer(numbered(&info, 2));
            sink.sayings().iter().any(|said| said.contains("another producer")).then_some(())
        });
    }
    recorder.wait_until("the new producer's frame", PATIENCE, |all| {
        all.last().is_some_and(|picture| picture.number() == 3)
    });
    if cfg!(target_os = "linux") {
        feed.push_buffer(numbered(&info, 4)).expect("it is taken");
        feed.push_buffer(numbered(&info, 5)).expect("it is taken");
        let error = sink.wait_error(PATIENCE);
        assert!(error.contains("another producer"), "{error}");
    }
    sink.stop();
    other.push_buffer(numbered(&info, 6)).expect("it is taken");
    recorder.wait_until("its next frame", PATIENCE, |all| all.last().is_some_and(|picture| picture.number() == 6));
    run.stop();
    third.stop();
}

#[test]
fn what_cannot_be_is_an_error_that_says_what_would_be_right() {
    for (options, parts) in [
        ("slots=4 control=false", ["control=false", "slots=1"]),
        ("slots=1 delivery=lossless", ["delivery=lossless", "slots=4"]),
    ] {
        let name = Name::new("wrong");
        let run = Run::playing(&format!("videotestsrc ! tdshmsink shm-name={name} {options}"));
        let error = run.wait_error(PATIENCE);
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        run.stop();
    }
}

#[test]
fn clients_are_counted_and_signalled() {
    let name = Name::new("clients");
    let sink = Run::new(&format!("videotestsrc is-live=true ! {CAPS} ! tdshmsink name=k shm-name={name} slots=4"));
    let (tell, told) = std::sync::mpsc::channel();
    for signal in ["client-connected", "client-disconnected"] {
        let tell = std::sync::Mutex::new(tell.clone());
        sink.element("k").connect(signal, false, move |values| {
            let number = values[1].get::<u32>().expect("a number");
            let _ = tell.lock().map(|tell| tell.send((signal, number)));
            None
        });
    }
    sink.play();
    sink.wait_message("tdlink-published");
    let (first, recorder) = source(&format!("shm-name={name}"));
    recorder.wait_for(1, PATIENCE);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(("client-connected", 1)));
    let (second, recorder) = source(&format!("shm-name={name}"));
    recorder.wait_for(1, PATIENCE);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(("client-connected", 2)));
    first.stop();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(("client-disconnected", 1)));
    second.stop();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(("client-disconnected", 0)));
    sink.stop();
}

#[cfg(target_os = "linux")] // stops a process, or asks for an inode
#[test]
fn a_source_in_raw_mode_goes_over_to_a_control_segment_for_the_very_same_object() {
    let name = Name::new("upgrade");
    let mut writer = Peer::python("writer.py");
    assert_eq!(writer.ask(&format!("create {name} {}", 64 * 64 * 4)), "created");
    let (run, recorder) = source(&format!("shm-name={name} width=64 height=64 channels=4"));
    assert_eq!(run.wait_message("tdlink-connected").get::<&str>("protocol"), Ok("raw"));
    // The sink adopts the object of another program, and writes it in place.
    let inode = name.inode();
    let info = info(VideoFormat::Rgba, 64, 64);
    let (sink, feed) = fed(&name, &info, "");
    let end = poll("frames of the sink with its own times", PATIENCE, || {
        let n = u32::try_from(recorder.count()).expect("few frames");
        feed.push_buffer(numbered(&info, n)).expect("it is taken");
        (run.element("s").property::<gst::Structure>("stats").get::<u64>("reattached") == Ok(1)).then_some(n)
    });
    recorder.wait_until("a frame of the sink", PATIENCE, |all| all.last().is_some_and(|last| last.number() + 1 >= end));
    assert_eq!(name.inode(), inode);
    assert_eq!(run.posted("tdlink-disconnected"), 0, "nobody has gone");
    run.assert_no_error();
    run.stop();
    sink.stop();
    assert_eq!(writer.ask(&format!("unlink {name}")), "unlinked");
}

/// As long as nothing comes, nobody works: neither the element nor the system on its behalf.
#[cfg(target_os = "linux")] // reads /proc
#[test]
fn a_source_that_waits_uses_next_to_no_processor() {
    let name = Name::new("idle");
    let info = info(VideoFormat::Rgba, 64, 64);
    let (sink, feed) = fed(&name, &info, "slots=4");
    feed.push_buffer(numbered(&info, 1)).expect("it is taken");
    let mut idle = Peer::launch(&format!("tdshmsrc shm-name={name} keepalive=0 ! fakesink"));
    idle.hear("tdlink-connected", PATIENCE);
    idle.hear("tdlink-stalled", PATIENCE); // it has come to rest
    let busy = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("the process is there");
        stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).expect("nanoseconds")
    };
    let threads = |pid: u32| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
        tasks.flatten().map(|task| task.file_name().to_string_lossy().parse().expect("a number")).map(busy).sum::<u64>()
    };
    let before = threads(idle.pid());
    // The time that passes is what is measured.
    std::thread::park_timeout(Duration::from_secs(2));
    let used = Duration::from_nanos(threads(idle.pid()) - before);
    assert!(used < Duration::from_millis(10), "{used:?} in 2 s");
    idle.interrupt();
    idle.wait(PATIENCE);
    sink.stop();
}

#[cfg(target_os = "linux")] // stops a process
#[test]
fn a_lossless_reader_gets_every_frame_beside_others_that_stand_still() {
    for slots in [2, 3, 4] {
        let name = Name::new(&format!("beside{slots}"));
        let info = info(VideoFormat::Rgba, 64, 64);
        let options = format!("slots={slots} delivery=lossless lossless-timeout=300");
        let (sink, feed) = fed(&name, &info, &options);
        feed.push_buffer(numbered(&info, 0)).expect("it is taken");
        sink.wait_message("tdlink-published");
        let (run, recorder) = source(&format!("shm-name={name}"));
        recorder.wait_for(1, PATIENCE);
        let mut stopped: Vec<Peer> = (0..2)
            .map(|_| {
                let mut peer = Peer::launch(&format!("tdshmsrc shm-name={name} ! fakesink"));
                peer.hear("tdlink-connected", PATIENCE);
                peer
            })
            .collect();
        for n in 1..10 {
            feed.push_buffer(numbered(&info, n)).expect("it is taken");
        }
        for peer in &stopped {
            peer.signal("-STOP");
        }
        let last = 200;
        for n in 10..=last {
            feed.push_buffer(numbered(&info, n)).expect("it is taken");
        }
        recorder
            .wait_until("the last frame", PATIENCE, |all| all.last().is_some_and(|picture| picture.number() == last));
        assert_eq!(fresh(&recorder), (0..=last).collect::<Vec<_>>(), "{slots} slots");
        assert_eq!(sink.stat("k", "dropped"), 0);
        let blamed: Vec<String> = sink.sayings().into_iter().filter(|said| said.contains("lossless-timeout")).collect();
        let number =
            |said: &String| said.split(" reader(s)").next().and_then(|s| s.rsplit(' ').next()?.parse::<u32>().ok());
        assert_eq!(blamed.iter().filter_map(number).sum::<u32>(), 2, "only those that stand still: {blamed:?}");
        run.stop();
        stopped.iter_mut().for_each(Peer::kill);
        sink.stop();
    }
}

/// A producer that does not wait for its clock: its stamps run away from the times at which frames come.
#[test]
fn times_of_a_producer_without_a_pace_go_on_evenly() {
    let name = Name::new("unpaced");
    let info = info(VideoFormat::Rgba, 64, 64);
    let (sink, feed) = fed(&name, &info, "slots=4");
    feed.push_buffer(numbered(&info, 0)).expect("it is taken");
    let (run, recorder) = source(&format!("shm-name={name}"));
    recorder.wait_for(1, PATIENCE);
    for n in 1..200 {
        let mut frame = numbered(&info, n);
        // A tenth of a second apart on paper, as fast as they are taken in truth.
        frame.get_mut().expect("nobody else has it").set_pts(gst::ClockTime::from_mseconds(100) * u64::from(n));
        feed.push_buffer(frame).expect("it is taken");
        recorder.wait_until("this frame", PATIENCE, |all| all.last().is_some_and(|picture| picture.number() == n));
    }
    let pictures = recorder.pictures();
    let frozen =
        pictures.windows(2).filter(|pair| pair[1].pts - pair[0].pts < gst::ClockTime::from_nseconds(100)).count();
    assert!(frozen * 20 < pictures.len(), "{frozen} of {} frames came at the time of the one before", pictures.len());
    run.stop();
    sink.stop();
}

#[test]
fn a_first_frame_that_waits_in_paused_has_its_own_time_and_comes_once() {
    let name = Name::new("preroll");
    let sink = Run::new(&format!(
        "videotestsrc num-buffers=20 ! video/x-raw,format=RGBA,width=64,height=64,framerate=20/1 ! tdshmsink shm-name={name} slots=4 delivery=lossless"
    ));
    sink.pipeline().set_state(gst::State::Paused).expect("it prerolls");
    sink.wait_message("tdlink-published");
    let (run, recorder) = source(&format!("shm-name={name} keepalive=0 on-disconnect=eos"));
    run.wait_message("tdlink-connected");
    assert_eq!(recorder.count(), 0, "nothing is shown before its time");
    sink.play();
    run.wait_eos(PATIENCE);
    let pictures = recorder.pictures();
    assert_eq!(pictures.len(), 20);
    for pair in pictures.windows(2) {
        assert_eq!(pair[1].pts - pair[0].pts, gst::ClockTime::from_mseconds(50));
    }
    run.stop();
    sink.stop();
}
