// SPDX-License-Identifier: MPL-2.0
//! What `tdlink stream` sends.

use std::net::UdpSocket;

use super::name::Name;
use super::*;

#[test]
fn a_stream_is_received_with_picture_and_sound() {
    let name = Name::new("srt");
    let folder = folder("srt");
    let (_sender, _) = sender(&name, (320, 180));
    // A port that was free a moment ago.
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let mut tool =
        beside(&folder, &["stream", &name, &format!("srt://127.0.0.1:{port}?mode=listener"), "--audio", "tone"]);
    let uri = format!("uri=srt://127.0.0.1:{port}?mode=caller");
    let parts =
        ["srtsrc", &uri, "!", "tsdemux", "name=d", "d.", "!", "queue", "!", "h264parse", "!", "avdec_h264", "!"];
    let rest = [
        "fakesink",
        "num-buffers=20",
        "sync=false",
        "d.",
        "!",
        "queue",
        "!",
        "aacparse",
        "!",
        "fakesink",
        "num-buffers=20",
        "sync=false",
    ];
    poll("somebody receives it", PATIENCE, || {
        let mut command = Command::new("timeout");
        command.args(["15", "gst-launch-1.0", "-q"]).args(parts).args(rest).env("GST_REGISTRY", registry());
        command.status().is_ok_and(|status| status.success()).then_some(())
    });
    tool.interrupt();
    let (status, heard) = tool.wait(PATIENCE);
    assert!(status.success(), "{status}: {heard:?}");
}

#[test]
fn a_stream_that_nobody_takes_is_tried_again_and_given_up() {
    let name = Name::new("norelay");
    let folder = folder("norelay");
    let (_sender, _) = sender(&name, (320, 180));
    // Nobody listens at the port of a socket that is bound and does not listen.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let url = format!("rtmp://127.0.0.1:{port}/live/key");
    let (text, code) = told(&tdlink(&folder, &["stream", &name, &url, "--audio", "none", "--attempts", "2"]));
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("again in 1 s") && text.contains("after 2 attempts"), "{text}");
}

#[test]
fn what_is_missing_for_a_stream_is_named_with_its_package() {
    let name = Name::new("nondi");
    let folder = folder("nondi");
    let (_sender, _) = sender(&name, (320, 180));
    let (text, code) = told(&tdlink(&folder, &["stream", &name, "ndi://Stage", "--print"]));
    // Where GStreamer has it, the pipeline is shown.
    let has =
        Command::new("gst-inspect-1.0").args(["--exists", "ndisink"]).status().is_ok_and(|status| status.success());
    if has {
        assert!(code == Some(0) && text.contains("ndisinkcombiner"), "{text}");
    } else {
        assert!(code == Some(3) && text.contains("ndisink") && text.contains("gst-plugins-rs"), "{text}");
    }
    let (text, code) = told(&tdlink(&folder, &["stream", &name, "ftp://x"]));
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn a_stream_ends_in_time_and_says_its_errors_in_any_language_and_never_its_key() {
    let name = Name::new("language");
    let folder = folder("language");
    let (_sender, _) = sender(&name, (320, 180));
    let run = |args: &[&str]| {
        let mut command = command(&folder, &[&["--json", "stream", &name], args].concat());
        command.env("LANGUAGE", "de").env("LANG", "C.UTF-8").env_remove("LC_ALL");
        let (text, code) = told(&command.output().expect("tdlink starts"));
        (code, text)
    };
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let url = format!("srt://127.0.0.1:{port}?mode=listener&streamid=s3cret-key");
    let (code, text) = run(&[&url, "--audio", "none", "-d", "2"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, broken) = run(&["rtmp://127.0.0.1:9/live/s3cret-key", "--audio", "none", "--attempts", "1"]);
    assert_eq!(code, Some(3), "{broken}");
    assert!(broken.contains("rtmp2sink") && !broken.contains("gave no reason"), "its error is heard: {broken}");
    assert!(!text.contains("s3cret") && !broken.contains("s3cret"), "the key is repeated: {text}\n{broken}");
}
