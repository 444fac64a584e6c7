// SPDX-License-Identifier: MPL-2.0
//! A pipeline and everything that its bus said.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::{PATIENCE, PROMPT, prompt};

/// Stopped when dropped.
pub struct Run {
    pub pipeline: gst::Pipeline,
    bus: gst::Bus,
    seen: RefCell<Vec<Seen>>,
}

struct Seen {
    message: gst::Message,
    /// Some wait was for it.
    taken: bool,
}

impl Run {
    /// The pipeline that gst-launch-1.0 would run.
    pub fn new(description: &str) -> Self {
        super::init();
        let parsed = gst::parse::launch_full(description, None, gst::ParseFlags::FATAL_ERRORS);
        Self::of(parsed.unwrap_or_else(|error| panic!("{description}: {error}")))
    }

    /// The same of words that a shell has split, playing.
    pub fn playing_words(words: &[String]) -> Self {
        super::init();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let parsed = gst::parse::launchv_full(&words, None, gst::ParseFlags::FATAL_ERRORS);
        let run = Self::of(parsed.unwrap_or_else(|error| panic!("{}: {error}", words.join(" "))));
        run.play();
        run
    }

    fn of(element: gst::Element) -> Self {
        let pipeline = element.downcast::<gst::Pipeline>().unwrap_or_else(|element| {
            let pipeline = gst::Pipeline::new();
            pipeline.add(&element).expect("a lone element can be added");
            pipeline
        });
        let bus = pipeline.bus().expect("a pipeline has a bus");
        Self { pipeline, bus, seen: RefCell::default() }
    }

    /// The same, playing. An element that cannot start says so on the bus, not here.
    pub fn playing(description: &str) -> Self {
        let run = Self::new(description);
        run.play();
        run
    }

    pub fn play(&self) {
        let _ = self.pipeline.set_state(gst::State::Playing);
    }

    pub fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    pub fn element(&self, name: &str) -> gst::Element {
        self.pipeline.by_name(name).unwrap_or_else(|| panic!("the pipeline has an element {name}"))
    }

    /// NULL, promptly. Messages so far are history; the next start waits for its own.
    pub fn stop(&self) {
        prompt("the change to NULL", PROMPT, || {
            let changed = self.pipeline.set_state(gst::State::Null);
            assert_eq!(changed, Ok(gst::StateChangeSuccess::Success), "the pipeline stops");
        });
        self.gather();
        self.seen.borrow_mut().iter_mut().for_each(|seen| seen.taken = true);
    }

    fn gather(&self) {
        while let Some(message) = self.bus.pop() {
            self.seen.borrow_mut().push(Seen { message, taken: false });
        }
    }

    /// Waits for a message that `pick` takes, among those that no earlier wait took. An error that it does not take
    /// ends the wait.
    pub fn wait<T>(&self, what: &str, limit: Duration, mut pick: impl FnMut(&gst::MessageRef) -> Option<T>) -> T {
        let end = Instant::now() + limit;
        let mut next = 0;
        loop {
            while next < self.seen.borrow().len() {
                let seen = &mut self.seen.borrow_mut()[next];
                next += 1;
                if seen.taken {
                    continue;
                }
                if let Some(picked) = pick(&seen.message) {
                    seen.taken = true;
                    return picked;
                }
                if let gst::MessageView::Error(error) = seen.message.view() {
                    panic!("waiting for {what}: {}: {:?}", error.error(), error.debug());
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            let nanoseconds = u64::try_from(left.as_nanos()).expect("a few seconds");
            match self.bus.timed_pop(gst::ClockTime::from_nseconds(nanoseconds)) {
                Some(message) => self.seen.borrow_mut().push(Seen { message, taken: false }),
                None => panic!("no {what} within {limit:?}; messages: {:#?}", self.history()),
            }
        }
    }

    /// Waits for the element message `name` (`tdlink-connected`).
    pub fn wait_message(&self, name: &str) -> gst::Structure {
        self.wait_message_within(name, PATIENCE)
    }

    pub fn wait_message_within(&self, name: &str, limit: Duration) -> gst::Structure {
        self.wait(name, limit, |message| {
            message.structure().filter(|found| found.name() == name).map(ToOwned::to_owned)
        })
    }

    /// Waits for an element error: its text and its details.
    pub fn wait_error(&self, limit: Duration) -> String {
        self.wait("error", limit, |message| match message.view() {
            gst::MessageView::Error(error) => Some(said(&error.error(), error.debug())),
            _ => None,
        })
    }

    pub fn wait_eos(&self, limit: Duration) {
        self.wait("EOS", limit, |message| matches!(message.view(), gst::MessageView::Eos(_)).then_some(()));
    }

    /// How often the element message `name` was posted so far.
    pub fn posted(&self, name: &str) -> usize {
        self.gather();
        let named = |seen: &&Seen| seen.message.structure().is_some_and(|found| found.name() == name);
        self.seen.borrow().iter().filter(named).count()
    }

    /// What errors, warnings and infos said so far.
    pub fn sayings(&self) -> Vec<String> {
        self.gather();
        let text = |seen: &Seen| words(&seen.message);
        self.seen.borrow().iter().filter_map(text).collect()
    }

    /// Asserts that nothing went wrong so far.
    pub fn assert_no_error(&self) {
        self.gather();
        let is_error = |seen: &&Seen| matches!(seen.message.view(), gst::MessageView::Error(_));
        assert_eq!(self.seen.borrow().iter().filter(is_error).count(), 0, "{:#?}", self.history());
    }

    /// Every message so far but the noise of state changes, readable.
    pub fn history(&self) -> Vec<String> {
        self.gather();
        let seen = self.seen.borrow();
        let told = seen.iter().map(|seen| &seen.message).filter(|message| {
            use gst::MessageView::{StateChanged, StreamStatus, Tag};
            !matches!(message.view(), StateChanged(_) | StreamStatus(_) | Tag(_))
        });
        told.map(|message| words(message).unwrap_or_else(|| format!("{message:?}"))).collect()
    }

    /// A number from the `stats` of `name`.
    pub fn stat(&self, name: &str, field: &str) -> u64 {
        let stats = self.element(name).property::<gst::Structure>("stats");
        let value = stats.value(field).unwrap_or_else(|_| panic!("{field} is in {stats}"));
        let number = value.transform::<i64>().ok().and_then(|number| number.get::<i64>().ok());
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.unwrap_or_else(|| panic!("{field} is a number, and not negative, in {stats}"))
    }
}

/// What an error, a warning or an info says.
fn words(message: &gst::MessageRef) -> Option<String> {
    match message.view() {
        gst::MessageView::Error(error) => Some(said(&error.error(), error.debug())),
        gst::MessageView::Warning(warning) => Some(said(&warning.error(), warning.debug())),
        gst::MessageView::Info(info) => Some(said(&info.error(), info.debug())),
        _ => None,
    }
}

fn said(error: &gst::glib::Error, debug: Option<gst::glib::GString>) -> String {
    format!("{error} {}", debug.unwrap_or_default())
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
