// SPDX-License-Identifier: MPL-2.0
//! What the integration tests share. They know the elements only by name and property, as an application does.
#![allow(dead_code)] // each test file uses its part

pub mod announced;
pub mod folder;
pub mod frames;
#[cfg(target_os = "linux")]
pub mod machine;
pub mod name;
pub mod peer;
pub mod pictures;
mod poll;
pub mod recorder;
pub mod ring;
pub mod run;
pub mod sender;

use std::sync::Once;
use std::time::{Duration, Instant};

pub use poll::poll;

/// How long something that must happen soon may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How soon a state change, a flush or an EOS must be through, whatever the element waits for.
pub const PROMPT: Duration = Duration::from_secs(1);

/// GStreamer with the elements under test, registered from this very build.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer starts");
        gsttdlink::plugin_register_static().expect("the plugin registers");
    });
}

/// Runs `action` and asserts that it was through within `limit`.
pub fn prompt<T>(what: &str, limit: Duration, action: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = action();
    let took = start.elapsed();
    assert!(took <= limit, "{what} took {took:?}, expected at most {limit:?}");
    result
}
