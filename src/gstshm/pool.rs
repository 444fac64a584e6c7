// SPDX-License-Identifier: MPL-2.0
//! The pool that the sink offers: its buffers are slots of the ring.

use std::sync::{
    Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use gst::{glib, prelude::AllocatorExt, subclass::prelude::*};
use gst_video::VideoInfo;

use super::{memory, ring::Ring};

/// Private buffers that are kept for the next time that every slot is in use.
const SPARE: usize = 4;

/// Slots begin at multiples of 16 KiB in a mapping, and a mapping at a page: what every slot's address is a multiple of,
/// less one, as allocation parameters count.
const SLOT_ALIGN_MASK: usize = 4095;

static CAT: LazyLock<gst::DebugCategory> =
    LazyLock::new(|| gst::DebugCategory::new("tdshmpool", gst::DebugColorFlags::empty(), Some("Shared buffer pool")));

mod imp {
    use super::*;

    #[derive(Debug)]
    pub struct SlotPool {
        pub(super) ring: OnceLock<Weak<Ring>>,
        /// The caps that its buffers are for.
        pub(super) info: OnceLock<Arc<VideoInfo>>,
        size: AtomicUsize,
        /// How upstream wants memory aligned: a multiple less one.
        align: AtomicUsize,
        flushing: AtomicBool,
        /// Private buffers that came back.
        spare: Mutex<Vec<gst::Buffer>>,
    }

    impl Default for SlotPool {
        fn default() -> Self {
            Self {
                ring: OnceLock::new(),
                info: OnceLock::new(),
                size: AtomicUsize::new(0),
                align: AtomicUsize::new(0),
                // As the base class begins.
                flushing: AtomicBool::new(true),
                spare: Mutex::new(Vec::new()),
            }
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for SlotPool {
        const NAME: &'static str = "GstTdShmSlotPool";
        type Type = super::SlotPool;
        type ParentType = gst::BufferPool;
    }

    impl ObjectImpl for SlotPool {}
    impl GstObjectImpl for SlotPool {}

    impl BufferPoolImpl for SlotPool {
        fn options() -> &'static [&'static str] {
            static OPTIONS: LazyLock<[&'static str; 1]> =
                LazyLock::new(|| [gst_video::BUFFER_POOL_OPTION_VIDEO_META.as_str()]);
            &*OPTIONS
        }

        fn set_config(&self, config: &mut gst::BufferPoolConfigRef) -> bool {
            let Some((Some(caps), size, _, _)) = config.params() else { return false };
            let Some(own) = self.info.get() else { return false };
            // Other caps, or padding around rows, do not fit a slot: whoever wants them brings a pool of its own.
            let fits = VideoInfo::from_caps(&caps).is_ok_and(|info| info == **own) && size as usize <= own.size();
            if !fits {
                gst::info!(CAT, imp = self, "{caps} of {size} bytes do not fit slots of {} bytes", own.size());
                return false;
            }
            // Nor can a slot have bytes around it that are not the next slot's.
            let params = config.allocator().map(|(_, params)| params).unwrap_or_default();
            if params.align() > SLOT_ALIGN_MASK || params.prefix() > 0 || params.padding() > 0 {
                gst::info!(CAT, imp = self, "slots are not what {params:?} asks for");
                return false;
            }
            // All slots are there at once, and no number of them may stop upstream.
            config.set_params(Some(&caps), own.size() as u32, 0, 0);
            self.size.store(own.size(), Ordering::Relaxed);
            self.align.store(params.align(), Ordering::Relaxed);
            // What was allocated for another wish.
            self.spare().clear();
            self.parent_set_config(config)
        }

        fn start(&self) -> bool {
            // Nothing to allocate: the ring has its memory.
            true
        }

        fn stop(&self) -> bool {
            self.spare().clear();
            true
        }

        fn flush_start(&self) {
            self.flushing.store(true, Ordering::SeqCst);
        }

        fn flush_stop(&self) {
            self.flushing.store(false, Ordering::SeqCst);
        }

        fn acquire_buffer(&self, params: Option<&gst::BufferPoolAcquireParams>) -> Result<gst::Buffer, gst::FlowError> {
            if self.flushing.load(Ordering::SeqCst) {
                return Err(gst::FlowError::Flushing);
            }
            let size = self.size.load(Ordering::Relaxed);
            let may_wait = params.is_none_or(|params| !params.flags().contains(gst::BufferPoolAcquireFlags::DONTWAIT));
            let stopped = || self.flushing.load(Ordering::SeqCst);
            let ring = self.ring.get().and_then(Weak::upgrade);
            let lent = match ring.zip(self.info.get()).map(|(ring, info)| ring.lend(info, may_wait, &stopped)) {
                Some(Ok(lent)) => lent,
                Some(Err(error)) => {
                    // The sink meets the same at the next frame and says it.
                    gst::info!(CAT, imp = self, "no slot: {error}");
                    None
                }
                // An element that has stopped copies nothing either.
                None => None,
            };
            if stopped() {
                return Err(gst::FlowError::Flushing);
            }
            let mut buffer = match lent {
                Some(buffer) => buffer,
                None => self.private(size)?,
            };
            self.add_meta(&mut buffer);
            Ok(buffer)
        }

        fn release_buffer(&self, buffer: gst::Buffer) {
            let size = self.size.load(Ordering::Relaxed);
            let as_it_was = buffer.n_memory() == 1
                && !buffer.flags().contains(gst::BufferFlags::TAG_MEMORY)
                && buffer.size() == size
                && buffer.peek_memory(0).offset() == 0;
            let whole = as_it_was && buffer.is_writable() && buffer.is_all_memory_writable();
            let mut spare = self.spare();
            if whole && spare.len() < SPARE && !memory::is_slot(&buffer) {
                spare.push(buffer);
            } else {
                drop(spare);
                // A slot goes home with its memory.
                drop(buffer);
            }
        }
    }

    impl SlotPool {
        fn spare(&self) -> std::sync::MutexGuard<'_, Vec<gst::Buffer>> {
            self.spare.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Private memory: upstream is never stopped, and the sink copies it once a slot is free.
        fn private(&self, size: usize) -> Result<gst::Buffer, gst::FlowError> {
            if let Some(buffer) = self.spare().pop() {
                return Ok(buffer);
            }
            let params =
                gst::AllocationParams::new(gst::MemoryFlags::empty(), self.align.load(Ordering::Relaxed), 0, 0);
            let memory = gst::Allocator::find(None).and_then(|system| system.alloc(size, Some(&params)).ok());
            let mut buffer = gst::Buffer::new();
            buffer.make_mut().append_memory(memory.ok_or(gst::FlowError::Error)?);
            Ok(buffer)
        }

        fn add_meta(&self, buffer: &mut gst::Buffer) {
            let (Some(info), Some(buffer)) = (self.info.get(), buffer.get_mut()) else { return };
            if buffer.meta::<gst_video::VideoMeta>().is_some() {
                return;
            }
            let added = gst_video::VideoMeta::add_full(
                buffer,
                gst_video::VideoFrameFlags::empty(),
                info.format(),
                info.width(),
                info.height(),
                &info.offset()[..info.n_planes() as usize],
                &info.stride()[..info.n_planes() as usize],
            );
            if let Err(error) = added {
                gst::warning!(CAT, imp = self, "a buffer goes without its video meta: {error}");
            }
        }
    }
}

glib::wrapper! {
    /// Hands out slots; private memory while every slot is in use. It never stops upstream under `delivery=latest`.
    pub struct SlotPool(ObjectSubclass<imp::SlotPool>) @extends gst::BufferPool, gst::Object;
}

impl SlotPool {
    /// A pool over `ring`, for frames of `info`: the ring's own, by which it knows them again without a look at the fields.
    pub fn new(ring: &Arc<Ring>, info: Arc<VideoInfo>) -> Self {
        let pool: Self = glib::Object::new();
        let imp = pool.imp();
        // Both were empty: the pool was made a moment ago.
        let _ = imp.ring.set(Arc::downgrade(ring));
        let _ = imp.info.set(info);
        pool
    }
}
