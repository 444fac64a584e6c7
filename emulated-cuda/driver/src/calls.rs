// SPDX-License-Identifier: MPL-2.0
//! What surrounds every entry: counts, trace, faults, and the wall that no panic passes.

use std::fmt::Arguments;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::code::{Code, Outcome};
use crate::config::{Rule, config};
use crate::machine::state;

/// One entry of the driver.
#[derive(Debug)]
pub struct Call {
    name: &'static str,
    count: AtomicU64,
}

static CALLED: Mutex<Vec<&'static Call>> = Mutex::new(Vec::new());
static TRACE: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| {
    let path = config().trace.as_ref()?;
    match OpenOptions::new().create(true).append(true).open(path) {
        Ok(file) => Some(Mutex::new(file)),
        Err(err) => {
            eprintln!("emulated CUDA driver: cannot write the trace to {}: {err}", path.display());
            None
        }
    }
});

impl Call {
    pub const fn new(name: &'static str) -> Call {
        Call { name, count: AtomicU64::new(0) }
    }

    /// Runs `body` unless a fault was ordered for this call.
    pub fn run(&'static self, arguments: Arguments<'_>, body: impl FnOnce() -> Outcome) -> u32 {
        let nth = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if nth == 1 {
            CALLED.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
        let outcome = match self.fault(nth) {
            Ok(()) => catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
                eprintln!("emulated CUDA driver: {} panicked", self.name);
                Err(Code::UNKNOWN)
            }),
            Err(code) => Err(code),
        };
        let code = outcome.map_or_else(|code| code.0, |()| 0);
        if let Some(file) = &*TRACE {
            let line = format!("{} {}({arguments}) = {code}\n", std::process::id(), self.name);
            // One write a line: lines of several processes do not mix. A trace that cannot be written is no reason to
            // fail the program.
            let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        }
        code
    }

    fn fault(&self, nth: u64) -> Outcome {
        let ordered = |rules: &'static [Rule]| rules.iter().find(|rule| rule.meets(self.name, nth));
        let config = config();
        if ordered(&config.die).is_some() {
            let me = rustix::process::getpid();
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
        }
        if let Some(rule) = ordered(&config.lose) {
            state::lose_contexts(rule.code.unwrap_or(Code::LAUNCH_FAILED));
        }
        match ordered(&config.fail) {
            Some(rule) => Err(rule.code.unwrap_or(Code::UNKNOWN)),
            None => Ok(()),
        }
    }
}

/// How often each entry was called in this process, by name.
pub fn counts() -> Vec<(&'static str, u64)> {
    let called = CALLED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut counts: Vec<_> = called.iter().map(|call| (call.name, call.count.load(Ordering::Relaxed))).collect();
    counts.sort_unstable();
    counts
}

/// At the end of the process: the counts, and what still lives.
fn write_stats() {
    let Some(path) = &config().stats else { return };
    let mut text = String::new();
    for (name, count) in counts() {
        text += &format!("{name} {count}\n");
    }
    for (name, count) in state::living() {
        text += &format!("living:{name} {count}\n");
    }
    let written = OpenOptions::new().create(true).append(true).open(path);
    if let Err(err) = written.and_then(|mut file| file.write_all(text.as_bytes())) {
        eprintln!("emulated CUDA driver: cannot write the counts to {}: {err}", path.display());
    }
}

extern "C" fn at_exit() {
    // A panic must not pass into the C library.
    let _ = catch_unwind(write_stats);
}

#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;

/// An entry of the C ABI: counted, traced, open to faults. The body answers with an [`Outcome`].
macro_rules! entries {
    ($($(#[$meta:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        $(#[$meta])*
        /// # Safety
        /// Pointers are null or valid, as the real driver wants them.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> u32 {
            static CALL: $crate::calls::Call = $crate::calls::Call::new(stringify!($name));
            CALL.run(
                format_args!(concat!($(stringify!($argument), "={:?} "),*) $(, $argument)*),
                || -> $crate::code::Outcome { $body },
            )
        }
    )*};
}

/// Writes what an entry gives back through a pointer of its caller.
macro_rules! put {
    ($pointer:expr, $value:expr) => {{
        let pointer = $pointer;
        if pointer.is_null() {
            return Err($crate::code::Code::INVALID_VALUE);
        }
        // Made only when there is a place for it: nothing is lost.
        let value = $value;
        // SAFETY: not null, and the entry's contract says valid; `write_unaligned` asks for nothing more.
        unsafe { pointer.write_unaligned(value) }
    }};
}

/// The same where the caller may not want it.
macro_rules! put_if_wanted {
    ($pointer:expr, $value:expr) => {{
        let (pointer, value) = ($pointer, $value);
        if !pointer.is_null() {
            // SAFETY: not null, and the entry's contract says valid; `write_unaligned` asks for nothing more.
            unsafe { pointer.write_unaligned(value) }
        }
    }};
}

/// Reads what an entry's caller points to.
macro_rules! get {
    ($pointer:expr) => {{
        let pointer = $pointer;
        if pointer.is_null() {
            return Err($crate::code::Code::INVALID_VALUE);
        }
        // SAFETY: not null, and the entry's contract says valid; `read_unaligned` asks for nothing more.
        unsafe { pointer.read_unaligned() }
    }};
}

pub(crate) use {entries, get, put, put_if_wanted};
