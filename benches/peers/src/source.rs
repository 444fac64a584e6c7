// SPDX-License-Identifier: MPL-2.0
//! A source that costs next to nothing: it writes a stamp into each buffer and leaves the other bytes as they are.
//!
//! Its buffers are private ones, which the sink must copy, or those of the pool or allocator that the sink proposes,
//! which is how a source and a sink agree on zero copies.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_src::CreateSuccess;
use gst_base::subclass::prelude::*;

use crate::stamp;
use crate::tally::Tally;

/// Private buffers that take turns.
const PRIVATE: u32 = 4;
/// More than so many late frames at once are not made up for.
const LATE: u32 = 5;

/// Whose buffers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Ours; the sink has to copy.
    Private,
    /// The sink's. Where it proposes an allocator without a pool, and a number is given, a pool of so many of its
    /// buffers, as most sources make one.
    Proposed(Option<u32>),
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub caps: gst::Caps,
    /// Bytes of a frame.
    pub size: u32,
    pub memory: Memory,
    /// Frames per second; `None`: as fast as it goes.
    pub rate: Option<u32>,
}

glib::wrapper! {
    pub struct Source(ObjectSubclass<imp::Source>) @extends gst_base::BaseSrc, gst::Element, gst::Object;
}

impl Source {
    pub fn new(plan: Plan, tally: Arc<Tally>) -> Self {
        let source: Self = glib::Object::new();
        source.set_format(gst::Format::Time);
        source.set_blocksize(plan.size);
        // Set once, here.
        let _ = source.imp().setup.set((plan, tally));
        source
    }
}

mod imp {
    use super::*;

    #[derive(Debug, Default)]
    pub struct Source {
        pub(super) setup: OnceLock<(Plan, Arc<Tally>)>,
        progress: Mutex<Progress>,
    }

    #[derive(Debug, Default)]
    struct Progress {
        number: u64,
        due: Option<Instant>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Source {
        const NAME: &'static str = "TdlinkBenchSource";
        type Type = super::Source;
        type ParentType = gst_base::BaseSrc;
    }

    impl ObjectImpl for Source {}
    impl GstObjectImpl for Source {}

    impl ElementImpl for Source {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: OnceLock<Vec<gst::PadTemplate>> = OnceLock::new();
            TEMPLATES.get_or_init(|| {
                let caps = gst::Caps::builder("video/x-raw").build();
                let template = gst::PadTemplate::new("src", gst::PadDirection::Src, gst::PadPresence::Always, &caps);
                template.into_iter().collect()
            })
        }
    }

    impl Source {
        fn plan(&self) -> Result<&(Plan, Arc<Tally>), gst::FlowError> {
            self.setup.get().ok_or(gst::FlowError::Error)
        }

        /// A pool of private buffers, every page of them touched.
        fn private(plan: &Plan, query: &mut gst::query::Allocation) -> Result<(), glib::BoolError> {
            let pool = gst::BufferPool::new();
            configured(&pool, plan, (PRIVATE, 0), None)?;
            pool.set_active(true)?;
            let mut all = Vec::new();
            for _ in 0..PRIVATE {
                let mut buffer = pool.acquire_buffer(None).map_err(|_| glib::bool_error!("no private buffer"))?;
                if let Ok(mut bytes) = buffer.make_mut().map_writable() {
                    bytes.fill(7);
                }
                all.push(buffer);
            }
            drop(all);
            while query.allocation_pools().len() > 0 {
                query.remove_nth_allocation_pool(0);
            }
            query.add_allocation_pool(Some(&pool), plan.size, PRIVATE, 0);
            Ok(())
        }

        /// A pool of `count` buffers of the allocator that was proposed without one.
        fn of_allocator(plan: &Plan, count: u32, query: &mut gst::query::Allocation) -> Result<(), glib::BoolError> {
            if query.allocation_pools().any(|(pool, ..)| pool.is_some()) {
                return Ok(());
            }
            let Some((Some(allocator), _)) = query.allocation_params().next() else { return Ok(()) };
            let pool = gst::BufferPool::new();
            configured(&pool, plan, (0, count), Some(&allocator))?;
            while query.allocation_pools().len() > 0 {
                query.remove_nth_allocation_pool(0);
            }
            query.add_allocation_pool(Some(&pool), plan.size, 0, count);
            Ok(())
        }
    }

    fn configured(
        pool: &gst::BufferPool,
        plan: &Plan,
        (least, most): (u32, u32),
        allocator: Option<&gst::Allocator>,
    ) -> Result<(), glib::BoolError> {
        let mut config = pool.config();
        config.set_params(Some(&plan.caps), plan.size, least, most);
        if allocator.is_some() {
            config.set_allocator(allocator, None);
        }
        pool.set_config(config)
    }

    impl BaseSrcImpl for Source {
        fn caps(&self, filter: Option<&gst::Caps>) -> Option<gst::Caps> {
            let caps = &self.setup.get()?.0.caps;
            Some(filter.map_or_else(|| caps.clone(), |filter| filter.intersect(caps)))
        }

        fn is_seekable(&self) -> bool {
            false
        }

        fn decide_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
            let category = *gst::CAT_RUST;
            let (plan, _) = self.setup.get().ok_or_else(|| gst::loggable_error!(category, "no plan"))?;
            let trouble = |err: glib::BoolError| gst::loggable_error!(category, "{err}");
            match plan.memory {
                // The parent would ask the pool's configuration again, of a pool that is in use.
                Memory::Private => Self::private(plan, query).map_err(trouble),
                Memory::Proposed(count) => {
                    if let Some(count) = count {
                        Self::of_allocator(plan, count, query).map_err(trouble)?;
                    }
                    self.parent_decide_allocation(query)
                }
            }
        }

        fn create(&self, _: u64, _: Option<&mut gst::BufferRef>, _: u32) -> Result<CreateSuccess, gst::FlowError> {
            let (plan, tally) = self.plan()?;
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(rate) = plan.rate {
                let period = Duration::from_secs(1) / rate;
                let now = Instant::now();
                let due = progress.due.filter(|due| *due + period * LATE > now).unwrap_or(now);
                // Not while a buffer is held: it may be one of few.
                std::thread::sleep(due.saturating_duration_since(now));
                progress.due = Some(due + period);
            }
            let mut buffer = self.parent_alloc(0, plan.size)?;
            let number = progress.number;
            progress.number += 1;
            let target = buffer.make_mut();
            target.set_pts(gst::ClockTime::from_nseconds(number * 16_666_667));
            target.set_duration(gst::ClockTime::from_nseconds(16_666_667));
            let mut bytes = target.map_writable().map_err(|_| gst::FlowError::Error)?;
            if !stamp::write(&mut bytes, number) {
                return Err(gst::FlowError::Error);
            }
            drop(bytes);
            tally.frame(None, 0, 0);
            Ok(CreateSuccess::NewBuffer(buffer))
        }
    }
}
