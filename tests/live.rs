// SPDX-License-Identifier: MPL-2.0
//! Time: a source beside live audio, pacing, silence that is no disconnect, timestamps. Where a test lets time pass,
//! that time is what it is about, and the peer keeps it.
#![cfg(any(target_os = "linux", windows))]

mod common;

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use common::folder::Folder;
use common::name::Name;
use common::peer::Peer;
use common::recorder::{Picture, Recorder};
use common::run::Run;
use common::{PATIENCE, poll};
#[cfg(target_os = "linux")]
use common::{PROMPT, prompt};
use gst::prelude::*;

const SIZE: usize = 64 * 64 * 4;
const GEOMETRY: &str = "protocol=raw width=64 height=64 channels=4";
#[cfg(target_os = "linux")]
const ENCODER: &str =
    "videoconvert ! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast ! h264parse";

fn source(name: &str, options: &str) -> String {
    format!("tdshmsrc name=s shm-name={name} {GEOMETRY} {options} ! video/x-raw,format=RGBA")
}

fn alone(name: &str, options: &str) -> (Run, Recorder) {
    let run = Run::new(&format!("{} ! fakesink sync=false async=false", source(name, options)));
    let recorder = Recorder::source(&run, "s");
    run.play();
    (run, recorder)
}

fn sender(name: &str) -> Peer {
    let mut writer = Peer::python("writer.py");
    assert_eq!(writer.ask(&format!("create {name} {SIZE}")), "created");
    writer
}

/// Stops the sender's loop: when each of its frames was through, in nanoseconds; frame 1 is the first.
fn stop_loop(writer: &mut Peer) -> Vec<i64> {
    let answer = writer.ask("stop");
    answer.split(' ').skip(2).map(|time| time.parse().expect("times are numbers")).collect()
}

fn nanoseconds(time: gst::ClockTime) -> i64 {
    i64::try_from(time.nseconds()).expect("a pipeline does not run for centuries")
}

fn fresh(pictures: &[Picture]) -> Vec<&Picture> {
    pictures.iter().filter(|picture| !picture.is_gap()).collect()
}

fn assert_rising(pictures: &[Picture]) {
    for pair in pictures.windows(2) {
        assert!(pair[0].pts < pair[1].pts, "PTS {} comes after {}", pair[1].pts, pair[0].pts);
    }
}

/// Each buffer is stamped with the time at which it leaves: what is late or piles up shows here. One of ten may be
/// later, for the machine may be busy.
fn assert_stamped_when_pushed(pictures: &[Picture], within: Duration) {
    let apart = |picture: &Picture| {
        let running = picture.running.expect("a playing pipeline has a running time");
        Duration::from_nanos(nanoseconds(running).abs_diff(nanoseconds(picture.pts)))
    };
    let mut apart: Vec<_> = pictures.iter().map(apart).collect();
    apart.sort_unstable();
    let most = apart[(apart.len() - 1) * 9 / 10];
    assert!(most <= within, "nine of ten buffers leave within {most:?} of their timestamp, expected {within:?}");
}

#[cfg(target_os = "linux")] // no x264enc in the wheels that the tests use
#[test]
fn ten_silent_seconds_beside_live_audio_leave_the_recording_whole() {
    let (name, folder) = (Name::new("silent"), Folder::new("silent"));
    let file = folder.join("silent.mp4");
    let mut writer = sender(&name);
    let video = format!("{} ! {ENCODER} ! queue ! mp4mux name=m", source(&name, "pacing=as-produced"));
    let audio = "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! voaacenc ! aacparse ! queue ! m.";
    let run = Run::new(&format!("{video} ! filesink location={} {audio}", file.display()));
    let recorder = Recorder::source(&run, "s");
    writer.ask(&format!("loop {name} 30"));
    run.play();
    recorder.wait_for(60, PATIENCE);
    stop_loop(&mut writer);
    writer.say("rest 10");
    writer.hear("rested", Duration::from_secs(12));
    assert_eq!(run.posted("tdlink-stalled"), 1, "the pause is told once");
    assert_eq!(run.posted("tdlink-resumed"), 0);
    let silent = recorder.count();
    let resumed = Instant::now();
    writer.ask(&format!("loop {name} 30"));
    let pictures = recorder.wait_for(silent + 60, PATIENCE);
    writer.ask("stop");

    let asked = Instant::now();
    run.pipeline.send_event(gst::event::Eos::new());
    prompt("EOS", PROMPT, || run.wait_eos(PROMPT));
    let length = asked - pictures[0].at;
    assert_eq!(run.posted("tdlink-stalled"), 1);
    assert_eq!(run.posted("tdlink-resumed"), 1);
    assert_eq!(run.posted("tdlink-disconnected"), 0, "silence is no disconnect");
    run.stop();

    assert_rising(&pictures);
    for pair in pictures.windows(2) {
        let apart = pair[1].at - pair[0].at;
        assert!(apart < Duration::from_millis(800), "keepalive is 500 ms, {apart:?} passed without a frame");
    }
    assert_stamped_when_pushed(&pictures, Duration::from_millis(250));
    let burst = pictures.iter().filter(|picture| picture.at >= resumed && picture.at - resumed < PROMPT).count();
    assert!(burst <= 30 + 6, "{burst} frames in the first second after the pause, of a sender that writes 30");

    writer.ask(&format!("unlink {name}"));

    let demux = format!("filesrc location={} ! qtdemux name=d", file.display());
    let tracks =
        "d.audio_0 ! queue ! fakesink name=audio sync=false d.video_0 ! queue ! fakesink name=video sync=false";
    let check = Run::new(&format!("{demux} {tracks}"));
    let [sound, film] = ["audio", "video"].map(|track| Recorder::on(&check.element(track), "sink"));
    check.play();
    check.wait_eos(PATIENCE);
    let sound = sound.pictures();
    for pair in sound.windows(2) {
        let expected = nanoseconds(pair[0].pts + pair[0].duration.expect("a track has durations"));
        let apart = (nanoseconds(pair[1].pts) - expected).abs();
        assert!(apart < 2_000_000, "the audio has a hole of {apart} ns at {}", pair[0].pts);
    }
    for (track, frames) in [("audio", &sound), ("video", &film.pictures())] {
        let (first, last) = (&frames[0], &frames[frames.len() - 1]);
        let lasts = Duration::from(last.pts - first.pts);
        let difference = lasts.abs_diff(length);
        assert!(difference < Duration::from_millis(700), "{track} lasts {lasts:?}, the recording {length:?}");
    }
}

#[cfg(target_os = "linux")] // no x264enc in the wheels that the tests use
#[test]
fn ctrl_c_ends_a_recording_whose_sender_stands_still() {
    let (name, folder) = (Name::new("ctrlc"), Folder::new("ctrlc"));
    let file = folder.join("still.mp4");
    let mut writer = sender(&name);
    writer.ask(&format!("fill {name} 70"));
    let chain =
        format!("{} ! {ENCODER} ! mp4mux ! filesink location={}", source(&name, "pacing=as-produced"), file.display());
    let mut launch = Peer::launch(&chain);
    launch.hear("tdlink-stalled", PATIENCE);
    launch.interrupt();
    let asked = Instant::now();
    let (status, heard) = launch.wait(PATIENCE);
    assert!(asked.elapsed() < PROMPT * 2, "it ended after {:?}", asked.elapsed());
    assert!(status.success(), "{status}: {heard:#?}");
    let check = Run::new(&format!("filesrc location={} ! qtdemux ! fakesink name=out sync=false", file.display()));
    let film = Recorder::on(&check.element("out"), "sink");
    check.play();
    check.wait_eos(PATIENCE);
    assert!(film.count() >= 2, "{} frames are in the file", film.count());
    writer.ask(&format!("unlink {name}"));
}

#[cfg_attr(windows, ignore = "a rate to the frame is judged on Linux: Wine under load is late")]
#[test]
fn constant_pacing_gives_exactly_600_frames_in_ten_seconds() {
    let name = Name::new("constant");
    let mut writer = sender(&name);
    writer.ask(&format!("fill {name} 0"));
    writer.ask(&format!("loop {name} 47 40 0.25"));
    let (run, recorder) = alone(&name, "pacing=constant framerate=60/1");
    let pictures = recorder.wait_for(630, PATIENCE);
    let times = stop_loop(&mut writer);
    let first = &pictures[0];
    for (n, picture) in (0u64..).zip(&pictures) {
        let due = gst::ClockTime::from_nseconds((n * 1_000_000_000 + 30) / 60);
        let pts = picture.pts - first.pts;
        assert!(nanoseconds(pts).abs_diff(nanoseconds(due)) <= 1, "frame {n} has PTS {pts}, expected {due}");
    }
    // the machine may be busy for a moment, but no frame comes early, and what comes late is caught up
    let late = |(n, picture): (u32, &Picture)| {
        let (at, due) = (picture.at - first.at, Duration::from_secs(1) * n / 60);
        assert!(at + Duration::from_millis(40) >= due, "frame {n} came at {at:?}, due at {due:?}");
        at.saturating_sub(due)
    };
    let late: Vec<_> = (0..).zip(&pictures).map(late).collect();
    let best = late[600 - 120..=600].iter().min().expect("there are frames");
    assert!(*best < Duration::from_millis(100), "600 frames take ten seconds of the clock on the wall, and {best:?}");
    let numbers: Vec<_> = pictures.iter().map(Picture::number).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] <= pair[1]), "no frame comes twice with another between");
    let mut distinct = numbers.clone();
    distinct.dedup();
    let written = numbers[numbers.len() - 1] - numbers[0];
    let seen = u32::try_from(distinct.len()).expect("hundreds");
    assert!(seen * 100 >= written * 90, "{seen} of {written} frames of a slower sender were seen");
    assert!(times.len() > 300, "the sender wrote {} frames", times.len());
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[cfg_attr(windows, ignore = "a rate to the frame is judged on Linux: Wine under load is late")]
#[test]
fn constant_pacing_does_not_drift_at_ntsc_rates() {
    let name = Name::new("ntsc");
    let mut writer = sender(&name);
    let (run, recorder) = alone(&name, "framerate=60000/1001");
    let pictures = recorder.wait_for(200, PATIENCE);
    for (n, picture) in (0u64..).zip(&pictures) {
        let due = gst::ClockTime::from_nseconds((n * 1001 * 1_000_000_000 + 30_000) / 60_000);
        let pts = picture.pts - pictures[0].pts;
        assert!(nanoseconds(pts).abs_diff(nanoseconds(due)) <= 1, "frame {n} has PTS {pts}, expected {due}");
    }
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn as_produced_keeps_the_senders_own_intervals() {
    let name = Name::new("produced");
    let mut writer = sender(&name);
    let (run, recorder) = alone(&name, "pacing=as-produced keepalive=0");
    run.wait_message("tdlink-connected");
    writer.ask(&format!("loop {name} 25 10 0.15"));
    let numbered = |picture: &&Picture| !picture.bytes.iter().all(|byte| *byte == 0);
    recorder.wait_until("60 frames", PATIENCE, |pictures| pictures.iter().filter(numbered).count() >= 60);
    let times = stop_loop(&mut writer);
    let pictures = recorder.pictures();
    assert_rising(&pictures);
    let frames: Vec<_> = pictures.iter().filter(numbered).collect();
    let numbers: Vec<_> = frames.iter().map(|frame| frame.number()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "each frame once: {numbers:?}");
    let lost = (numbers[numbers.len() - 1] - numbers[0] + 1) as usize - numbers.len();
    assert!(lost * 20 <= numbers.len(), "{lost} were lost besides {numbers:?}");
    assert!(frames.iter().all(|frame| !frame.is_gap()), "news are no gaps");
    let mut late: Vec<_> = frames
        .iter()
        .map(|frame| {
            nanoseconds(frame.pts - frames[0].pts)
                - (times[frame.number() as usize - 1] - times[numbers[0] as usize - 1])
        })
        .collect();
    late.sort_unstable();
    let (low, high) = (late[late.len() / 5], late[late.len() * 4 / 5]);
    let spread = Duration::from_nanos((high - low).unsigned_abs());
    assert!(spread < Duration::from_millis(6), "three of five frames have the sender's times within {spread:?}");
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn as_produced_sees_a_single_byte_wherever_it_changes() {
    let name = Name::new("byte");
    let mut writer = Peer::python("writer.py");
    let (width, height) = (640, 360);
    writer.ask(&format!("create {name} {}", width * height * 4));
    let geometry = format!("protocol=raw width={width} height={height} channels=4 origin=top-left");
    let run = Run::new(&format!(
        "tdshmsrc name=s shm-name={name} {geometry} pacing=as-produced ! video/x-raw,format=RGBA ! appsink name=out sync=false"
    ));
    run.play();
    for (n, at) in
        [0, width * height * 4 - 1, width * 4 * 7 + 13, width * 4 * 200 + 1001, 4 * 317].into_iter().enumerate()
    {
        writer.ask(&format!("poke {name} {at} {}", 100 + n));
        poll(&format!("byte {at} arrives"), Duration::from_secs(3), || {
            let (frame, _) = common::frames::pull(&run, "out");
            (usize::from(frame[at]) == 100 + n).then_some(())
        });
    }
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn keepalive_repeats_the_last_frame_by_reference_with_the_gap_flag() {
    let name = Name::new("alive");
    let mut writer = sender(&name);
    writer.ask(&format!("fill {name} 33"));
    let (run, recorder) = alone(&name, "pacing=as-produced keepalive=200");
    let pictures = recorder.wait_for(8, PATIENCE);
    assert!(!pictures[0].is_gap(), "the first is news");
    for pair in pictures.windows(2) {
        assert!(pair[1].is_gap(), "a repeat carries the GAP flag");
        assert_eq!(pair[1].address, pair[0].address, "a repeat is the same memory");
        let apart = Duration::from(pair[1].pts - pair[0].pts);
        assert!(
            apart.abs_diff(Duration::from_millis(200)) < Duration::from_millis(60),
            "{apart:?} apart, expected 200 ms"
        );
    }
    assert!(run.stat("s", "repeated") >= 7);
    let before = recorder.count();
    writer.ask(&format!("fill {name} 34"));
    recorder.wait_until("news", PATIENCE, |pictures| {
        pictures[before..].iter().any(|picture| picture.bytes[0] == 34 && !picture.is_gap())
    });
    run.stop();
    let (run, recorder) = alone(&name, "pacing=as-produced keepalive=0");
    recorder.wait_for(1, PATIENCE);
    writer.ask("rest 1.5");
    assert_eq!(recorder.count(), 1, "keepalive=0 repeats nothing");
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn silence_is_stalled_and_news_resume_it() {
    let name = Name::new("stall");
    let mut writer = sender(&name);
    for pacing in ["constant", "as-produced"] {
        let (run, recorder) = alone(&name, &format!("pacing={pacing} framerate=30/1 on-disconnect=error"));
        writer.ask(&format!("loop {name} 30"));
        recorder.wait_for(20, PATIENCE);
        writer.ask("stop");
        let stalled = run.wait_message("tdlink-stalled");
        let age = stalled.value("age-ms").expect("it says for how long");
        let age = age.get::<u64>().ok().or_else(|| age.get::<u32>().ok().map(u64::from)).expect("age-ms is a number");
        assert!((1..20_000).contains(&age), "{stalled}");
        writer.ask(&format!("loop {name} 30"));
        run.wait_message("tdlink-resumed");
        writer.ask("stop");
        run.wait_message("tdlink-stalled");
        assert_eq!(run.posted("tdlink-disconnected"), 0);
        run.assert_no_error();
        run.stop();
    }
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn a_stall_timeout_makes_silence_a_disconnect() {
    let name = Name::new("timeout");
    let mut writer = sender(&name);
    let (run, recorder) = alone(&name, "stall-timeout=2 on-disconnect=eos framerate=30/1");
    recorder.wait_for(1, PATIENCE);
    let start = Instant::now();
    run.wait_eos(Duration::from_secs(6));
    assert!(start.elapsed() >= Duration::from_millis(1500), "after two seconds, not {:?}", start.elapsed());
    run.stop();
    let (run, _recorder) = alone(&name, "stall-timeout=1 on-disconnect=error framerate=30/1");
    let error = run.wait_error(Duration::from_secs(6));
    assert!(error.contains("stall-timeout"), "{error}");
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn black_frames_fill_the_wait_when_asked_for() {
    let name = Name::new("black");
    let (run, recorder) = alone(&name, "while-waiting=black framerate=30/1");
    let black = recorder.wait_for(30, PATIENCE);
    for picture in &black {
        assert!(picture.bytes.chunks(4).all(|pixel| pixel == [0, 0, 0, 255]), "opaque black");
    }
    assert_stamped_when_pushed(&black, Duration::from_millis(250));
    assert!(!run.element("s").property::<bool>("connected"));
    let mut writer = sender(&name);
    writer.ask(&format!("fill {name} 90"));
    let pictures = recorder.wait_until("the sender's frame", PATIENCE, |pictures| {
        pictures.iter().any(|picture| picture.bytes.iter().all(|byte| *byte == 90))
    });
    assert_rising(&pictures);
    run.stop();
    writer.ask(&format!("unlink {name}"));
}

#[test]
fn nothing_is_pushed_while_waiting_and_the_first_frame_has_the_time_of_its_arrival() {
    let name = Name::new("late");
    for pacing in ["constant", "as-produced"] {
        let (run, recorder) = alone(&name, &format!("pacing={pacing} framerate=30/1"));
        run.wait_message("tdlink-waiting");
        let mut writer = Peer::python("writer.py");
        writer.ask("rest 1.2");
        assert_eq!(recorder.count(), 0, "nothing to push");
        let born = run.element("s").current_running_time().expect("it is playing");
        writer.ask(&format!("create {name} {SIZE}"));
        writer.ask(&format!("loop {name} 30"));
        let pictures = recorder.wait_for(20, PATIENCE);
        writer.ask("stop");
        assert!(pictures[0].pts + gst::ClockTime::from_mseconds(40) >= born, "{} is before {born}", pictures[0].pts);
        assert_stamped_when_pushed(&pictures, Duration::from_millis(250));
        let took = pictures[19].at - pictures[0].at;
        assert!(took >= Duration::from_millis(500), "20 frames at 30 a second in {took:?}: a burst");
        run.stop();
        writer.ask(&format!("unlink {name}"));
    }
}

#[test]
fn who_mixes_knows_the_frames_before_there_is_a_sender() {
    let name = Name::new("told");
    for pacing in ["constant", "as-produced"] {
        let (run, recorder) = alone(&name, &format!("pacing={pacing} framerate=30/1"));
        let caps = poll("caps without a sender", PATIENCE, || run.element("s").static_pad("src")?.current_caps());
        let said = caps.structure(0).expect("caps have a structure");
        assert_eq!((said.get("width"), said.get("height")), (Ok(64), Ok(64)), "{caps}");
        assert_eq!(said.get("framerate"), Ok(gst::Fraction::new(30, 1)), "{caps}");
        assert_eq!(recorder.count(), 0, "nothing to push");
        let mut writer = sender(&name);
        writer.ask(&format!("fill {name} 7"));
        recorder.wait_for(1, PATIENCE);
        assert_eq!(recorder.caps(), [caps], "and they are those of the sender's frames");
        run.stop();
        writer.ask(&format!("unlink {name}"));
    }
}

#[test]
fn a_capsfilter_may_change_its_mind_before_there_is_a_sender() {
    let name = Name::new("mind");
    for waiting in ["nothing", "black"] {
        let run = Run::playing(&format!(
            "tdshmsrc name=s shm-name={name} protocol=raw while-waiting={waiting} ! capsfilter name=f caps=video/x-raw,format=RGBA,width=64,height=64 ! fakesink sync=false async=false"
        ));
        for side in [64, 32] {
            let caps = format!("video/x-raw,format=RGBA,width={side},height={side}");
            run.element("f").set_property("caps", caps.parse::<gst::Caps>().expect("caps"));
            poll(&format!("{side} pixels of {waiting}"), PATIENCE, || {
                let caps = run.element("s").static_pad("src")?.current_caps()?;
                (caps.structure(0)?.get("width") == Ok(side)).then_some(())
            });
        }
        run.assert_no_error();
        run.stop();
    }
}

#[test]
fn counted_timestamps_are_frame_number_over_framerate() {
    let name = Name::new("count");
    let mut writer = sender(&name);
    writer.ask(&format!("fill {name} 1"));
    let (run, recorder) = alone(&name, "pacing=as-produced timestamp-mode=count framerate=30/1 keepalive=0");
    recorder.wait_for(1, PATIENCE);
    for byte in 2..=12usize {
        writer.ask(&format!("fill {name} {byte}"));
        recorder.wait_for(byte, PATIENCE);
    }
    let pictures = recorder.pictures();
    for (n, picture) in (0u64..).zip(&pictures) {
        let due = gst::ClockTime::from_nseconds((n * 1_000_000_000 + 15) / 30);
        assert!(nanoseconds(picture.pts).abs_diff(nanoseconds(due)) <= 1, "frame {n} has PTS {}", picture.pts);
    }
    assert_eq!(fresh(&pictures).len(), 12);
    run.stop();
    let (run, recorder) = alone(&name, "timestamp-mode=arrival framerate=30/1");
    assert_stamped_when_pushed(&recorder.wait_for(10, PATIENCE), Duration::from_millis(250));
    run.stop();
    writer.ask(&format!("unlink {name}"));
}
