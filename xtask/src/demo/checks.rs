// SPDX-License-Identifier: MPL-2.0
//! What was looked at, what was found and what it should be: one line each, and one verdict.

use crate::fail;
use crate::run::Outcome;

struct Check {
    what: &'static str,
    found: String,
    expected: String,
    good: bool,
}

#[derive(Default)]
pub struct Checks(Vec<Check>);

impl Checks {
    pub fn add(&mut self, what: &'static str, good: bool, found: impl ToString, expected: impl ToString) {
        self.0.push(Check { what, found: found.to_string(), expected: expected.to_string(), good });
    }

    /// Prints the table; an error that repeats what is wrong if anything is.
    pub fn conclude(&self, title: &str) -> Outcome {
        let width =
            |text: fn(&Check) -> &str| self.0.iter().map(|check| text(check).chars().count()).max().unwrap_or(0);
        let (what, found) = (width(|check| check.what), width(|check| &check.found));
        println!("\n{title}");
        for check in &self.0 {
            let mark = if check.good { "ok " } else { "BAD" };
            println!("  {mark}  {:what$}  {:found$}  ({})", check.what, check.found, check.expected);
        }
        println!();
        let bad = self.0.iter().filter(|check| !check.good);
        let bad: Vec<_> = bad.map(|c| format!("{}: found {}, expected {}", c.what, c.found, c.expected)).collect();
        if bad.is_empty() { Ok(()) } else { fail!("{title}:\n  {}", bad.join("\n  ")) }
    }
}
