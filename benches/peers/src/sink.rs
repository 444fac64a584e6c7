// SPDX-License-Identifier: MPL-2.0
//! A sink that counts, and looks at frames as far as it is told to.

use std::sync::{Arc, OnceLock};

use gst::glib;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use tdlink_core::segment::monotonic_ns;

use crate::stamp::{self, Stamp};
use crate::tally::{Check, Tally};

glib::wrapper! {
    pub struct Sink(ObjectSubclass<imp::Sink>) @extends gst_base::BaseSink, gst::Element, gst::Object;
}

impl Sink {
    pub fn new(check: Check, tally: Arc<Tally>) -> Self {
        let sink: Self = glib::Object::new();
        sink.set_sync(false);
        sink.set_enable_last_sample(false);
        // Set once, here.
        let _ = sink.imp().setup.set((check, tally));
        sink
    }
}

mod imp {
    use super::*;

    #[derive(Debug, Default)]
    pub struct Sink {
        pub(super) setup: OnceLock<(Check, Arc<Tally>)>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Sink {
        const NAME: &'static str = "TdlinkBenchSink";
        type Type = super::Sink;
        type ParentType = gst_base::BaseSink;
    }

    impl ObjectImpl for Sink {}
    impl GstObjectImpl for Sink {}

    impl ElementImpl for Sink {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
            TEMPLATES.get_or_init(|| {
                let caps = gst::Caps::new_any();
                let template = gst::PadTemplate::new("sink", gst::PadDirection::Sink, gst::PadPresence::Always, &caps);
                template.into_iter().collect()
            })
        }
    }

    impl BaseSinkImpl for Sink {
        fn propose_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
            query.add_allocation_meta::<gst_video::VideoMeta>(None);
            self.parent_propose_allocation(query)
        }

        fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let (check, tally) = self.setup.get().ok_or(gst::FlowError::Error)?;
            if *check == Check::None {
                tally.frame(None, 0, 0);
                return Ok(gst::FlowSuccess::Ok);
            }
            let bytes = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            let arrived = monotonic_ns();
            let mut stamp = Stamp::in_frame(&bytes).ok_or(gst::FlowError::Error)?;
            let mut sum = 0;
            if *check == Check::Read {
                sum = stamp::sum(&bytes);
                stamp.whole &= Stamp::in_frame(&bytes) == Some(stamp);
            }
            tally.frame(Some(stamp), arrived, sum);
            Ok(gst::FlowSuccess::Ok)
        }
    }
}
