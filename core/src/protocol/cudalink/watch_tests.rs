// SPDX-License-Identifier: MPL-2.0
//! What a consumer makes of what other programs do to a segment. The segment is memory of this process, changed step by
//! step in the order of whoever is imitated.

use std::cell::RefCell;
use std::time::Duration;

use super::layout::{
    FLAGS, HANDLE, HEIGHT, LayoutError, MAGIC, MAGIC_VALUE, NUM_COMPS, NUM_SLOTS, SLOT, SlotHandles, WIDTH, tail_of,
};
use super::*;
use crate::cuda::{IpcEventHandle, IpcMemHandle};
use crate::protocol::cudalink::{Description, Format};

const FAR: Duration = Duration::from_secs(600);

struct Ring {
    segment: Arc<Segment>,
    places: Places,
}

fn description(width: u32) -> Description {
    Description { width, height: 48, channels: 4, format: Format::U8, flags: 0 }
}

fn handles(slots: u32, seed: u8) -> Vec<SlotHandles> {
    let one = |slot: u32| SlotHandles {
        memory: IpcMemHandle([seed.wrapping_add(slot as u8).max(1); HANDLE]),
        event: Some(IpcEventHandle([seed.wrapping_add(100 + slot as u8).max(1); HANDLE])),
    };
    (0..slots).map(one).collect()
}

impl Ring {
    /// With nothing in it.
    fn new(slots: u32) -> Self {
        let places = Places::of(slots);
        Self { segment: Arc::new(Segment::heap(places.size())), places }
    }

    fn announced(slots: u32) -> Self {
        let ring = Self::new(slots);
        ring.announce(1, 64, 1);
        ring
    }

    fn announce(&self, generation: u64, width: u32, seed: u8) {
        let handles = handles(self.places.slots(), seed);
        words::announce(&*self.segment, self.places, &handles, &tail_of(&description(width), false), generation)
            .unwrap();
    }

    fn publish(&self, index: u32) {
        words::publish(&*self.segment, self.places, index, 5_000_000_000).unwrap();
    }

    fn set_version(&self, version: u64) {
        self.segment.write(VERSION.offset(), &version.to_le_bytes()).unwrap();
    }

    fn set_tail(&self, offset: usize, bytes: &[u8]) {
        self.segment.write(self.places.tail() + offset, bytes).unwrap();
    }

    fn set_handles(&self, handles: &[SlotHandles]) {
        for (slot, handles) in (0..).zip(handles) {
            self.segment.write(self.places.slot(slot), &handles.memory.0).unwrap();
            let event = handles.event.map_or([0; HANDLE], |handle| handle.0);
            self.segment.write(self.places.slot(slot) + HANDLE, &event).unwrap();
        }
    }

    fn watch(&self) -> Result<Watch, ConsumeError> {
        let name = SegmentName::new("tdlink-cudalink-watch").unwrap();
        Watch::over(&name, &OpenOptions::default(), Arc::clone(&self.segment), Interrupt::new())
    }
}

fn now(watch: &mut Watch) -> Wait {
    watch.wait_newer(Some(Instant::now())).unwrap()
}

#[track_caller]
fn takes(watch: &mut Watch, index: u32, slot: u32) -> Published {
    assert_eq!(now(watch), Wait::Newer);
    let frame = watch.take().unwrap().unwrap();
    assert_eq!((frame.index, frame.slot), (index, slot));
    frame
}

#[test]
fn each_frame_is_taken_once_and_the_newest_one_first() {
    let ring = Ring::announced(3);
    ring.publish(5);
    let mut watch = ring.watch().unwrap();
    assert_eq!(takes(&mut watch, 5, 1).stamp, Some(5_000_000_000));
    assert_eq!((now(&mut watch), watch.take().unwrap()), (Wait::Deadline, None));
    ring.publish(6);
    takes(&mut watch, 6, 2);
    ring.publish(9);
    takes(&mut watch, 9, 2);
    assert_eq!((watch.skipped(), watch.rivals()), (2, 0));
}

#[test]
fn before_the_first_frame_there_is_none() {
    let ring = Ring::announced(3);
    let mut watch = ring.watch().unwrap();
    assert_eq!((now(&mut watch), watch.take().unwrap()), (Wait::Deadline, None));
    ring.publish(1);
    takes(&mut watch, 1, 0);
}

#[test]
fn the_count_may_go_round_with_and_without_zero() {
    let ring = Ring::announced(3);
    ring.publish(u32::MAX - 1);
    let mut watch = ring.watch().unwrap();
    takes(&mut watch, u32::MAX - 1, 1);
    ring.publish(u32::MAX);
    takes(&mut watch, u32::MAX, 2);
    ring.publish(0);
    assert_eq!(now(&mut watch), Wait::Deadline, "0 is no frame");
    ring.publish(1);
    takes(&mut watch, 1, 0);
    assert_eq!((watch.skipped(), watch.rivals()), (0, 0));
    ring.publish(4);
    takes(&mut watch, 4, 0);
    assert_eq!(watch.skipped(), 2);
}

#[test]
fn a_count_that_goes_back_is_a_second_producers() {
    let ring = Ring::announced(3);
    ring.publish(1000);
    let mut watch = ring.watch().unwrap();
    takes(&mut watch, 1000, 0);
    ring.publish(10);
    takes(&mut watch, 10, 0);
    assert_eq!((watch.rivals(), watch.skipped()), (1, 0));
}

#[test]
fn a_frame_is_given_up_when_its_slot_may_be_written() {
    for (slots, allowed) in [(2, 0), (3, 1), (4, 2), (10, 8)] {
        let ring = Ring::announced(slots);
        let mut watch = ring.watch().unwrap();
        ring.publish(20);
        let frame = takes(&mut watch, 20, 19 % slots);
        for ahead in 0..=allowed {
            ring.publish(20 + ahead);
            assert!(watch.still_whole(&frame).unwrap(), "{ahead} of {slots}");
        }
        assert_eq!(watch.overwritten(), 0);
        ring.publish(20 + allowed + 1);
        assert!(!watch.is_whole(&frame).unwrap());
        assert_eq!(watch.overwritten(), 0, "looking counts nothing");
        assert!(!watch.still_whole(&frame).unwrap(), "{slots}");
        assert_eq!(watch.overwritten(), 1);
    }
}

#[test]
fn a_frame_of_one_slot_is_never_known_to_be_whole() {
    let ring = Ring::announced(1);
    ring.publish(1);
    let mut watch = ring.watch().unwrap();
    let frame = takes(&mut watch, 1, 0);
    assert!(!watch.still_whole(&frame).unwrap());
}

#[test]
fn a_frame_does_not_outlive_its_generation() {
    let changes: [&dyn Fn(&Ring); 4] = [
        &|ring| ring.announce(2, 64, 1),
        &|ring| ring.set_version(2),
        &|ring| ring.set_handles(&handles(3, 77)),
        &|ring| words::clear_handles(&ring.segment, ring.places).unwrap(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let ring = Ring::announced(3);
        ring.publish(1);
        let mut watch = ring.watch().unwrap();
        let frame = takes(&mut watch, 1, 0);
        assert!(watch.is_whole(&frame).unwrap());
        change(&ring);
        ring.segment.store_u32(WRITE_IDX.offset(), 1, Ordering::Release).unwrap();
        assert!(!watch.still_whole(&frame).unwrap(), "change {number}");
    }
    // Nor when the new one is known already.
    let ring = Ring::announced(3);
    ring.publish(1);
    let mut watch = ring.watch().unwrap();
    let frame = takes(&mut watch, 1, 0);
    ring.announce(2, 64, 1);
    assert_eq!(now(&mut watch), Wait::Respec);
    ring.publish(1);
    assert!(!watch.still_whole(&frame).unwrap());
    let frame = takes(&mut watch, 1, 0);
    assert!(watch.still_whole(&frame).unwrap());
}

#[test]
fn a_new_generation_is_read_anew_and_its_first_frame_is_not_missed() {
    let ring = Ring::announced(3);
    ring.publish(1);
    let mut watch = ring.watch().unwrap();
    takes(&mut watch, 1, 0);
    ring.announce(2, 128, 7);
    ring.publish(1);
    assert_eq!(now(&mut watch), Wait::Respec);
    assert_eq!(watch.header().description, Some(description(128)));
    assert_eq!(watch.header().handles, Some(handles(3, 7)));
    assert_eq!(takes(&mut watch, 1, 0).generation, 2, "the same number as the last one taken");
}

#[test]
fn every_other_version_is_another_generation() {
    let ring = Ring::announced(3);
    ring.announce(50, 64, 1);
    ring.publish(3);
    let mut watch = ring.watch().unwrap();
    takes(&mut watch, 3, 2);
    for version in [51, 40, 0, u64::MAX, 1 << 32, 1] {
        ring.set_version(version);
        assert_eq!(now(&mut watch), Wait::Respec, "{version}");
        assert_eq!(takes(&mut watch, 3, 2).generation, version);
    }
}

#[test]
fn a_ring_without_handles_is_not_ready() {
    let ring = Ring::announced(3);
    ring.segment.write(ring.places.slot(1), &[0; HANDLE]).unwrap();
    assert!(matches!(ring.watch(), Err(ConsumeError::NotReady { .. })));
    ring.set_handles(&handles(3, 1));
    ring.publish(1);
    let mut watch = ring.watch().unwrap();
    ring.segment.write(ring.places.slot(0), &[0; SLOT * 3]).unwrap();
    ring.set_version(2);
    for _ in 0..3 {
        assert_eq!((now(&mut watch), watch.take().unwrap()), (Wait::Deadline, None));
    }
    ring.set_handles(&handles(3, 9));
    assert_eq!(now(&mut watch), Wait::Respec);
    assert_eq!(watch.header().handles, Some(handles(3, 9)));
}

/// cuda-link's own order: the version first, then handles, then the description.
#[test]
fn a_producer_that_announces_its_version_first_is_understood_in_the_end() {
    for looks in 0..64u32 {
        let ring = Ring::announced(3);
        ring.publish(4);
        let mut watch = ring.watch().unwrap();
        takes(&mut watch, 4, 0);
        let new = handles(3, 50);
        let tail = tail_of(&description(128), false);
        let steps: [&dyn Fn(); 6] = [
            &|| ring.set_version(2),
            &|| ring.segment.store_u32(WRITE_IDX.offset(), 0, Ordering::Release).unwrap(),
            &|| ring.set_handles(&new[..1]),
            &|| ring.set_handles(&new),
            &|| ring.set_tail(WIDTH.offset(), &tail[WIDTH.offset()..9]),
            &|| ring.set_tail(9, &tail[9..TIMESTAMP.offset()]),
        ];
        for (number, step) in steps.into_iter().enumerate() {
            step();
            // Looking after each of the steps, or not, in every combination.
            if looks >> number & 1 == 1 {
                // Width and size contradict each other for a moment: an error, after which one attaches again.
                if watch.wait_newer(Some(Instant::now())).is_err() {
                    assert_eq!(number, 4, "{looks:#b}");
                }
            }
        }
        ring.publish(1);
        let mut seen = None;
        for _ in 0..3 {
            if now(&mut watch) == Wait::Newer {
                seen = watch.take().unwrap();
            }
        }
        assert_eq!(watch.header().description, Some(description(128)), "{looks:#b}");
        assert_eq!(watch.header().handles.as_ref(), Some(&new), "{looks:#b}");
        let seen = seen.unwrap_or_else(|| panic!("the first frame is missed: {looks:#b}"));
        assert_eq!((seen.index, seen.generation), (1, 2));
        assert!(watch.is_whole(&seen).unwrap());
    }
}

#[test]
fn an_end_is_told_and_does_not_last_when_it_is_taken_back() {
    for value in [1, 2, 255] {
        let ring = Ring::announced(3);
        ring.publish(1);
        let mut watch = ring.watch().unwrap();
        takes(&mut watch, 1, 0);
        ring.set_tail(SHUTDOWN.offset(), &[value]);
        assert_eq!(now(&mut watch), Wait::Closed, "{value}");
        assert!(matches!(ring.watch(), Err(ConsumeError::Closed { .. })));
        ring.publish(2);
        takes(&mut watch, 2, 1);
    }
}

#[test]
fn the_last_frame_before_an_end_is_still_taken() {
    let ring = Ring::announced(3);
    let mut watch = ring.watch().unwrap();
    ring.publish(1);
    words::shut(&ring.segment, ring.places).unwrap();
    let frame = takes(&mut watch, 1, 0);
    assert!(watch.still_whole(&frame).unwrap());
    assert_eq!(now(&mut watch), Wait::Closed);
    words::clear_handles(&ring.segment, ring.places).unwrap();
    assert!(!watch.still_whole(&frame).unwrap(), "its memory may be gone");
    // Too late for the last one.
    let ring = Ring::announced(3);
    let mut watch = ring.watch().unwrap();
    ring.publish(1);
    words::shut(&ring.segment, ring.places).unwrap();
    words::clear_handles(&ring.segment, ring.places).unwrap();
    assert_eq!(now(&mut watch), Wait::Closed);
}

#[test]
fn what_a_larger_ring_writes_over_the_old_end_is_no_end() {
    let ring = Ring { segment: Arc::new(Segment::heap(4096)), places: Places::of(2) };
    ring.announce(1, 64, 1);
    let mut watch = ring.watch().unwrap();
    let larger = Ring { segment: Arc::clone(&ring.segment), places: Places::of(4) };
    larger.announce(2, 128, 9);
    assert_eq!(now(&mut watch), Wait::Respec);
    larger.publish(3);
    takes(&mut watch, 3, 2);
    assert_eq!(watch.header().places.slots(), 4);
}

#[test]
fn a_magic_that_comes_late_is_waited_for() {
    let ring = Ring::new(3);
    assert!(matches!(ring.watch(), Err(ConsumeError::NotReady { .. })));
    ring.announce(1, 64, 1);
    words::take_down(&*ring.segment).unwrap();
    assert!(matches!(ring.watch(), Err(ConsumeError::NotReady { .. })));
    ring.segment.store_u32(MAGIC.offset(), MAGIC_VALUE, Ordering::Release).unwrap();
    assert!(ring.watch().is_ok());
}

#[test]
fn what_cannot_be_read_is_an_error_with_the_name() {
    let ring = Ring::announced(3);
    ring.segment.store_u32(NUM_SLOTS.offset(), 64, Ordering::Relaxed).unwrap();
    let error = ring.watch().unwrap_err();
    assert!(matches!(error, ConsumeError::Layout { source: LayoutError::BadSlots { found: 64 }, .. }));
    assert!(error.to_string().contains("tdlink-cudalink-watch") && !error.may_pass(), "{error}");
    let ring = Ring::announced(3);
    ring.set_tail(NUM_COMPS.offset(), &5u32.to_le_bytes());
    assert!(matches!(ring.watch(), Err(ConsumeError::Layout { .. })));
    let ring = Ring::announced(3);
    ring.set_tail(HEIGHT.offset(), &0u32.to_le_bytes());
    assert!(matches!(ring.watch(), Err(ConsumeError::NotReady { .. })), "no height yet");
    ring.set_tail(FLAGS.offset(), &1u16.to_le_bytes());
    assert!(ring.watch().is_err());
}

#[test]
fn two_producers_that_take_turns_are_noticed() {
    let ring = Ring::announced(3);
    ring.announce(5, 64, 1);
    let mut watch = ring.watch().unwrap();
    for _ in 0..3 {
        ring.announce(6, 128, 60);
        assert_eq!(now(&mut watch), Wait::Respec);
        ring.announce(5, 64, 1);
        assert_eq!(now(&mut watch), Wait::Respec);
    }
    assert_eq!(watch.rivals(), 3);
}

#[test]
fn a_ring_wakes_and_an_interrupt_ends_a_wait() {
    let ring = Ring::announced(3);
    let mut watch = ring.watch().unwrap();
    let bell = Bell::named("tdlink", Arc::clone(&ring.segment), WRITE_IDX.offset()).unwrap();
    let interrupt = watch.interrupt.clone();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| (watch.wait_newer(Some(Instant::now() + FAR)).unwrap(), watch));
        ring.publish(1);
        bell.ring(u32::MAX).unwrap();
        let (woken, mut watch) = waiting.join().unwrap();
        assert_eq!(woken, Wait::Newer);
        watch.take().unwrap().unwrap();
        let waiting = scope.spawn(move || watch.wait_newer(Some(Instant::now() + FAR)).unwrap());
        interrupt.raise();
        assert_eq!(waiting.join().unwrap(), Wait::Interrupted);
    });
}

#[test]
fn a_deadline_is_kept() {
    let ring = Ring::announced(3);
    let mut watch = ring.watch().unwrap();
    let deadline = Instant::now() + Duration::from_millis(30);
    assert_eq!(watch.wait_newer(Some(deadline)).unwrap(), Wait::Deadline);
    assert!(Instant::now() >= deadline);
}

/// A segment of which there is a copy from after each step of its writer.
struct Filmed {
    segment: Arc<Segment>,
    film: RefCell<Vec<Vec<u8>>>,
}

impl Filmed {
    fn shoot(&self) {
        let mut bytes = vec![0; self.segment.len()];
        self.segment.read(0, &mut bytes).unwrap();
        self.film.borrow_mut().push(bytes);
    }
}

impl words::Steps for Filmed {
    fn store(&self, offset: usize, value: u32, order: Ordering) -> Result<(), AccessError> {
        self.segment.store_u32(offset, value, order)?;
        self.shoot();
        Ok(())
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), AccessError> {
        self.segment.write(offset, bytes)?;
        self.shoot();
        Ok(())
    }
}

/// At every moment: under the new version, or a magic, stands all of the new generation; until then no frame is shown.
#[test]
fn whoever_sees_a_generation_sees_all_of_it() {
    for generation in [2, 1 << 32, u64::MAX] {
        let ring = Ring::announced(3);
        ring.publish(7);
        let filmed = Filmed { segment: Arc::clone(&ring.segment), film: RefCell::default() };
        let tail = tail_of(&description(128), false);
        words::announce(&filmed, ring.places, &handles(3, 50), &tail, generation).unwrap();
        let film = filmed.film.into_inner();
        let last = film.last().unwrap();
        let (mut old_versions, mut no_magic) = (0, 0);
        for moment in &film[1..] {
            assert_eq!(WRITE_IDX.get(moment), Some(0));
            let version = VERSION.get(moment).unwrap();
            let same = announced(moment, ring.places)[8..] == announced(last, ring.places)[8..];
            assert!(version == 1 || same, "{version} is seen before what belongs to it");
            old_versions += usize::from(version == 1 && !same);
            no_magic += usize::from(MAGIC.get(moment) == Some(0));
            assert!(MAGIC.get(moment) == Some(0) || moment == last, "the magic comes last");
        }
        assert!(old_versions >= 3 && no_magic == film.len() - 2, "{old_versions}, {no_magic} of {}", film.len());
        assert_eq!(parse(last).unwrap().unwrap().generation, generation);
    }
}

/// At every moment: what is known of a frame stands there before its number does.
#[test]
fn whoever_sees_a_frame_sees_its_time_and_no_end() {
    let ring = Ring::announced(3);
    ring.set_tail(SHUTDOWN.offset(), &[1]);
    let filmed = Filmed { segment: Arc::clone(&ring.segment), film: RefCell::default() };
    words::publish(&filmed, ring.places, 1, 42_000_000_000).unwrap();
    let film = filmed.film.into_inner();
    assert!(film.len() >= 3);
    for moment in film.iter().filter(|moment| WRITE_IDX.get(moment) == Some(1)) {
        let header = parse(moment).unwrap().unwrap();
        assert_eq!((header.stamp, header.is_over), (Some(42_000_000_000), false));
    }
}
