// SPDX-License-Identifier: MPL-2.0
//! What readers, other writers and the machine do to a sink. Two processes each.
#![cfg(target_os = "linux")]

mod common;

use std::process::Command;
use std::time::Duration;

use common::machine::{can_mount_else_say, mappings};
use common::name::Name;
use common::peer::{Peer, load_plugin};
use common::run::Run;
use common::{PATIENCE, poll};

const SIZE: u64 = 64 * 64 * 4;
const PICTURES: &str =
    "videotestsrc is-live=true pattern=ball ! video/x-raw,format=RGBA,width=64,height=64,framerate=60/1 ! tdshmsink";

fn sink(name: &str, options: &str) -> String {
    format!("{PICTURES} name=s shm-name={name} {options}")
}

fn published(name: &str, options: &str) -> Run {
    let run = Run::playing(&sink(name, options));
    run.wait_message("tdlink-published");
    run
}

/// A Python reader that is attached and has seen a frame change. It leaves the name alone.
fn reader(name: &str) -> Peer {
    let mut reader = Peer::python("reader.py");
    assert_eq!(reader.ask(&format!("wait {name} 20")), format!("attached {SIZE}"));
    assert_eq!(reader.ask("changes 10"), "changed", "frames are live");
    reader
}

#[test]
fn either_side_may_start_first() {
    let name = Name::new("sfirst");
    let mut early = Peer::python("reader.py");
    early.say(&format!("wait {name} 20"));
    let run = published(&name, "");
    assert_eq!(early.hear("attached", PATIENCE), format!("attached {SIZE}"));
    assert_eq!(early.ask("changes 10"), "changed");
    reader(&name);
    run.stop();
    name.wait_until_gone(PATIENCE);
}

#[test]
fn a_python_reader_that_exits_and_takes_the_name_with_it_harms_nobody() {
    let name = Name::new("taken");
    let run = published(&name, "");
    let inode = name.inode().expect("it is published");
    let mut old = reader(&name);
    for _ in 0..3 {
        let mut thief = Peer::python("reader.py");
        assert_eq!(thief.ask(&format!("attach {name} tracked")), format!("attached {SIZE}"));
        thief.say("exit");
        thief.wait(PATIENCE); // its resource tracker unlinks the name before or after this
        let mut new = Peer::python("reader.py");
        poll("a new reader finds live frames", PATIENCE, || {
            // the name may go once more under this very reader's eyes: attach again then
            let attached = new.ask(&format!("wait {name} 10")) == format!("attached {SIZE}");
            (attached && new.ask("changes 5") == "changed").then_some(())
        });
        assert_eq!(old.ask("changes 10"), "changed", "a reader that was there before goes on");
    }
    name.wait_for_size(SIZE);
    assert_eq!(name.inode(), Some(inode), "the very same object is published again");
    run.assert_no_error();
    run.stop();
}

#[test]
fn a_name_unlinked_again_and_again_comes_back_with_the_same_object() {
    let name = Name::new("unlinked");
    let run = published(&name, "");
    let inode = name.inode().expect("it is published");
    for _ in 0..50 {
        std::fs::remove_file(name.path()).expect("it is there");
        assert_eq!(name.wait_for_size(SIZE), inode);
    }
    reader(&name);
    run.assert_no_error();
    run.stop();
}

#[test]
fn when_every_link_is_gone_the_sink_makes_a_new_object() {
    let name = Name::new("removed");
    let run = published(&name, "");
    let inode = name.inode().expect("it is published");
    for _ in 0..3 {
        // as logind's RemoveIPC does: whatever is there, the hidden link first
        poll("every link is removed at once", PATIENCE, || {
            let _ = std::fs::remove_file(name.keep());
            let _ = std::fs::remove_file(name.path());
            let _ = std::fs::remove_file(name.path().with_extension("tdlink"));
            name.leftovers().is_empty().then_some(())
        });
        name.wait_for_size(SIZE);
        reader(&name);
    }
    assert_ne!(name.inode(), Some(inode), "the old object had no name left to come back by");
    assert_eq!(mappings(), 2, "pixels and control segment: the old mappings are let go");
    run.assert_no_error();
    run.stop();
}

#[test]
fn a_second_sink_on_a_name_is_refused_and_says_how_to_take_over() {
    let name = Name::new("second");
    let run = published(&name, "");
    let inode = name.inode();
    let second = Run::playing(&sink(&name, ""));
    let error = second.wait_error(PATIENCE);
    assert!(error.contains(&*name) && error.contains("takeover"), "{error}");
    second.stop();
    assert_eq!(name.inode(), inode, "the first keeps the name");
    reader(&name);
    run.assert_no_error();
    run.stop();

    let mut first = Peer::launch(&sink(&name, ""));
    first.hear("tdlink-published", PATIENCE);
    let error = {
        let second = Run::playing(&sink(&name, ""));
        second.wait_error(PATIENCE)
    };
    assert!(error.contains("takeover"), "from another process: {error}");
    reader(&name);
    first.interrupt();
    first.wait(PATIENCE);
}

#[test]
fn takeover_takes_the_name_and_the_first_sink_leaves_it_alone() {
    let name = Name::new("takeover");
    let first = Run::playing(&sink(&name, ""));
    first.wait_message("tdlink-published");
    let mut frozen = reader(&name);
    let inode = name.inode();
    let second = published(&name, "takeover=true");
    assert_ne!(name.inode(), inode, "a new object, so that the two do not write into one another");
    let taken = name.inode();
    reader(&name);
    first.stop();
    assert_eq!(name.inode(), taken, "the first sink removed nothing that is not its own");
    assert_eq!(frozen.ask("md5").len(), 36);
    reader(&name);
    second.stop();
    name.wait_until_gone(PATIENCE);
}

#[test]
fn a_name_left_by_a_killed_sink_is_taken_over_unasked() {
    let name = Name::new("stale");
    let mut first = Peer::launch(&sink(&name, ""));
    first.hear("tdlink-published", PATIENCE);
    let mut orphan = reader(&name);
    first.kill();
    assert!(name.exists(), "a crash leaves the name");
    let run = published(&name, "");
    reader(&name);
    assert_eq!(orphan.ask("md5").len(), 36, "a reader of the old one is not torn away");
    run.assert_no_error();
    run.stop();

    let mut first = Peer::launch(&sink(&name, ""));
    first.hear("tdlink-published", PATIENCE);
    first.kill();
    let small = sink(&name, "").replace("width=64", "width=32");
    let run = Run::playing(&small);
    run.wait_message("tdlink-published");
    name.wait_for_size(SIZE / 2);
    run.stop();
}

#[test]
fn a_foreign_segment_of_the_right_size_is_written_in_place_and_stays() {
    let name = Name::new("adopt");
    let mut owner = Peer::python("writer.py");
    owner.ask(&format!("create {name} {SIZE}"));
    let inode = name.inode();
    let run = published(&name, "");
    reader(&name);
    assert_eq!(name.inode(), inode, "the very object that was there");
    run.stop();
    assert_eq!(name.inode(), inode, "its creator removes it, not the sink");
    owner.ask(&format!("unlink {name}"));
}

#[test]
fn a_foreign_segment_of_another_size_is_replaced_unless_somebody_has_it_open() {
    for size in [16, 1_000_000] {
        let name = Name::new("resize");
        let mut owner = Peer::python("writer.py");
        owner.ask(&format!("create {name} {size}"));
        let run = Run::playing(&sink(&name, ""));
        let error = run.wait_error(PATIENCE);
        for word in [&*name, &size.to_string(), &SIZE.to_string(), &owner.pid().to_string()] {
            assert!(error.contains(word), "the error names {word}: {error}");
        }
        run.stop();
        assert_eq!(name.inode_and_size().map(|(_, size)| size), Some(size), "it is left as it was");
        owner.ask(&format!("close {name}"));
        let run = published(&name, "");
        reader(&name);
        run.stop();
    }
}

#[test]
fn an_empty_segment_is_replaced() {
    let name = Name::new("sempty");
    std::fs::write(name.path(), "").expect("the file can be made");
    let run = published(&name, "");
    reader(&name);
    run.stop();
}

#[test]
fn what_is_no_segment_is_refused_and_left_alone() {
    let name = Name::new("ssquat");
    let path = name.path();
    for found in ["directory", "fifo", "symlink"] {
        match found {
            "directory" => std::fs::create_dir(&path).expect("the folder can be made"),
            "fifo" => assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success()),
            _ => std::os::unix::fs::symlink("/nonexistent/target", &path).expect("the link can be made"),
        }
        let kind = path.symlink_metadata().expect("it is there").file_type();
        let run = Run::playing(&sink(&name, ""));
        let error = run.wait_error(PATIENCE);
        assert!(error.contains(&*name), "{found}: {error}");
        run.stop();
        assert_eq!(path.symlink_metadata().expect("it is still there").file_type(), kind);
        let removed = if found == "directory" { std::fs::remove_dir(&path) } else { std::fs::remove_file(&path) };
        removed.unwrap_or_else(|error| panic!("the {found} is still there: {error}"));
    }
}

#[test]
fn a_segment_that_shrinks_under_the_sink_kills_nobody() {
    let name = Name::new("sshrunk");
    let mut peer = Peer::python("writer.py");
    for size in [0, 100, 4096] {
        let run = published(&name, "");
        peer.ask(&format!("truncate {name} {size}"));
        // either it is put right under the same name, or the sink says what happened
        poll("frames again, or an error", PATIENCE, || {
            let refused = run.sayings().iter().any(|said| said.contains(&*name));
            let whole = name.inode_and_size().is_some_and(|(_, found)| found == SIZE);
            (whole || refused).then_some(())
        });
        run.stop();
    }
}

#[test]
fn a_segment_that_shrinks_in_the_middle_of_a_frame_kills_nobody() {
    let name = Name::new("smiddle");
    let (width, height) = (1920, 1080);
    let whole = width * height * 4;
    let pictures = format!("videotestsrc pattern=black ! video/x-raw,format=RGBA,width={width},height={height}");
    let mut peer = Peer::python("writer.py");
    for _ in 0..12 {
        let run = Run::playing(&format!("{pictures} ! tdshmsink name=s shm-name={name} sync=false"));
        run.wait_message("tdlink-published");
        poll("it is in full swing", PATIENCE, || (run.stat("s", "frames") >= 3).then_some(()));
        peer.ask(&format!("truncate {name} 0"));
        poll("frames again, or an error", PATIENCE, || {
            let refused = run.sayings().iter().any(|said| said.contains(&*name));
            (name.inode_and_size().is_some_and(|(_, found)| found == whole) || refused).then_some(())
        });
        run.stop();
    }
}

#[test]
fn another_object_under_the_name_is_never_touched() {
    let name = Name::new("usurped");
    let run = published(&name, "");
    let mut usurper = Peer::python("writer.py");
    usurper.ask(&format!("replace {name} {SIZE}"));
    usurper.ask(&format!("fill {name} 42"));
    let inode = name.inode();
    let frames = run.stat("s", "frames");
    poll("sixty more frames, or the sink gives up", PATIENCE, || {
        let refused = run.sayings().iter().any(|said| said.contains(&*name) && said.contains("other"));
        (refused || run.stat("s", "frames") > frames + 60).then_some(())
    });
    run.stop();
    assert_eq!(name.inode(), inode);
    let mut reader = Peer::python("reader.py");
    reader.ask(&format!("attach {name}"));
    assert_eq!(reader.ask(&format!("bytes {} 4", SIZE - 4)), "2a2a2a2a", "the sink wrote nothing into it");
    usurper.ask(&format!("unlink {name}"));
}

#[test]
fn a_full_dev_shm_is_an_error_with_both_numbers_and_no_crash() {
    if !can_mount_else_say("a /dev/shm that is full") {
        return;
    }
    let name = Name::new("full");
    let wide = sink(&name, "").replace("width=64", "width=1280").replace("height=64", "height=720");
    let script = format!(
        "mount -t tmpfs -o size=256k tmpfs /dev/shm && timeout 30 gst-launch-1.0 -m {} {wide}; \
         echo status $?; ls -A /dev/shm; df --output=used /dev/shm | tail -1 | sed 's/ *//;s/^/used /'",
        load_plugin()
    );
    let output = Command::new("unshare").args(["--mount", "--", "sh", "-c", &script]).output().expect("unshare runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("status 1\n"), "gst-launch-1.0 ends with an error of its own: {said}");
    assert!(said.contains("/dev/shm") || said.contains("space"), "the error says what is full: {said}");
    assert!(said.contains(&(1280 * 720 * 4).to_string()), "and how much was wanted: {said}");
    assert!(said.ends_with("used 0\n") || said.contains("used 0\n"), "nothing is left there: {said}");
}

#[test]
fn a_caps_change_that_no_longer_fits_is_an_error_and_no_crash() {
    if !can_mount_else_say("a /dev/shm that becomes too small") {
        return;
    }
    let name = Name::new("outgrown");
    let small = "videotestsrc num-buffers=5 ! video/x-raw,format=RGBA,width=64,height=64 ! c.";
    let large = "videotestsrc num-buffers=5 ! video/x-raw,format=RGBA,width=1280,height=720 ! c.";
    let script = format!(
        "mount -t tmpfs -o size=256k tmpfs /dev/shm && timeout 30 gst-launch-1.0 -m {} \
         concat name=c ! tdshmsink sync=false shm-name={name} {small} {large}; echo status $?; ls -A /dev/shm",
        load_plugin()
    );
    let output = Command::new("unshare").args(["--mount", "--", "sh", "-c", &script]).output().expect("unshare runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("tdlink-published"), "the small frames fit: {said}");
    assert!(said.contains("status 1\n"), "the large ones do not: {said}");
    assert!(said.trim_end().ends_with("status 1") || !said.contains(&format!("\n{name}")), "nothing is left: {said}");
}

#[test]
fn ctrl_c_takes_the_name_away() {
    let name = Name::new("sctrlc");
    let mut launch = Peer::launch(&sink(&name, ""));
    launch.hear("tdlink-published", PATIENCE);
    reader(&name);
    launch.interrupt();
    let (status, heard) = launch.wait(Duration::from_secs(5));
    assert!(status.success(), "{heard:#?}");
    name.wait_until_gone(PATIENCE);
}

#[test]
fn the_last_frame_stays_readable_until_the_sink_stops() {
    let name = Name::new("last");
    let run = Run::playing(&sink(&name, "sync=false").replace("is-live=true", "num-buffers=5"));
    run.wait_eos(PATIENCE);
    let mut reader = Peer::python("reader.py");
    assert_eq!(reader.ask(&format!("attach {name}")), format!("attached {SIZE}"));
    assert_ne!(reader.ask(&format!("bytes {} 4", SIZE / 2)), "00000000", "there is a picture");
    assert_eq!(run.stat("s", "frames"), 5);
    run.stop();
    name.wait_until_gone(PATIENCE);
}
