// SPDX-License-Identifier: MPL-2.0
//! `protocol=touch` against tests/peers/touch.py, which speaks the Shared Mem TOPs' protocol from its description alone.
//! What every pixel must become is computed there.
#![cfg(any(target_os = "linux", windows))]

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use common::frames::buffer;
#[cfg(target_os = "linux")]
use common::machine::is_mapped;
use common::name::Name;
use common::peer::Peer;
use common::recorder::Recorder;
use common::ring::{fed, info, source};
use common::run::Run;
use common::{PATIENCE, PROMPT, poll};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

fn peer() -> Peer {
    Peer::python("touch.py")
}

/// A Python sender of 16 × 16 pixels of 8 bits, that plays.
fn playing(name: &Name) -> Peer {
    let mut sender = peer();
    assert_eq!(sender.ask(&format!("send {name} 16 16 44 v1")), "ok");
    assert_eq!(sender.ask("fill 0"), "ok");
    assert_eq!(sender.ask("play 10"), "ok");
    sender
}

fn stat(run: &Run, field: &str) -> u64 {
    run.stat("s", field)
}

/// Numbers of the frames so far, each of which must be one number.
fn numbers(recorder: &Recorder) -> Vec<u32> {
    recorder.pictures().iter().map(|picture| picture.number()).collect()
}

/// The next frame that is not one before it.
fn wait_for_more(recorder: &Recorder) {
    let before = numbers(recorder).into_iter().max().unwrap_or(0);
    recorder.wait_until("a newer frame", PATIENCE, |all| all.iter().any(|picture| picture.number() > before));
}

#[test]
fn whoever_comes_first_and_by_whatever_name_they_meet() {
    for (protocol, typed) in [("touch", ""), ("auto", ""), ("touch", "TouchSHM"), ("auto", "TouchSHM")] {
        for sender_first in [true, false] {
            let name = Name::new("meet");
            let mut sender = None;
            if sender_first {
                sender = Some(playing(&name));
            }
            let (run, recorder) = source(&format!("shm-name={typed}{name} protocol={protocol}"));
            if !sender_first {
                run.wait_message("tdlink-waiting");
                sender = Some(playing(&name));
            }
            let connected = run.wait_message("tdlink-connected");
            assert_eq!(connected.get::<&str>("protocol"), Ok("touch"), "{connected}");
            assert_eq!(connected.get::<&str>("name"), Ok(&*name), "{connected}");
            recorder.wait_for(10, PATIENCE);
            let found = numbers(&recorder);
            assert!(found.is_sorted(), "frames come in order: {found:?}");
            run.assert_no_error();
            run.stop();
            sender.expect("it was started").ask("detach");
        }
    }
}

#[test]
fn both_elements_meet_and_keep_the_picture_and_its_colours() {
    let name = Name::new("both");
    let caps = "video/x-raw,format=BGRA,width=33,height=7,framerate=60/1,pixel-aspect-ratio=4/3";
    let mut sink = Peer::launch(&format!(
        "videotestsrc is-live=true ! {caps} ! tdshmsink shm-name={name} protocol=touch touch-header=vulkan-v2"
    ));
    let (run, recorder) = source(&format!("shm-name={name}"));
    run.wait_message("tdlink-connected");
    recorder.wait_for(5, PATIENCE);
    let caps = recorder.caps()[0].clone();
    let found = VideoInfo::from_caps(&caps).expect("video caps");
    assert_eq!((found.format(), found.width(), found.height()), (VideoFormat::Bgra, 33, 7), "{caps}");
    assert_eq!((found.par(), found.colorimetry().to_string().as_str()), (gst::Fraction::new(4, 3), "sRGB"), "{caps}");
    sink.interrupt();
    run.wait_message("tdlink-disconnected");
    sink.wait(PATIENCE);
    run.assert_no_error();
    run.stop();
}

#[test]
fn a_source_follows_another_size_and_format_in_mid_stream() {
    let name = Name::new("resized");
    let mut sender = playing(&name);
    let (run, recorder) = source(&format!("shm-name={name} protocol=touch"));
    recorder.wait_for(5, PATIENCE);
    for (width, height, format, caps_format) in [(64, 32, 44, "BGRA"), (8, 8, 9, "GRAY8"), (32, 32, 91, "RGBA64_LE")] {
        sender.ask("stop");
        let postfix = sender.ask(&format!("resize {width} {height} {format}"));
        assert_eq!(postfix.len(), 31, "the source has said that it follows: {postfix}");
        sender.ask("play 10");
        poll("caps of the new size", PATIENCE, || {
            let caps = recorder.caps().last().cloned()?;
            let info = VideoInfo::from_caps(&caps).ok()?;
            let wanted = (width, height, VideoFormat::from_string(caps_format));
            ((info.width(), info.height(), info.format()) == wanted).then_some(())
        });
        let at = recorder.count();
        recorder.wait_for(at + 5, PATIENCE);
    }
    assert_eq!(stat(&run, "reattached"), 0, "it is the same sender");
    run.assert_no_error();
    run.stop();
    sender.ask("detach");
}

#[test]
fn a_sink_follows_its_caps_with_and_without_receivers_that_follow() {
    let name = Name::new("caps");
    let (small, large) = (info(VideoFormat::Bgra, 8, 8), info(VideoFormat::Bgra, 64, 48));
    let (sink, feed) = fed(&name, &small, "protocol=touch");
    let frame = |info: &VideoInfo, byte: u8| buffer(info, &vec![byte; (info.width() * info.height() * 4) as usize]);
    feed.push_buffer(frame(&small, 1)).expect("it is taken");
    let mut receiver = peer();
    let number = |byte: u8| u32::from_le_bytes([byte; 4]).to_string();
    let wait_for = |feed: &gst_app::AppSrc, receiver: &mut Peer, byte: u8, info: &VideoInfo| {
        poll("the frame is there", PATIENCE, || {
            // A receiver that is not run while it has the mutex costs a frame.
            feed.push_buffer(frame(info, byte)).expect("it is taken");
            (receiver.ask("number") == number(byte)).then_some(())
        });
    };
    poll("the receiver finds the sender", PATIENCE, || (receiver.ask(&format!("recv {name}")) == "ok").then_some(()));
    wait_for(&feed, &mut receiver, 1, &small);
    feed.set_caps(Some(&large.to_caps().expect("caps of an info")));
    feed.push_buffer(frame(&large, 2)).expect("it is taken");
    wait_for(&feed, &mut receiver, 2, &large);
    receiver.ask("leave");
    // One that does not follow holds the name until it leaves.
    sink.stop();
    // Another one: an appsrc that is started again begins with its last caps, and the receiver may find those.
    let (sink, feed) = fed(&name, &small, "protocol=touch");
    feed.push_buffer(frame(&small, 3)).expect("it is taken");
    poll("the receiver is there", PATIENCE, || (receiver.ask(&format!("recv {name} old")) == "ok").then_some(()));
    wait_for(&feed, &mut receiver, 3, &small);
    feed.set_caps(Some(&large.to_caps().expect("caps of an info")));
    feed.push_buffer(frame(&large, 4)).expect("it is taken");
    let error = sink.wait_error(PATIENCE);
    assert!(error.contains("does not follow resizes"), "{error}");
    receiver.ask("leave");
    sink.stop();
}

#[test]
fn a_sender_that_is_killed_or_says_its_end_is_missed_and_its_successor_found() {
    for says_it in [true, false] {
        let name = Name::new("gone");
        let mut sender = playing(&name);
        let (run, recorder) = source(&format!("shm-name={name} protocol=touch keepalive=100"));
        recorder.wait_for(5, PATIENCE);
        if says_it {
            sender.ask("stop");
            sender.ask("detach");
        }
        sender.kill();
        let gone = run.wait_message("tdlink-disconnected");
        let reason = gone.get::<String>("reason").expect("there is a reason");
        assert!(reason.contains("has gone"), "{reason}");
        let mut next = peer();
        assert_eq!(next.ask(&format!("send {name} 16 16 44 v1")), "ok", "nobody holds what the dead one left");
        next.ask("play 10");
        run.wait_message("tdlink-connected");
        wait_for_fresh(&recorder);
        run.assert_no_error();
        run.stop();
        next.ask("stop");
        next.ask("detach");
    }
}

#[test]
fn a_paused_source_holds_nothing_and_finds_the_next_sender() {
    let name = Name::new("paused");
    let mut sender = playing(&name);
    let (run, recorder) = source(&format!("shm-name={name} protocol=touch keepalive=100"));
    recorder.wait_for(5, PATIENCE);
    let pause = || {
        let _ = run.pipeline().set_state(gst::State::Paused);
        let (changed, state, _) = run.pipeline().state(gst::ClockTime::from_seconds(PATIENCE.as_secs()));
        assert_eq!((changed, state), (Ok(gst::StateChangeSuccess::NoPreroll), gst::State::Paused));
    };
    pause();
    sender.kill();
    let mut next = peer();
    poll("the source has let go", PATIENCE, || (next.ask(&format!("exists {name}")) == "nothing").then_some(()));
    assert_eq!(next.ask(&format!("send {name} 16 16 44 v1")), "ok");
    next.ask("play 10");
    run.play();
    wait_for_fresh(&recorder);
    let said = |run: &Run| (run.posted("tdlink-disconnected"), run.posted("tdlink-connected"), stat(run, "reattached"));
    assert_eq!(said(&run), (0, 1, 0), "a pause is no disconnect");
    // Nobody is there after it.
    pause();
    // Paused says that frames are no longer asked for; the streaming thread lets go when it has seen it.
    #[cfg(target_os = "linux")]
    poll("the source has let go", PATIENCE, || (!is_mapped(&name.to_string())).then_some(()));
    next.ask("stop");
    next.ask("detach");
    run.play();
    let gone = run.wait_message("tdlink-disconnected");
    let reason = gone.get::<&str>("reason").expect("there is a reason");
    // Elsewhere nobody can see when that is, and a detach before it is seen as such.
    let seen = cfg!(not(target_os = "linux")) && reason.contains("has gone");
    assert!(reason.contains("was paused") || seen, "{gone}");
    let mut next = playing(&name);
    wait_for_fresh(&recorder);
    run.assert_no_error();
    run.stop();
    next.ask("stop");
    next.ask("detach");
}

fn wait_for_fresh(recorder: &Recorder) {
    let at = recorder.count();
    recorder.wait_until("a frame that is no repeat", PATIENCE, |all| all[at..].iter().any(|picture| !picture.is_gap()));
}

#[test]
fn a_receiver_that_is_killed_with_the_mutex_stops_nobody() {
    let name = Name::new("abandoned");
    let mut sender = playing(&name);
    let (run, recorder) = source(&format!("shm-name={name} protocol=touch"));
    recorder.wait_for(5, PATIENCE);
    let mut other = peer();
    assert_eq!(other.ask(&format!("recv {name}")), "ok");
    assert!(other.ask("lock").starts_with("abandoned"));
    other.kill();
    wait_for_more(&recorder);
    sender.ask("stop");
    sender.ask("detach");
    // And a sender of ours.
    let name = Name::new("abandoned2");
    let mut sink = Peer::launch(&format!(
        "videotestsrc is-live=true pattern=snow ! video/x-raw,format=BGRA,width=16,height=16,framerate=60/1 ! tdshmsink shm-name={name} protocol=touch"
    ));
    let mut other = peer();
    poll("the sink is there", PATIENCE, || (other.ask(&format!("recv {name}")) == "ok").then_some(()));
    other.ask("lock");
    other.kill();
    let (second, frames) = source(&format!("shm-name={name} protocol=touch"));
    frames.wait_for(20, PATIENCE);
    second.assert_no_error();
    second.stop();
    sink.interrupt();
    sink.wait(PATIENCE);
    run.assert_no_error();
    run.stop();
}

#[test]
fn half_a_frame_of_a_sender_that_was_killed_over_it_is_never_pushed() {
    let name = Name::new("half");
    let mut sender = peer();
    assert_eq!(sender.ask(&format!("send {name} 64 64 44 v1")), "ok");
    assert_eq!(sender.ask("fill 1"), "ok");
    let (run, recorder) = source(&format!("shm-name={name} protocol=touch keepalive=50"));
    recorder.wait_for(1, PATIENCE);
    assert_eq!(sender.ask("half 2"), "ok");
    // Who holds the mutex is waited for, and counted.
    poll("a wait for the mutex has ended", PATIENCE, || (stat(&run, "lock-timeouts") > 2).then_some(()));
    let repeats = stat(&run, "repeated");
    assert!(repeats > 0, "the last frame is repeated meanwhile");
    sender.kill();
    run.wait_message("tdlink-disconnected");
    assert_eq!(stat(&run, "torn"), 1);
    assert!(numbers(&recorder).iter().all(|number| *number == 1), "the whole frame and nothing else");
    run.assert_no_error();
    run.stop();
}

/// A source whose downstream keeps each frame until the second value is dropped; the third hears of each.
fn held_up(name: &Name) -> (Run, Sender<()>, Receiver<()>) {
    let run = Run::new(&format!("tdshmsrc name=s shm-name={name} protocol=touch ! fakesink name=k sync=false"));
    let (came, comes) = channel();
    let (go, goes) = channel::<()>();
    let both = std::sync::Mutex::new((came, goes));
    let pad = run.element("k").static_pad("sink").expect("a sink has a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let both = both.lock().expect("nothing has panicked");
        let _ = both.0.send(());
        let _ = both.1.recv();
        gst::PadProbeReturn::Ok
    });
    run.play();
    comes.recv_timeout(PATIENCE).expect("a frame comes");
    (run, go, comes)
}

#[test]
fn the_mutex_is_given_back_before_a_frame_is_pushed() {
    let name = Name::new("held");
    let mut sender = playing(&name);
    let (run, go, _) = held_up(&name);
    sender.ask("stop");
    assert_eq!(sender.ask("lock"), "abandoned False", "nobody has it while downstream has the frame");
    sender.ask("unlock");
    drop(go);
    run.stop();
    sender.ask("detach");
}

#[test]
fn a_sender_begins_anew_though_downstream_keeps_a_frame() {
    let name = Name::new("kept");
    let mut sender = playing(&name);
    let (run, go, comes) = held_up(&name);
    sender.kill();
    let mut next = peer();
    poll("the source has let go", PATIENCE, || (next.ask(&format!("exists {name}")) == "nothing").then_some(()));
    assert_eq!(next.ask(&format!("send {name} 16 16 44 v1")), "ok");
    next.ask("play 10");
    drop(go);
    for _ in 0..10 {
        comes.recv_timeout(PATIENCE).expect("frames of the next sender come");
    }
    assert_eq!((run.posted("tdlink-disconnected"), stat(&run, "reattached")), (0, 0), "it is found where it was");
    run.assert_no_error();
    run.stop();
    next.ask("stop");
    next.ask("detach");
}

#[test]
fn what_is_no_picture_is_refused_by_its_name() {
    for (bytes, said) in [
        ("cf54ed1201000000f012000002000000580200000000704201000000240000", "Shared Mem Out CHOP"),
        ("35f85ed901000000100000001000000000000000000000002d000000", "45"),
    ] {
        let name = Name::new("nopicture");
        let mut sender = peer();
        assert_eq!(sender.ask(&format!("send {name} 16 16 44 v1")), "ok");
        assert_eq!(sender.ask("fill 1"), "ok");
        assert_eq!(sender.ask(&format!("raw {bytes}")), "ok");
        for protocol in ["touch", "auto"] {
            let run = Run::playing(&format!("tdshmsrc shm-name={name} protocol={protocol} ! fakesink"));
            let error = run.wait_error(PATIENCE);
            assert!(error.contains(said), "{protocol}: {error}");
            run.stop();
        }
        // In mid-stream.
        assert_eq!(sender.ask("fill 2"), "ok");
        let (run, recorder) = source(&format!("shm-name={name} protocol=touch"));
        recorder.wait_for(1, PATIENCE);
        assert_eq!(sender.ask(&format!("raw {bytes}")), "ok");
        let error = run.wait_error(PATIENCE);
        assert!(error.contains(said), "{error}");
        run.stop();
        sender.ask("detach");
    }
}

#[test]
fn auto_takes_a_top_before_raw_bytes_and_raw_bytes_without_one() {
    let name = Name::new("order");
    let raw = info(VideoFormat::Rgba, 16, 16);
    let (sink, feed) = fed(&name, &raw, "control=false");
    feed.push_buffer(buffer(&raw, &7u32.to_le_bytes().repeat(256))).expect("it is taken");
    poll("the raw buffer is there", PATIENCE, || name.exists().then_some(()));
    let geometry = format!("shm-name={name} width=16 height=16 channels=4");
    let (run, recorder) = source(&geometry);
    assert_eq!(run.wait_message("tdlink-connected").get::<&str>("protocol"), Ok("raw"));
    // A TOP that comes later.
    let mut sender = playing(&name);
    recorder.wait_until("the TOP's frames", PATIENCE, |all| all.iter().any(|picture| picture.number() > 7));
    run.assert_no_error();
    run.stop();
    let (run, _recorder) = source(&geometry);
    assert_eq!(run.wait_message("tdlink-connected").get::<&str>("protocol"), Ok("touch"));
    run.stop();
    let (run, _recorder) = source(&format!("{geometry} protocol=raw"));
    assert_eq!(run.wait_message("tdlink-connected").get::<&str>("protocol"), Ok("raw"));
    run.stop();
    sink.stop();
    sender.ask("stop");
    sender.ask("detach");
}

#[test]
fn what_is_waited_for_is_told_of_both_wires() {
    let name = Name::new("both-wires");
    let mut sender = peer();
    assert_eq!(sender.ask(&format!("send {name} 16 16 44 v1")), "ok");
    // A TOP that has written nothing.
    let (run, _recorder) = source(&format!("shm-name={name} width=16 height=16 channels=4"));
    let waiting = run.wait_message("tdlink-waiting");
    assert!(waiting.get::<&str>("reason").is_ok_and(|why| why.contains("no frame has been written")), "{waiting}");
    run.stop();
    sender.ask("detach");
    // Objects that nobody types are no neighbours.
    let mut other = playing(&name);
    let run = Run::playing(&format!("tdshmsrc shm-name={name}x protocol=touch connection-timeout=1 ! fakesink"));
    let error = run.wait_error(PATIENCE);
    assert!(error.contains(&format!(" {name} (")), "{error}");
    assert!(!error.contains("4jhd783h") && !error.contains(&format!("{name}Mutex")), "{error}");
    run.stop();
    other.ask("stop");
    other.ask("detach");
}

#[test]
fn raw_bytes_for_a_top_that_waits_are_warned_of() {
    let name = Name::new("waits");
    let mut top = peer();
    let raw = info(VideoFormat::Rgba, 16, 16);
    for waits in [false, true] {
        if waits {
            assert_eq!(top.ask(&format!("wait {name}")), "ok");
        }
        let (sink, feed) = fed(&name, &raw, "");
        feed.push_buffer(buffer(&raw, &[0; 1024])).expect("it is taken");
        feed.end_of_stream().expect("it is taken");
        sink.wait_eos(PATIENCE);
        let warned = sink.sayings().iter().any(|warning| warning.contains("protocol=touch"));
        assert_eq!(warned, waits, "{:?}", sink.sayings());
        sink.stop();
    }
    top.wait(PATIENCE);
}

#[test]
fn a_top_that_comes_after_the_raw_bytes_is_warned_of_once() {
    let name = Name::new("comes");
    let raw = info(VideoFormat::Rgba, 16, 16);
    let (sink, feed) = fed(&name, &raw, "");
    let push = || feed.push_buffer(buffer(&raw, &[0; 1024])).expect("it is taken");
    let warnings = || sink.sayings().iter().filter(|warning| warning.contains("protocol=touch")).count();
    push();
    poll("the raw buffer is there", PATIENCE, || name.exists().then_some(()));
    assert_eq!(warnings(), 0, "{:?}", sink.sayings());
    let mut top = peer();
    assert_eq!(top.ask(&format!("wait {name}")), "ok");
    poll("the sink notices", PATIENCE, || {
        push();
        (warnings() > 0).then_some(())
    });
    let began = Instant::now();
    poll("time for another look", PATIENCE, || {
        push();
        (began.elapsed() > Duration::from_millis(2500)).then_some(())
    });
    assert_eq!(warnings(), 1, "{:?}", sink.sayings());
    sink.stop();
    top.wait(PATIENCE);
}

#[test]
fn properties_that_contradict_each_other_are_told_with_the_way_out() {
    for (options, said) in [
        ("control=true", "control=false"),
        ("slots=4", "slots=1"),
        ("channels=3", "channels=4"),
        ("sample-type=u16 channel-order=bgra", "1, 2 or 4 channels, and B, G, R, A for u8 only"),
    ] {
        let name = Name::new("wrong");
        let run = Run::playing(&format!(
            "videotestsrc num-buffers=1 ! video/x-raw,format=RGBA,width=16,height=16 ! tdshmsink shm-name={name} protocol=touch {options}"
        ));
        let error = run.wait_error(PATIENCE);
        assert!(error.contains(said), "{options}: {error}");
        run.stop();
    }
    // The default of control is no wish.
    let name = Name::new("right");
    let run = Run::playing(&format!(
        "videotestsrc num-buffers=1 ! video/x-raw,format=RGBA,width=16,height=16 ! tdshmsink shm-name={name} protocol=touch control=false"
    ));
    run.wait_eos(PATIENCE);
    run.stop();
}

#[test]
fn a_second_sink_is_refused_and_takeover_ends_the_first() {
    let name = Name::new("second");
    let caps = "video/x-raw,format=BGRA,width=16,height=16,framerate=60/1";
    let sink = |options: &str| {
        Run::playing(&format!(
            "videotestsrc is-live=true ! {caps} ! tdshmsink shm-name={name} protocol=touch {options}"
        ))
    };
    let first = sink("");
    first.wait_message("tdlink-published");
    let (run, recorder) = source(&format!("shm-name={name}"));
    recorder.wait_for(2, PATIENCE);
    let refused = sink("");
    let error = refused.wait_error(PATIENCE);
    assert!(error.contains("takeover=true"), "{error}");
    refused.stop();
    let second = sink("takeover=true");
    let error = first.wait_error(PATIENCE);
    assert!(error.contains("two senders on one name"), "{error}");
    first.stop();
    second.wait_message("tdlink-published");
    run.assert_no_error();
    run.stop();
    second.stop();
}

#[test]
fn a_sink_that_waits_for_a_name_stops_promptly() {
    let name = Name::new("prompt");
    let mut other = peer();
    assert_eq!(other.ask(&format!("send {name} 16 16 44 v1")), "ok");
    let run = Run::playing(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=BGRA,width=16,height=16,framerate=60/1 ! tdshmsink name=k shm-name={name} protocol=touch"
    ));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(300) {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    common::prompt("the end of a wait", PROMPT, || run.stop());
    run.assert_no_error();
    other.ask("detach");
}

#[test]
fn a_hash_is_that_of_the_bytes_on_the_wire() {
    let name = Name::new("hash");
    let mut sender = peer();
    assert_eq!(sender.ask(&format!("send {name} 16 16 44 v1")), "ok");
    assert_eq!(sender.ask("fill 5"), "ok");
    let (run, recorder) = source(&format!("shm-name={name} protocol=touch change-detection=crc32"));
    recorder.wait_for(1, PATIENCE);
    let said = run.wait_message("tdlink-image-changed");
    // zlib.crc32(struct.pack("<I", 5) * 256)
    assert_eq!(said.get::<&str>("hash"), Ok("6decefa7"), "{said}");
    run.stop();
    sender.ask("detach");
}
