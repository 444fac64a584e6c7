// SPDX-License-Identifier: MPL-2.0
//! What Prometheus scrapes: text of the exposition format 0.0.4 over HTTP.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::state::Watched;
use crate::measure::EDGES_US;

/// Whoever asks has so long for it, and for the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest request that is read.
const LONGEST: u64 = 8192;

/// Serves from a thread of its own for as long as the program runs. Gives the address, whose port may have been 0.
pub fn serve(address: SocketAddr, watched: Arc<Mutex<Watched>>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // One that goes away in the middle of it is of no concern to the next.
            let _ = answer(stream, &watched);
        }
    })?;
    Ok(address)
}

fn answer(stream: TcpStream, watched: &Mutex<Watched>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new((&stream).take(LONGEST));
    let mut request = String::new();
    reader.read_line(&mut request)?;
    // The rest is read, so that closing does not take the answer away.
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = request.split_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics" | "/")) => {
            ("200 OK", text(&watched.lock().unwrap_or_else(PoisonError::into_inner)))
        }
        (Some("GET"), _) => ("404 Not Found", "only /metrics is here\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET is answered\n".to_owned()),
    };
    write!(
        &stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

fn text(watched: &Watched) -> String {
    let label = format!("name=\"{}\"", watched.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "# HELP tdlink_{name} {help}\n# TYPE tdlink_{name} {kind}\ntdlink_{name}{{{label}}} {value}"
        );
    };
    metric("up", "gauge", "Whether a producer is there.", u8::from(watched.gone.is_none()).to_string());
    metric("frames_total", "counter", "Frames that were seen.", watched.frames.to_string());
    metric("bytes_total", "counter", "Bytes of these frames.", watched.bytes.to_string());
    metric("skipped_total", "counter", "Frames that were published and not seen.", watched.losses.skipped.to_string());
    metric("torn_total", "counter", "Copies that were given up as torn.", watched.losses.torn.to_string());
    let rate = watched.summary.map_or(0.0, |summary| summary.rate);
    metric("frame_rate", "gauge", "Frames per second of the last second.", rate.to_string());
    if let Some(consumers) = watched.consumers {
        metric("consumers", "gauge", "Readers of the control segment but this one.", consumers.to_string());
    }
    if let Some(last) = watched.last {
        metric(
            "last_frame_age_seconds",
            "gauge",
            "Time since the last frame.",
            last.elapsed().as_secs_f64().to_string(),
        );
    }
    let _ = writeln!(
        text,
        "# HELP tdlink_latency_seconds From publication to here.\n# TYPE tdlink_latency_seconds histogram"
    );
    let mut below = 0;
    for (edge, frames) in EDGES_US.iter().zip(watched.latency.buckets) {
        below += frames;
        let _ = writeln!(text, "tdlink_latency_seconds_bucket{{{label},le=\"{}\"}} {below}", *edge as f64 / 1e6);
    }
    let _ = writeln!(text, "tdlink_latency_seconds_bucket{{{label},le=\"+Inf\"}} {}", watched.latency.count);
    let _ = writeln!(text, "tdlink_latency_seconds_sum{{{label}}} {}", watched.latency.sum as f64 / 1e9);
    let _ = writeln!(text, "tdlink_latency_seconds_count{{{label}}} {}", watched.latency.count);
    text
}
