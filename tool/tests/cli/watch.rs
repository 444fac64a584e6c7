// SPDX-License-Identifier: MPL-2.0
//! `hz`, `bw` and `watch`.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::name::Name;
use super::{PATIENCE, Peer, command, json, listed, poll, python, said, testcard};

#[test]
fn the_rate_of_a_producer_is_measured_in_every_protocol() {
    let control = Name::new("hz-control");
    let _card = testcard(&control, &["--width", "160", "--height", "90", "--framerate", "25"]);
    let raw = Name::new("hz-raw");
    let mut writer = python("writer.py");
    writer.ask(&format!("create {raw} 57600"));
    writer.ask(&format!("loop {raw} 25"));
    let touch = Name::new("hz-touch");
    let mut top = python("touch.py");
    top.ask(&format!("send {} 160 90 44 v1", &*touch));
    top.ask("fill 1");
    top.ask("play 40");
    for (name, more) in [(&control, &[][..]), (&raw, &["--width", "160", "--height", "90"]), (&touch, &[])] {
        let (seconds, code) = json(&[&["hz", &**name, "--seconds", "3"], more].concat());
        assert_eq!((code, seconds.len()), (0, 3), "{seconds:#?}");
        // A loaded machine makes producers slow, never fast.
        let rate = seconds[1]["hz"].as_f64().unwrap();
        assert!((5.0..30.0).contains(&rate), "{name}: {seconds:#?}");
        assert_eq!(seconds[1]["frame-bytes"], 57600);
    }
    let text = said(&["bw", &control, "--seconds", "1"]);
    assert!(text.contains("MB/s") && text.contains("57600 bytes"), "{text}");
    let (status, _) = top.wait(PATIENCE);
    assert!(status.success(), "{status}");
    drop(writer);
    std::fs::remove_file(raw.path()).unwrap();
}

#[test]
fn a_watch_follows_a_producer_that_goes_and_comes_back() {
    let name = Name::new("watch-back");
    let mut card = testcard(&name, &["--width", "160", "--height", "90"]);
    let mut watch = Peer::spawn(command(&["--json", "watch", &name]));
    watch.hear("\"hz\"", PATIENCE);
    card.end();
    watch.hear("\"gone\":\"", PATIENCE);
    let _again = testcard(&name, &["--width", "320", "--height", "180"]);
    let line = poll("it goes on", PATIENCE, || {
        let line = watch.hear("\"gone\":null", PATIENCE);
        let value: Value = serde_json::from_str(&line).unwrap();
        (value["hz"].as_f64()? > 1.0).then_some(value)
    });
    assert_eq!(line["protocol"], "control");
    watch.kill();
    poll("its row is free", PATIENCE, || (listed(&name)[0]["consumers"] == 0).then_some(()));
}

#[test]
fn a_watch_that_cannot_read_goes_on_looking() {
    let name = Name::new("watch-cut");
    let bytes = vec![7; 64 * 64 * 4];
    std::fs::write(name.path(), &bytes).unwrap();
    let mut watch = Peer::spawn(command(&["--json", "watch", &name, "--width", "64", "--height", "64"]));
    watch.hear("\"gone\":null", PATIENCE);
    std::fs::OpenOptions::new().write(true).open(name.path()).unwrap().set_len(0).unwrap();
    watch.hear("\"gone\":\"", PATIENCE);
    std::fs::write(name.path(), &bytes).unwrap();
    watch.hear("\"gone\":null", PATIENCE);
    watch.signal("-TERM");
    let (status, _) = watch.wait(PATIENCE);
    std::fs::remove_file(name.path()).unwrap();
    assert_eq!(status.code(), Some(0), "it ends in order");
}

#[test]
fn a_watch_that_is_asked_to_end_gives_the_terminal_back() {
    const TERMINAL: &str = "
import os, pty, select, signal, struct, sys, termios, time, fcntl
pid, master = pty.fork()
if pid == 0:
    os.environ['TERM'] = 'xterm'
    os.execv(sys.argv[1], sys.argv[1:])
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 100, 0, 0))
said, sent, ends = b'', False, time.monotonic() + 20
while time.monotonic() < ends:
    if select.select([master], [], [], 0.1)[0]:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        said += data
    if not sent and b'ends' in said:
        raw = not termios.tcgetattr(master)[3] & termios.ICANON
        held = os.open(os.readlink('/proc/%d/fd/0' % pid), os.O_RDWR | os.O_NOCTTY)
        os.kill(pid, signal.SIGTERM)
        sent = True
        done, status = os.waitpid(pid, 0)
        cooked = bool(termios.tcgetattr(held)[3] & termios.ICANON)
        while select.select([master], [], [], 0.1)[0]:
            said += os.read(master, 65536)
        print(raw, cooked, status, b'\\x1b[?1049l' in said)
        break
";
    let name = Name::new("watch-term");
    let _card = testcard(&name, &["--width", "160", "--height", "90"]);
    let mut python = std::process::Command::new("timeout");
    python.args(["60", "/usr/bin/python3", "-c", TERMINAL, env!("CARGO_BIN_EXE_tdlink"), "watch", &name]);
    let output = python.output().expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), "True True 0 True", "raw before, cooked after, exit code, screen left: {output:?}");
}

#[test]
fn metrics_are_served_on_loopback_in_prometheus_text() {
    let name = Name::new("watch-metrics");
    let _card = testcard(&name, &["--width", "160", "--height", "90"]);
    let mut shell = std::process::Command::new("sh");
    // What it says beside its lines holds the port.
    shell.args(["-c", "exec \"$0\" watch \"$1\" --metrics 0 2>&1", env!("CARGO_BIN_EXE_tdlink"), &name]);
    let mut watch = Peer::spawn(shell);
    let said = watch.hear("metrics on http://127.0.0.1:", PATIENCE);
    let address = said.split("http://").nth(1).unwrap().trim_end_matches("/metrics").to_owned();
    watch.hear("Hz", PATIENCE);
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let text = get("/metrics");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("text/plain; version=0.0.4"), "{text}");
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let label = format!("{{name=\"{}\"}}", &*name);
    let number = |metric: &str| -> f64 {
        let line = body.lines().find_map(|line| line.strip_prefix(&format!("{metric}{label} ")));
        line.unwrap_or_else(|| panic!("{metric} is missing:\n{body}")).parse().unwrap()
    };
    assert_eq!((number("tdlink_up"), number("tdlink_consumers")), (1.0, 0.0));
    let frames = number("tdlink_frames_total");
    assert!(frames > 0.0);
    assert_eq!(number("tdlink_bytes_total"), frames * 57600.0);
    assert!(body.contains("le=\"+Inf\"") && body.contains("# TYPE tdlink_latency_seconds histogram"), "{body}");
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line:?}");
    }
    assert!(get("/other").starts_with("HTTP/1.1 404"));
    poll("it counts on", PATIENCE, || {
        (!get("/metrics").contains(&format!("tdlink_frames_total{label} {frames}\n"))).then_some(())
    });
}
