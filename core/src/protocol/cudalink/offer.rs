// SPDX-License-Identifier: MPL-2.0
//! The segment of a producer: everything but the GPU.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::format::Description;
use super::layout::{Header, MAX_SLOTS, Places, SlotHandles, Stamp, WRITE_IDX, next_index, parse, slot_of, tail_of};
use super::{ProduceError, words};
use crate::segment::{
    Acquired, Bell, CreateOptions, OpenOptions, OwnedSegment, Process, Published, Segment, SegmentError, SegmentName,
};

/// How long a foreign segment is watched for signs of a producer. One of ten frames a second shows two.
const WATCHED: Duration = Duration::from_millis(250);
/// Between two looks meanwhile.
const LOOK: Duration = Duration::from_millis(2);
/// How long handles stay good for readers that have not noticed yet that they are not: what cuda-link's own ends allow.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// Everybody who sleeps over the count.
const ALL: u32 = u32::MAX;

/// What the event is called that wakes readers on Windows.
pub(super) fn doorbell(name: &SegmentName) -> String {
    format!("Local\\cudalink_db_{name}")
}

/// A name, and the segment under it. Dropping it says that the producer has ended, if nobody did before, and gives the
/// name back.
#[derive(Debug)]
pub struct Offer {
    name: SegmentName,
    owned: OwnedSegment,
    /// The segment that is announced in. `owned` has another one for a moment when it was lost.
    segment: Arc<Segment>,
    bell: Bell,
    places: Places,
    generation: u64,
    index: u32,
    announced: Option<(Description, Vec<SlotHandles>)>,
    ended: bool,
    /// Indices that somebody else wrote.
    rivals: u64,
    /// A forked child has this value too, and must not end what its parent offers.
    process: Process,
}

impl Offer {
    /// Takes `name` for a ring of `slots` slots, [`MAX_SLOTS`] at most. Nothing is announced yet: who attaches finds a
    /// producer that is not ready. What another producer left is written in place, so that its readers follow; if it had
    /// another number of slots they are told that it has ended, and there is a new object.
    ///
    /// # Errors
    /// A live producer's name (unless `options.takeover`), in use, another user's, or the system's refusal.
    pub fn create(name: &SegmentName, slots: u32, options: &CreateOptions) -> Result<Self, ProduceError> {
        if !(1..=MAX_SLOTS).contains(&slots) {
            return Err(ProduceError::Slots { slots });
        }
        let places = Places::of(slots);
        let found = Found::look(name, options)?;
        if let Some(found) = &found
            && !options.takeover
            && found.is_alive(name)?
        {
            return Err(ProduceError::LiveProducer { name: name.to_string() });
        }
        // What is no segment of this kind is left to the rules for foreign memory.
        let old = found.as_ref().and_then(|found| found.header.as_ref().map(|header| (found.size, header)));
        let size = old.map_or(places.size(), |(size, _)| size);
        let mut owned = OwnedSegment::create(name, size, options)?;
        let mut generation = old.map_or(0, |(_, header)| header.generation);
        if let Some((_, header)) = old
            && owned.origin() != Acquired::Created
        {
            owned.claim();
            if header.places != places || size != places.size() && cfg!(target_os = "linux") {
                words::shut(owned.segment(), header.places)?;
                if cfg!(windows) {
                    // It stays the same object, and readers of the old number of slots must have gone.
                    std::thread::sleep(GRACE);
                }
            }
        }
        owned.resize(places.size())?;
        let segment = Arc::clone(owned.segment());
        generation = generation.max(words::version(&segment)?);
        words::take_down(&*segment)?;
        let bell = Bell::named(&doorbell(name), Arc::clone(&segment), WRITE_IDX.offset())?;
        let (name, process) = (name.clone(), Process::current());
        Ok(Self {
            name,
            owned,
            segment,
            bell,
            places,
            generation,
            index: 0,
            announced: None,
            ended: false,
            rivals: 0,
            process,
        })
    }

    /// The name.
    pub(super) fn name(&self) -> &SegmentName {
        &self.name
    }

    /// How the name came to be ours.
    pub fn acquired(&self) -> Acquired {
        self.owned.origin()
    }

    /// Counts announcements; larger than every number that stood there before.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The newest frame's number; 0 before the first.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Number of slots.
    pub fn slots(&self) -> u32 {
        self.places.slots()
    }

    /// How often the count was another one than was written here: somebody else writes it, too.
    pub fn rivals(&self) -> u64 {
        self.rivals
    }

    /// The slot of the next frame.
    pub fn next_slot(&self) -> u32 {
        slot_of(next_index(self.index), self.places.slots())
    }

    /// Announces another generation: frames are `description`, and lie where `handles` (one for each slot) lead. The old
    /// generation's memory must stay for a while: readers may be just looking at it.
    ///
    /// # Errors
    /// The segment was cut short.
    ///
    /// # Panics
    /// When there is not one pair of handles for each slot.
    pub fn announce(&mut self, description: Description, handles: Vec<SlotHandles>) -> Result<u64, ProduceError> {
        self.alone()?;
        assert_eq!(handles.len(), self.places.slots() as usize, "each slot has its handles");
        let tail = tail_of(&description, false);
        // 0 would be taken for "never mind the generation".
        let generation = self.generation.wrapping_add(1).max(1);
        words::announce(&*self.segment, self.places, &handles, &tail, generation)?;
        (self.generation, self.index) = (generation, 0);
        self.announced = Some((description, handles));
        self.bell.ring(ALL)?;
        Ok(generation)
    }

    /// Shows the frame in [`Offer::next_slot`] as the newest and wakes whoever waits for one. Gives its number.
    ///
    /// # Errors
    /// Another program has announced its own ring in this segment, or it was cut short.
    pub fn publish(&mut self, stamp: Stamp) -> Result<u32, ProduceError> {
        self.alone()?;
        let found = words::version(&self.segment)?;
        if found != self.generation {
            return Err(ProduceError::Rival { name: self.name.to_string(), found, ours: self.generation });
        }
        if words::index(&self.segment)? != self.index {
            self.rivals += 1;
        }
        let index = next_index(self.index);
        words::publish(&*self.segment, self.places, index, stamp)?;
        self.index = index;
        self.bell.ring(ALL)?;
        Ok(index)
    }

    /// Keeps the name, as [`OwnedSegment::keep_published`] does; for each frame. A new object is announced in at once.
    ///
    /// # Errors
    /// No space for a new object, or the system's refusal.
    pub fn tend(&mut self) -> Result<Published, ProduceError> {
        self.alone()?;
        let published = self.owned.keep_published()?;
        if published == Published::Recreated {
            // Whoever reads the lost object must not wait there for ever.
            words::shut(&self.segment, self.places)?;
            self.bell.ring(ALL)?;
            self.segment = Arc::clone(self.owned.segment());
            self.bell = Bell::named(&doorbell(&self.name), Arc::clone(&self.segment), WRITE_IDX.offset())?;
            if let Some((description, handles)) = self.announced.take() {
                self.announce(description, handles)?;
            }
        }
        Ok(published)
    }

    /// Says that no frame will follow. Everything stays as it is, and the next frame takes that back.
    ///
    /// # Errors
    /// Another program has announced its own ring in this segment, or it was cut short.
    pub fn pause(&mut self) -> Result<(), ProduceError> {
        self.alone()?;
        let found = words::version(&self.segment)?;
        if found != self.generation {
            return Err(ProduceError::Rival { name: self.name.to_string(), found, ours: self.generation });
        }
        words::shut(&self.segment, self.places)?;
        self.bell.ring(ALL)?;
        Ok(())
    }

    /// Says that the producer has ended. Handles stay good for [`GRACE`]; then [`Offer::clear`].
    pub(super) fn end(&mut self) {
        if self.ended || !self.process.is_current() {
            return;
        }
        self.ended = true;
        // On Windows there is one object, and it may be another producer's by now.
        if cfg!(windows) && matches!(self.owned.keep_published(), Ok(Published::TakenByOther)) {
            return;
        }
        let said = words::shut(&self.segment, self.places).and_then(|()| self.bell.ring(ALL));
        if let Err(error) = said {
            tracing::debug!(name = %self.name, %error, "nobody is told that the producer has ended");
        }
    }

    /// Takes the handles away, before what they lead to goes.
    pub(super) fn clear(&mut self) {
        let others = cfg!(windows) && matches!(self.owned.keep_published(), Ok(Published::TakenByOther));
        let rival = words::version(&self.segment).is_ok_and(|found| found != self.generation);
        if !self.process.is_current() || others || rival {
            return;
        }
        if let Err(error) = words::clear_handles(&self.segment, self.places) {
            tracing::debug!(name = %self.name, %error, "handles stay where nobody looks");
        }
    }

    /// Whether this process made the value.
    pub(super) fn is_ours(&self) -> bool {
        self.process.is_current()
    }

    fn alone(&self) -> Result<(), ProduceError> {
        if self.process.is_current() { Ok(()) } else { Err(ProduceError::Forked) }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if !self.ended {
            self.end();
            self.clear();
        }
    }
}

/// What stands under a name before it is taken.
struct Found {
    segment: Segment,
    size: usize,
    /// `None`: it is no segment of this kind, or one that nobody has announced in.
    header: Option<Header>,
}

impl Found {
    fn look(name: &SegmentName, options: &CreateOptions) -> Result<Option<Self>, ProduceError> {
        let open = OpenOptions { allow_other_user: options.allow_other_user };
        let segment = match Segment::open(name, open) {
            Ok(segment) => segment,
            Err(SegmentError::NotFound { .. } | SegmentError::Empty { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let size = segment.current_len()?;
        let mut bytes = vec![0; segment.len().min(Places::of(MAX_SLOTS).size())];
        segment.read(0, &mut bytes)?;
        let header = parse(&bytes).unwrap_or_default();
        Ok(Some(Self { segment, size, header }))
    }

    /// Whether somebody is seen publishing who is none of ours: those have a lock, which is asked for when the name is
    /// taken. Who has the segment open tells nothing: a reader may, and a producer need not be seen, in a container say.
    fn is_alive(&self, name: &SegmentName) -> Result<bool, ProduceError> {
        let Some(header) = &self.header else { return Ok(false) };
        if header.is_over || header.handles.is_none() || self.segment.has_owner(name)? {
            return Ok(false);
        }
        let signs = || -> Result<_, ProduceError> {
            let stamp = words::stamp(&self.segment, header.places)?.to_bits();
            Ok((words::version(&self.segment)?, words::index(&self.segment)?, stamp))
        };
        let (first, until) = (signs()?, Instant::now() + WATCHED);
        while Instant::now() < until {
            std::thread::sleep(LOOK);
            if signs()? != first {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::super::layout::HANDLE;
    use super::*;
    use crate::cuda::IpcMemHandle;
    use crate::protocol::cudalink::{Format, Interrupt, Wait, Watch};

    #[test]
    fn the_count_goes_round_without_zero_and_a_reader_follows() {
        for (slots, order) in [(2, [1, 0, 0, 1, 0]), (3, [1, 2, 0, 1, 2]), (4, [1, 2, 0, 1, 2])] {
            let name = SegmentName::new(&format!("tdlink-round-{slots}-{}", std::process::id())).unwrap();
            let mut offer = Offer::create(&name, slots, &CreateOptions::default()).unwrap();
            let description = Description { width: 1, height: 1, channels: 1, format: Format::U8, flags: 0 };
            let handles = SlotHandles { memory: IpcMemHandle([1; HANDLE]), event: None };
            offer.announce(description, vec![handles; slots as usize]).unwrap();
            let mut watch = Watch::attach(&name, &OpenOptions::default(), Interrupt::new()).unwrap();
            offer.index = u32::MAX - 2;
            offer.segment.store_u32(WRITE_IDX.offset(), u32::MAX - 2, std::sync::atomic::Ordering::Release).unwrap();
            for (slot, index) in order.into_iter().zip([u32::MAX - 1, u32::MAX, 1, 2, 3]) {
                assert_eq!(offer.next_slot(), slot, "{slots} slots, {index}");
                assert_eq!(offer.publish(1).unwrap(), index);
                assert_eq!(watch.wait_newer(None).unwrap(), Wait::Newer);
                let frame = watch.take().unwrap().unwrap();
                assert_eq!((frame.index, frame.slot), (index, slot));
            }
            assert_eq!((watch.skipped(), watch.rivals(), offer.rivals()), (0, 0, 0));
        }
    }
}
