// SPDX-License-Identifier: MPL-2.0
//! The report of a run on a card.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::bench::date;

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Passed(Duration),
    Failed(String),
    /// There was no time for it.
    NotRun,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(took) => write!(f, "passed, {:.1} s", took.as_secs_f64()),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
            Self::NotRun => write!(f, "NOT RUN: no time was left"),
        }
    }
}

#[derive(Debug)]
pub struct Report {
    head: String,
    body: String,
    tests: Vec<(String, Verdict)>,
    /// Tests of the kit that need the emulated driver.
    emulated: usize,
    /// Something else than a test failed.
    trouble: bool,
}

impl Report {
    pub fn new(card: &str) -> Self {
        let kernel = std::fs::read_to_string("/proc/version").unwrap_or_default();
        let head = format!(
            "# tdlink's CUDA side on a card\n\n{}\n\n* driver: {card}\n* kernel: {}\n",
            date(),
            kernel.trim().chars().take(100).collect::<String>()
        );
        Self { head, body: String::new(), tests: Vec::new(), emulated: 0, trouble: false }
    }

    pub fn test(&mut self, group: &str, name: &str, verdict: Verdict) {
        self.tests.push((format!("{group}: {name}"), verdict));
    }

    pub fn emulated(&mut self, count: usize) {
        self.emulated += count;
    }

    pub fn gstreamer(&mut self, name: &str, elements: &str) {
        let _ = writeln!(self.head, "* GStreamer {name}: {elements}");
    }

    /// Which rules of the emulated driver this driver has.
    pub fn rules(&mut self, outcome: &Result<String, String>) {
        let _ = write!(self.body, "\n## The emulated driver's rules, asked of this one\n\n");
        match outcome {
            Ok(said) => {
                let _ = writeln!(self.body, "```\n{}\n```", said.trim());
            }
            Err(why) => {
                // A machine without Python is none with a fault.
                self.trouble |= why.contains('\n');
                let _ = writeln!(self.body, "NOT PASSED:\n\n```\n{}\n```", why.trim());
            }
        }
    }

    pub fn figures(&mut self, lines: &[&str], good: bool) {
        self.trouble |= !good;
        let _ = write!(self.body, "\n## Copies, and how soon a frame is noticed\n\n");
        for line in lines {
            let _ = writeln!(self.body, "* {line}");
        }
        if !good {
            let _ = writeln!(self.body, "\nFAILED: see log.txt");
        }
    }

    pub fn hand_over(&mut self, system: &str, measured: Result<String, String>) {
        let _ = write!(self.body, "\n## Hand-over with GStreamer {system}\n\n");
        match measured {
            // Its headings stand below this one.
            Ok(text) => self.body += &text.lines().map(|line| nested(line) + "\n").collect::<String>(),
            Err(why) => {
                self.trouble = true;
                let _ = writeln!(self.body, "NOT MEASURED: {why}");
            }
        }
    }

    pub fn cuda_link(&mut self, version: &Option<String>) {
        let _ = write!(self.body, "\n## Beside cuda-link's Python package\n\n");
        let line = match version {
            Some(version) => format!(
                "NOT MEASURED: version {version} is on this machine, but the kit does not drive it (see docs/gpu.md)"
            ),
            None => "NOT MEASURED: it is not on this machine".to_string(),
        };
        let _ = writeln!(self.body, "{line}");
    }

    /// The text, and whether everything that was to pass has.
    pub fn end(self, took: Duration) -> (String, bool) {
        let of = |wanted: fn(&Verdict) -> bool| self.tests.iter().filter(|(_, verdict)| wanted(verdict)).count();
        let passed = of(|verdict| matches!(verdict, Verdict::Passed(_)));
        let failed = of(|verdict| matches!(verdict, Verdict::Failed(_)));
        let not_run = of(|verdict| *verdict == Verdict::NotRun);
        let mut text = self.head;
        let _ = writeln!(
            text,
            "* tests: {passed} passed, {failed} failed, {not_run} not run; {} more need the emulated driver's faults and \
             delays\n* in all {} s",
            self.emulated,
            took.as_secs()
        );
        text += &self.body;
        text += "\n## Tests\n\n";
        for (name, verdict) in &self.tests {
            let _ = writeln!(text, "* {name}: {verdict}");
        }
        (text, failed + not_run == 0 && passed > 0 && !self.trouble)
    }
}

fn nested(line: &str) -> String {
    if line.starts_with('#') { format!("##{line}") } else { line.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed() -> Verdict {
        Verdict::Passed(Duration::from_secs(1))
    }

    #[test]
    fn a_report_is_good_only_when_something_passed_and_nothing_is_missing() {
        let with = |verdicts: &[Verdict]| {
            let mut report = Report::new("a card");
            for verdict in verdicts {
                report.test("alone", "a test", verdict.clone());
            }
            report
        };
        let is_good = |report: Report| report.end(Duration::ZERO).1;
        assert!(is_good(with(&[passed()])));
        assert!(!is_good(with(&[])));
        assert!(!is_good(with(&[passed(), Verdict::NotRun])));
        assert!(!is_good(with(&[passed(), Verdict::Failed("x".into())])));
        let mut unmeasured = with(&[passed()]);
        unmeasured.hand_over("1.28", Err("it does not run".into()));
        assert!(!is_good(unmeasured));
        let mut rule = with(&[passed()]);
        rule.rules(&Err("ok a\nFAIL b".into()));
        assert!(!is_good(rule));
        let mut without_python = with(&[passed()]);
        without_python.rules(&Err("no python3".into()));
        assert!(is_good(without_python), "said, but no fault of the card");
    }

    #[test]
    fn what_was_measured_stands_below_its_heading() {
        let mut report = Report::new("a card");
        report.hand_over("1.28", Ok("# Title\ntext".into()));
        let (text, _) = report.end(Duration::from_secs(7));
        assert!(text.contains("\n### Title\ntext\n") && text.contains("in all 7 s"), "{text}");
    }
}
