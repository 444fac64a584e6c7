// SPDX-License-Identifier: MPL-2.0
//! `tdlink watch`: what happens in a buffer, live: on a screen, as lines, as JSON, or for Prometheus.

mod metrics;
mod screen;
mod state;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};

use crate::buffer::describe::{age, pipeline};
use crate::buffer::picture::Picture;
use crate::buffer::source::{News, Source, Want};
use crate::cli::Geometry;
use crate::failure::Failure;
use crate::gstreamer::{Line, hear_stop, stopped};
use crate::output::Output;
use crate::seconds::whole_seconds;
use state::Watched;

/// How often the screen is drawn, and keys are looked at.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How often a line is said where there is no screen.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `watch`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The buffer
    pub name: String,
    /// Serve Prometheus text under http://ADDR/metrics; a port alone is one of this machine's loopback address
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub metrics: Option<SocketAddr>,
    /// End after so many seconds; else with `q`, or when it is interrupted
    #[arg(long, value_name = "SECONDS", value_parser = whole_seconds)]
    pub seconds: Option<u32>,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// `9464`, `:9464`, `0.0.0.0:9464`, `[::1]:9464`. Port 0 is any free one.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| format!("{text:?} is neither a port nor an address with one, such as 127.0.0.1:9464"))
}

/// Watches until it is enough.
pub fn run(args: Args, out: &mut Output) -> Result<(), Failure> {
    if out.is_print() {
        return out.pipeline(&pipeline(
            &args.name,
            &args.geometry,
            Line::default().then("videoconvert").then("fpsdisplaysink"),
        )?);
    }
    // The first look tells what can be had: pixels, or times alone where pixels need a driver that is not here.
    let (source, want) = match Source::open(&args.name, &args.geometry, Want::Pixels) {
        Ok((source, _)) => (source, Want::Pixels),
        Err(failure @ (Failure::NotFound(_) | Failure::Usage(_))) => return Err(failure),
        Err(_) => (Source::open(&args.name, &args.geometry, Want::Times)?.0, Want::Times),
    };
    hear_stop()?;
    let watched = Arc::new(Mutex::new(Watched::new(&args.name)));
    if let Some(address) = args.metrics {
        let address = metrics::serve(address, Arc::clone(&watched))
            .map_err(|error| Failure::Failed(format!("no metrics can be served on {address}: {error}")))?;
        out.note(format_args!("metrics on http://{address}/metrics"));
    }
    let ends = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let watch = Watch { args, want, source: Some(source), watched, ends };
    if out.is_terminal() { watch.on_screen() } else { watch.in_lines(out) }
}

struct Watch {
    args: Args,
    want: Want,
    source: Option<Source>,
    watched: Arc<Mutex<Watched>>,
    ends: Option<Instant>,
}

impl Watch {
    fn is_over(&self) -> bool {
        stopped() || self.ends.is_some_and(|ends| Instant::now() >= ends)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Watched> {
        // Every change of it is whole before anything can panic.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what comes until `until`. A producer that has gone, or can no longer be read, is looked for again.
    fn take(&mut self, picture: &mut Picture, until: Instant) -> Result<(), Failure> {
        if self.source.is_none() {
            let opened = Source::open(&self.args.name, &self.args.geometry, self.want);
            match opened.and_then(|(source, _)| Ok((Picture::blank(&source.desc())?, source))) {
                Ok((blank, source)) => {
                    *picture = blank;
                    self.source = Some(source);
                    self.lock().gone = None;
                }
                Err(_) => {
                    std::thread::sleep(until.saturating_duration_since(Instant::now()));
                    self.lock().look();
                    return Ok(());
                }
            }
        }
        while Instant::now() < until {
            let Some(source) = &mut self.source else { break };
            let news = source.next(until, picture).unwrap_or_else(|failure| News::Gone(failure.to_string()));
            let (desc, losses) = (source.desc(), source.losses());
            let pixels = (self.want == Want::Pixels).then_some(&*picture);
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            match news {
                News::Frame { published, arrived } => watched.frame(&desc, losses, published, arrived, pixels)?,
                News::Changed | News::Nothing => {}
                News::Gone(why) => {
                    watched.gone = Some(why);
                    drop(watched);
                    self.source = None;
                }
            }
        }
        self.lock().look();
        Ok(())
    }

    fn first_picture(&self) -> Result<Picture, Failure> {
        let desc = self.source.as_ref().map(Source::desc);
        desc.map_or_else(|| Err(Failure::Failed("there is no source".to_owned())), |desc| Picture::blank(&desc))
    }

    fn in_lines(mut self, out: &mut Output) -> Result<(), Failure> {
        let mut picture = self.first_picture()?;
        let mut second = Instant::now();
        loop {
            second += LINE_EVERY;
            // In short steps, so that being asked to end is heard.
            while !self.is_over() && Instant::now() < second {
                self.take(&mut picture, second.min(Instant::now() + DRAW_EVERY))?;
            }
            if stopped() {
                return Ok(());
            }
            let (value, line) = {
                let mut watched = self.lock();
                watched.second();
                (watched.value(), line(&watched))
            };
            out.value(&value)?;
            out.line(line)?;
            if self.is_over() {
                return Ok(());
            }
        }
    }

    fn on_screen(mut self) -> Result<(), Failure> {
        let mut picture = self.first_picture()?;
        // Half of it may be done when it fails.
        let mut terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        let mut second = Instant::now() + LINE_EVERY;
        let watched = loop {
            let step = self.take(&mut picture, Instant::now() + DRAW_EVERY).and_then(|()| {
                if Instant::now() >= second {
                    second += LINE_EVERY;
                    self.lock().second();
                }
                terminal.draw(|frame| screen::draw(frame, &self.lock()))?;
                Ok(self.is_over() || asked_to_end()?)
            });
            match step {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        // Before anything else is said.
        ratatui::try_restore()?;
        watched
    }
}

/// Whether somebody pressed `q`, Escape or Control-C.
fn asked_to_end() -> Result<bool, Failure> {
    while event::poll(Duration::ZERO)? {
        if let Event::Key(key) = event::read()? {
            let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn line(watched: &Watched) -> String {
    if let Some(why) = &watched.gone {
        return format!("gone: {why}; waiting for another producer");
    }
    let rate = watched.summary.map_or(0.0, |summary| summary.rate);
    let jitter = watched.summary.map_or(0.0, |summary| summary.jitter);
    let latency = watched.latency.mean().map(age).unwrap_or_else(|| "-".to_owned());
    format!(
        "{rate:.2} Hz, jitter {jitter:.2} ms, latency {latency}, {} frames, {} skipped, {} torn, {} readers",
        watched.frames,
        watched.losses.skipped,
        watched.losses.torn,
        watched.consumers.map_or_else(|| "?".to_owned(), |number| number.to_string())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_the_loopback_address() {
        for text in ["9464", ":9464", "127.0.0.1:9464"] {
            assert_eq!(address(text), Ok("127.0.0.1:9464".parse().unwrap()));
        }
        assert_eq!(address("0.0.0.0:1"), Ok("0.0.0.0:1".parse().unwrap()));
        assert!(address("cam1").is_err() && address("99999").is_err());
    }
}
