// SPDX-License-Identifier: MPL-2.0
//! Ctrl-C: a pipeline is asked to end in order, and what was begun is brought to its end.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;

static STOPPED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C, and being asked to end, is heard and no longer the end of this program.
///
/// # Errors
/// When the system does not let us hear it.
pub fn hear_stop() -> Result<(), Failure> {
    static HEARD: LazyLock<Result<(), String>> = LazyLock::new(|| {
        ctrlc::set_handler(|| STOPPED.store(true, Ordering::SeqCst))
            .map_err(|err| format!("Ctrl-C cannot be heard: {err}"))
    });
    HEARD.clone().map_err(Failure::Failed)
}

/// Whether we were asked to end.
pub fn stopped() -> bool {
    STOPPED.load(Ordering::SeqCst)
}
