// SPDX-License-Identifier: MPL-2.0
//! One pipeline that reads buffers, from its start to its end, and what its sources counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::child::TO_END;
use super::{Child, Ended, Fields, GStreamer, Line, Said, Trouble, stopped};
use crate::address::without_secrets;
use crate::output::Output;

/// How long a silence of a pipeline lasts before other things are looked at.
const SILENCE: Duration = Duration::from_millis(50);

/// What a source has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that came.
    pub frames: u64,
    /// Frames that were sent again because none came.
    pub repeated: u64,
    /// Frames that were published and never seen.
    pub skipped: u64,
    /// Frames that were seen half written and not taken.
    pub torn: u64,
    /// Frames that the producer wrote over meanwhile.
    pub overwritten: u64,
}

impl Counts {
    fn read(fields: &Fields) -> Self {
        let of = |name: &str| fields.get(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        Self {
            frames: of("frames"),
            repeated: of("repeated"),
            skipped: of("skipped"),
            torn: of("torn"),
            overwritten: of("overwritten"),
        }
    }

    /// Frames that went on into the pipeline.
    pub fn passed(&self) -> u64 {
        self.frames + self.repeated
    }

    /// Frames that nobody will see.
    pub fn lost(&self) -> u64 {
        self.skipped + self.torn + self.overwritten
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            repeated: self.repeated + other.repeated,
            skipped: self.skipped + other.skipped,
            torn: self.torn + other.torn,
            overwritten: self.overwritten + other.overwritten,
        }
    }

    /// For people.
    pub fn words(&self) -> String {
        let more = if self.overwritten > 0 { format!(", {} overwritten", self.overwritten) } else { String::new() };
        format!(
            "{} frames, {} skipped, {} repeated, {} torn{more}",
            self.passed(),
            self.skipped,
            self.repeated,
            self.torn
        )
    }

    /// For programs.
    pub fn value(&self) -> Value {
        json!({
            "frames": self.passed(),
            "repeated": self.repeated,
            "skipped": self.skipped,
            "torn": self.torn,
            "overwritten": self.overwritten,
        })
    }
}

/// Why a run was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// We were asked to stop.
    Stopped,
    /// Its time is over.
    Due,
    /// The producers have gone.
    Gone,
    /// The caller wished it.
    Asked,
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How the pipeline ended.
    pub ended: Ended,
    /// Why it was ended; `None` when it came to its end by itself.
    pub why: Option<Why>,
    /// What each source counted, by the element's name.
    pub counts: BTreeMap<String, Counts>,
}

/// A pipeline to run.
#[derive(Debug)]
pub struct Run<'a> {
    /// With this GStreamer.
    pub gstreamer: &'a GStreamer,
    /// The pipeline.
    pub line: &'a Line,
    /// The buffers of `src0` and so on: when the producers of all have gone, it ends. None: it goes on.
    pub names: &'a [String],
    /// An address in the pipeline, whose secrets are not to be repeated.
    pub address: Option<&'a str>,
    /// How many frames the first source, `src0`, is to pass on.
    pub frames: Option<u64>,
    /// How long it may run.
    pub lasts: Option<Duration>,
}

impl Run<'_> {
    /// Runs it to its end. `watch` is called some times a second with the child's process and says whether to end it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(
        &self,
        out: &Output,
        mut watch: impl FnMut(u32, &BTreeMap<String, Counts>) -> Option<Why>,
    ) -> Result<Outcome, Trouble> {
        let mut child = Child::launch(self.gstreamer, self.line.words())?;
        let mut counts = BTreeMap::new();
        let mut gone = BTreeSet::new();
        let mut told = BTreeSet::new();
        let mut playing: Option<Instant> = None;
        let mut why = None;
        while why.is_none() && !child.has_ended() {
            match child.hear(SILENCE) {
                Some(Said::Playing) => playing = Some(Instant::now()),
                Some(Said::Eos) => break,
                Some(Said::Message { element, name, fields }) => match name.as_str() {
                    "tdlink-disconnected" => {
                        out.note(format_args!("{}: {}", self.what(&element), reason(&fields)));
                        gone.insert(element);
                    }
                    "tdlink-connected" => {
                        gone.remove(&element);
                    }
                    "tdlink-stalled" => out.note(format_args!("{}: no new frames come", self.what(&element))),
                    "tdlink-resumed" => out.note(format_args!("{}: frames come again", self.what(&element))),
                    _ => {}
                },
                Some(said) => self.hear(&said, &mut counts, &mut told, out),
                None => {}
            }
            let passed = counts.get("src0").map_or(0, Counts::passed);
            let due = self.lasts.zip(playing).is_some_and(|(lasts, since)| since.elapsed() >= lasts);
            why = if stopped() {
                Some(Why::Stopped)
            } else if due || self.frames.is_some_and(|frames| passed >= frames) {
                Some(Why::Due)
            } else if !self.names.is_empty() && gone.len() >= self.names.len() {
                Some(Why::Gone)
            } else {
                watch(child.id(), &counts)
            };
        }
        if why.is_some() {
            child.interrupt();
        }
        let ended = match child.end(TO_END, |said| self.hear(said, &mut counts, &mut told, out)) {
            Ended::Badly(why) => Ended::Badly(self.told(&why)),
            other => other,
        };
        if why.is_none() && stopped() {
            why = Some(Why::Stopped);
        }
        Ok(Outcome { ended, why, counts })
    }

    fn what<'b>(&'b self, element: &'b str) -> &'b str {
        let at = element.strip_prefix("src").and_then(|at| at.parse::<usize>().ok());
        at.and_then(|at| self.names.get(at)).map_or(element, String::as_str)
    }

    /// What the pipeline says, as it may be repeated.
    fn told(&self, text: &str) -> String {
        self.address.map_or_else(|| text.to_owned(), |address| without_secrets(text, address))
    }

    fn hear(&self, said: &Said, counts: &mut BTreeMap<String, Counts>, told: &mut BTreeSet<String>, out: &Output) {
        match said {
            Said::Stats { element, fields } => {
                counts.insert(element.clone(), Counts::read(fields));
            }
            // The same one every second helps nobody.
            Said::Warning { text, .. } if told.insert(text.clone()) => out.note(self.told(text)),
            _ => {}
        }
    }
}

fn reason(fields: &Fields) -> &str {
    fields.get("reason").map_or("its producer has gone", String::as_str)
}
