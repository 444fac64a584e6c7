// SPDX-License-Identifier: MPL-2.0
//! What the environment asks for. Read once, at the first call.
//!
//! A test double stands in the place of a driver, below the programs under test: there is no other door to it.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use crate::code::Code;

const PREFIX: &str = "EMULATED_CUDA_";

/// Something that happens at a call of one name: `NAME:N`, `NAME:N+` (from the n-th on), with a code `NAME:N:CODE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub nth: u64,
    pub and_later: bool,
    pub code: Option<Code>,
}

impl Rule {
    fn parse(text: &str) -> Option<Rule> {
        let mut parts = text.trim().split(':');
        let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
        let nth = parts.next().unwrap_or("1+");
        let (nth, and_later) = nth.strip_suffix('+').map_or((nth, false), |nth| (nth, true));
        let nth = nth.parse().ok().filter(|nth| *nth > 0)?;
        let code = match parts.next() {
            None => None,
            Some(code) => Some(Code(code.parse().ok().filter(|code| *code > 0)?)),
        };
        parts.next().is_none().then_some(Rule { name, nth, and_later, code })
    }

    /// Whether the `nth` call of `name` is meant; a name that ends in `*` stands for all that begin like it.
    pub fn meets(&self, name: &str, nth: u64) -> bool {
        let named = self.name.strip_suffix('*').map_or(self.name == name, |stem| name.starts_with(stem));
        named && (nth == self.nth || self.and_later && nth > self.nth)
    }
}

/// See `emulated-cuda/README.md`, which lists the variables.
#[derive(Debug)]
pub struct Config {
    pub devices: u32,
    pub memory: u64,
    pub version: i32,
    pub copy_delay: Duration,
    pub event_delay: Duration,
    pub guard: bool,
    pub poison: bool,
    pub pageable_async: bool,
    pub vmm: bool,
    pub pools: bool,
    pub reopen_is_an_error: bool,
    pub many_contexts: bool,
    pub events: bool,
    pub close_at_once: bool,
    pub break_sync: bool,
    pub break_events: bool,
    pub fail: Vec<Rule>,
    pub die: Vec<Rule>,
    pub lose: Vec<Rule>,
    pub hide: Vec<String>,
    pub trace: Option<PathBuf>,
    pub stats: Option<PathBuf>,
}

#[allow(clippy::disallowed_methods, reason = "the only door to a driver below a program that knows nothing of it")]
fn variable(name: &str) -> Option<String> {
    std::env::var(format!("{PREFIX}{name}")).ok().filter(|value| !value.is_empty())
}

/// Something that cannot be read is said and stops the program: a test that runs without its fault proves nothing.
fn refuse(name: &str, value: &str) -> ! {
    eprintln!("emulated CUDA driver: {PREFIX}{name}={value} is not understood");
    // At once: what runs at an orderly end would ask for the configuration.
    // SAFETY: ends the process; there are no conditions.
    unsafe { libc::_exit(86) }
}

fn number<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    variable(name).map_or(otherwise, |value| value.parse().unwrap_or_else(|_| refuse(name, &value)))
}

fn switch(name: &str, otherwise: bool) -> bool {
    match variable(name).as_deref() {
        None => otherwise,
        Some("0") => false,
        Some("1") => true,
        Some(value) => refuse(name, value),
    }
}

fn list(name: &str) -> Vec<String> {
    let value = variable(name).unwrap_or_default();
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn rules(name: &str) -> Vec<Rule> {
    list(name).iter().map(|text| Rule::parse(text).unwrap_or_else(|| refuse(name, text))).collect()
}

/// `%p` stands for the process id: several processes share an environment.
fn file(name: &str) -> Option<PathBuf> {
    variable(name).map(|path| path.replace("%p", &std::process::id().to_string()).into())
}

impl Config {
    fn from_environment() -> Config {
        Config {
            devices: number("DEVICES", 1),
            memory: number::<u64>("MEM_MB", 4096) << 20,
            version: number("VERSION", 12_040),
            copy_delay: Duration::from_micros(number("COPY_DELAY_US", 0)),
            event_delay: Duration::from_micros(number("EVENT_DELAY_US", 0)),
            guard: switch("GUARD", true),
            poison: switch("POISON", false),
            pageable_async: switch("PAGEABLE_ASYNC", false),
            vmm: switch("VMM", true),
            pools: switch("POOLS", true),
            reopen_is_an_error: switch("IPC_REOPEN_ERROR", false),
            many_contexts: switch("IPC_MANY_CONTEXTS", false),
            events: switch("IPC_EVENTS", true),
            close_at_once: switch("IPC_CLOSE_AT_ONCE", false),
            break_sync: switch("BREAK_SYNC", false),
            break_events: switch("BREAK_EVENTS", false),
            fail: rules("FAIL"),
            die: rules("DIE"),
            lose: rules("LOSE"),
            hide: list("HIDE"),
            trace: file("TRACE"),
            stats: file("STATS"),
        }
    }
}

/// The configuration of this process.
pub fn config() -> &'static Config {
    static CONFIG: LazyLock<Config> = LazyLock::new(Config::from_environment);
    &CONFIG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_a_call_and_when() {
        let rule = Rule::parse("cuMemAlloc_v2:3:2").unwrap();
        assert_eq!(rule, Rule { name: "cuMemAlloc_v2".into(), nth: 3, and_later: false, code: Some(Code(2)) });
        assert!(rule.meets("cuMemAlloc_v2", 3));
        assert!(!rule.meets("cuMemAlloc_v2", 4));
        assert!(!rule.meets("cuMemAllocPitch_v2", 3));
        let rule = Rule::parse("cuIpc*:2+").unwrap();
        assert!(!rule.meets("cuIpcGetMemHandle", 1));
        assert!(rule.meets("cuIpcOpenEventHandle", 7));
        for bad in ["", "cuInit:0", "cuInit:x", "cuInit:1:0", "cuInit:1:2:3", ":1"] {
            assert_eq!(Rule::parse(bad), None, "{bad}");
        }
    }
}
