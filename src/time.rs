// SPDX-License-Identifier: MPL-2.0
//! Times that two processes can compare.

use gst::prelude::*;

/// Whether a pipeline's clock counts what the control segment's times count.
pub fn is_monotonic(clock: &gst::Clock) -> bool {
    clock.downcast_ref::<gst::SystemClock>().is_some_and(|clock| {
        // An audio or network clock may derive from it; its times are its own.
        clock.type_() == gst::SystemClock::static_type()
            && clock.property::<gst::ClockType>("clock-type") == gst::ClockType::Monotonic
    })
}
