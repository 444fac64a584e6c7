// SPDX-License-Identifier: MPL-2.0
//! The ring under a model checker, which tries all interleavings and all values that a weak memory may show; and with
//! each fence and each ordering broken, which it must find.
//!
//! `cargo xtask ci loom`, or `RUSTFLAGS="--cfg loom" cargo test -p tdlink-core --release --lib loom_`
//!
//! Each model lists what was broken in it and is found: every fence taken away, every sequentially consistent fence
//! weakened to acquire and release, the mark set after the look at the rows instead of before, no second look, and
//! stores and loads of the words without their order. The fences of `ring.rs`
//! are those of the models: taking one away there makes the unbroken model fail.

use loom::sync::Arc;
use loom::thread;

use super::ring::{self, Fence, Holds, Oldest, Word, Words};
use super::rows::{Rows, counted};
use crate::segment::Watched;
use crate::sync::Ordering::{self, AcqRel, Relaxed, SeqCst};
use crate::sync::{AtomicU64, fence};

const SLOTS: usize = 3;
const GENERATION: u32 = 1;

/// Words that share an ordering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Newest,
    Sequence,
    Edition,
    Lease,
    Taken,
    Other,
}

fn kind(word: Word) -> Kind {
    match word {
        Word::Newest => Kind::Newest,
        Word::Sequence(_) => Kind::Sequence,
        Word::Edition => Kind::Edition,
        Word::Lease(_) => Kind::Lease,
        Word::Taken(_) => Kind::Taken,
        _ => Kind::Other,
    }
}

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    None,
    /// A fence is not there.
    Without(Fence),
    /// A fence orders less.
    Weak(Fence),
    /// Stores (and exchanges) of these words order nothing.
    RelaxedStore(&'static [Kind]),
    /// Loads of these words order nothing.
    RelaxedLoad(&'static [Kind]),
    /// The slot is marked after the look at the rows.
    MarkAfterLook,
    /// Consumers read a slot without a second look.
    NoSecondLook,
    /// The producer does not remember what a row held when its grant was lowered.
    NoMemory,
}

/// Words and memory of a ring with one row.
struct Model {
    mutant: Mutant,
    newest: AtomicU64,
    edition: AtomicU64,
    wake: AtomicU64,
    producer_waiting: AtomicU64,
    freed: AtomicU64,
    sequences: [AtomicU64; SLOTS],
    claim: AtomicU64,
    lease: AtomicU64,
    taken: AtomicU64,
    waiting: AtomicU64,
    grant: AtomicU64,
    /// A slot's memory for exclusive use.
    memory: [Watched; SLOTS],
    /// A slot's memory for copies that may be torn: two words that must be of one frame.
    pixels: [[AtomicU64; 2]; SLOTS],
}

impl Model {
    /// Frame `sequence` is in `slot`, whole.
    fn new(mutant: Mutant, published: &[(u64, u32)]) -> Self {
        let zero = || AtomicU64::new(0);
        let model = Self {
            mutant,
            newest: zero(),
            edition: zero(),
            wake: zero(),
            producer_waiting: zero(),
            freed: zero(),
            sequences: [zero(), zero(), zero()],
            claim: zero(),
            lease: zero(),
            taken: zero(),
            waiting: zero(),
            // Claim 0 may hold two leases.
            grant: AtomicU64::new(2),
            memory: Default::default(),
            pixels: [[zero(), zero()], [zero(), zero()], [zero(), zero()]],
        };
        for &(sequence, slot) in published {
            model.draw(slot, sequence);
            model.sequences[slot as usize].store(sequence, SeqCst);
            model.newest.store(ring::Newest { sequence, slot: Some(slot) }.pack(), SeqCst);
        }
        model
    }

    fn at(&self, word: Word) -> &AtomicU64 {
        match word {
            Word::Newest => &self.newest,
            Word::Edition => &self.edition,
            Word::Wake => &self.wake,
            Word::ProducerWaiting => &self.producer_waiting,
            Word::Freed => &self.freed,
            Word::Sequence(slot) => &self.sequences[slot as usize],
            Word::Claim(_) => &self.claim,
            Word::Lease(_) => &self.lease,
            Word::Taken(_) => &self.taken,
            Word::Waiting(_) => &self.waiting,
            Word::Grant(_) => &self.grant,
            Word::State => unreachable!("no model has a state"),
        }
    }

    fn draw(&self, slot: u32, sequence: u64) {
        for pixel in &self.pixels[slot as usize] {
            pixel.store(sequence, Relaxed);
        }
    }

    fn copy(&self, slot: u32) -> [u64; 2] {
        let [a, b] = &self.pixels[slot as usize];
        [a.load(Relaxed), b.load(Relaxed)]
    }

    /// As the producer takes a slot, or as the mutant does.
    fn begin(&self, holds: &impl Holds, slot: u32, before: u64) -> bool {
        if self.mutant != Mutant::MarkAfterLook {
            return ring::begin(self, holds, slot, before);
        }
        let free = !holds.hold(self, slot, before);
        if free {
            ring::mark(self, slot, before);
        }
        free
    }

    fn second_look(&self, slot: u32, sequence: u64) -> bool {
        self.mutant == Mutant::NoSecondLook || ring::still_whole(self, slot, sequence)
    }
}

impl Words for Model {
    fn load(&self, word: Word, order: Ordering) -> u64 {
        let broken = matches!(self.mutant, Mutant::RelaxedLoad(which) if which.contains(&kind(word)));
        self.at(word).load(if broken { Relaxed } else { order })
    }

    fn store(&self, word: Word, value: u64, order: Ordering) {
        let broken = matches!(self.mutant, Mutant::RelaxedStore(which) if which.contains(&kind(word)));
        self.at(word).store(value, if broken { Relaxed } else { order });
    }

    fn exchange(&self, word: Word, current: u64, new: u64, order: Ordering) -> Result<u64, u64> {
        let broken = matches!(self.mutant, Mutant::RelaxedStore(which) if which.contains(&kind(word)));
        self.at(word).compare_exchange(current, new, if broken { Relaxed } else { order }, Relaxed)
    }

    fn fence(&self, at: Fence) {
        match self.mutant {
            Mutant::Without(broken) if broken == at => {}
            Mutant::Weak(broken) if broken == at => fence(AcqRel),
            _ => fence(at.order()),
        }
    }
}

/// One row whose leases count.
struct Granted;

impl Holds for Granted {
    fn hold(&self, words: &impl Words, slot: u32, _: u64) -> bool {
        ring::leases(words, 0, GENERATION) >> slot & 1 != 0
    }
}

/// One row that must take everything.
struct InOrder;

impl Holds for InOrder {
    fn hold(&self, words: &impl Words, _: u32, sequence: u64) -> bool {
        let claim = ring::claimed(words, 0);
        claim.active && ring::taken(words, 0) < sequence
    }
}

/// Nobody holds anything.
struct Free;

impl Holds for Free {
    fn hold(&self, _: &impl Words, _: u32, _: u64) -> bool {
        false
    }
}

fn check(model: fn(Mutant), mutant: Mutant) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || model(mutant));
}

/// The model passes as it is, and fails when it is broken in any of these ways.
fn check_all(model: fn(Mutant), mutants: &[Mutant]) {
    check(model, Mutant::None);
    for &mutant in mutants {
        let outcome = std::panic::catch_unwind(|| check(model, mutant));
        assert!(outcome.is_err(), "{mutant:?} was not found");
    }
}

/// Frame 1 is in slot 0. The producer shows frame 2 in slot 1 and writes slot 0 again; a consumer leases what is newest.
fn leasing(mutant: Mutant) {
    let model = Arc::new(Model::new(mutant, &[(1, 0)]));
    let producer = thread::spawn({
        let model = Arc::clone(&model);
        move || {
            assert!(model.begin(&Free, 1, 0));
            model.memory[1].write();
            ring::publish(&*model, 1, 2);
            if model.begin(&Granted, 0, 1) {
                model.memory[0].write();
            }
        }
    });
    let newest = ring::observe(&*model);
    let slot = newest.slot.unwrap();
    let leased = match mutant {
        Mutant::NoSecondLook => {
            ring::lease(&*model, 0, 0, GENERATION, slot, newest.sequence);
            true
        }
        _ => ring::lease(&*model, 0, 0, GENERATION, slot, newest.sequence) == ring::Leased::Yes,
    };
    if leased {
        model.memory[slot as usize].read();
        ring::give_back(&*model, 0, GENERATION, slot);
    }
    producer.join().unwrap();
}

#[test]
fn loom_a_leased_slot_is_not_written() {
    check_all(
        leasing,
        &[
            Mutant::Without(Fence::Mark),
            Mutant::Without(Fence::Lease),
            Mutant::Weak(Fence::Mark),
            Mutant::Weak(Fence::Lease),
            Mutant::MarkAfterLook,
            Mutant::NoSecondLook,
            Mutant::RelaxedStore(&[Kind::Newest, Kind::Sequence]),
            // Not the loads of these: the fence of the lease orders them, too.
            Mutant::RelaxedStore(&[Kind::Lease]),
            Mutant::RelaxedLoad(&[Kind::Lease]),
        ],
    );
}

/// One slot, written again and again; a consumer copies it and looks again.
fn copying(mutant: Mutant) {
    let model = Arc::new(Model::new(mutant, &[(1, 0)]));
    let producer = thread::spawn({
        let model = Arc::clone(&model);
        move || {
            assert!(ring::begin(&*model, &Free, 0, 1));
            model.draw(0, 2);
            ring::publish(&*model, 0, 2);
        }
    });
    let newest = ring::observe(&*model);
    let copy = model.copy(0);
    if model.second_look(0, newest.sequence) {
        assert_eq!(copy, [newest.sequence; 2], "a torn frame, or another one");
    }
    producer.join().unwrap();
}

#[test]
fn loom_a_copy_is_of_one_frame() {
    check_all(
        copying,
        &[
            Mutant::Without(Fence::Mark),
            Mutant::Without(Fence::Copied),
            Mutant::NoSecondLook,
            Mutant::RelaxedStore(&[Kind::Newest, Kind::Sequence]),
            Mutant::RelaxedLoad(&[Kind::Newest]),
        ],
    );
}

/// Frames 1 and 2 are in slots 0 and 1. A consumer comes and takes everything in order, while the producer goes on.
fn joining(mutant: Mutant) {
    let model = Arc::new(Model::new(mutant, &[(1, 0), (2, 1)]));
    // The row's former owner had taken more than there is.
    model.taken.store(99, SeqCst);
    let producer = thread::spawn({
        let model = Arc::clone(&model);
        move || {
            let mut sequence = 2;
            for (slot, before) in [(0, 1), (1, 2)] {
                if model.begin(&InOrder, slot, before) {
                    sequence += 1;
                    model.draw(slot, sequence);
                    ring::publish(&*model, slot, sequence);
                }
            }
        }
    });
    let (_, mut taken) = ring::claim(&*model, 0, 0);
    for _ in 0..2 {
        if !take_next(&model, &mut taken) {
            break;
        }
    }
    producer.join().unwrap();
    while take_next(&model, &mut taken) {}
    assert_eq!(taken, ring::observe(&*model).sequence, "a frame is gone");
}

/// Takes the frame after `taken`; false when there is none, or the producer has it in hand.
fn take_next(model: &Model, taken: &mut u64) -> bool {
    let Oldest::Frame { sequence, slot } = ring::oldest_after(model, 2, *taken) else { return false };
    assert_eq!(sequence, *taken + 1, "a frame was left out");
    let copy = model.copy(slot);
    if !model.second_look(slot, sequence) {
        return false;
    }
    assert_eq!(copy, [sequence; 2], "a frame was written again before it was taken");
    ring::set_taken(model, 0, sequence);
    *taken = sequence;
    true
}

#[test]
fn loom_who_takes_in_order_misses_nothing_from_the_first_frame_on() {
    check_all(
        joining,
        &[
            Mutant::Without(Fence::Mark),
            Mutant::Without(Fence::Claim),
            Mutant::Weak(Fence::Mark),
            Mutant::Weak(Fence::Claim),
            Mutant::MarkAfterLook,
            // Not the order of the claim itself: where it counts, the two fences give it.
        ],
    );
}

/// Taking a frame ends the reading of it.
fn taking(mutant: Mutant) {
    let model = Arc::new(Model::new(mutant, &[(1, 0), (2, 1)]));
    model.claim.store(ring::Claim { count: 1, active: true, wish: 0 }.pack(), SeqCst);
    let producer = thread::spawn({
        let model = Arc::clone(&model);
        move || {
            if model.begin(&InOrder, 0, 1) {
                model.memory[0].write();
            }
        }
    });
    model.memory[0].read();
    ring::set_taken(&*model, 0, 1);
    producer.join().unwrap();
}

#[test]
fn loom_a_frame_is_read_before_it_is_taken() {
    check_all(taking, &[Mutant::RelaxedStore(&[Kind::Taken]), Mutant::RelaxedLoad(&[Kind::Taken])]);
}

/// A consumer falls asleep while a frame comes; a producer falls asleep while a slot is given back.
fn sleeping(mutant: Mutant) {
    let model = Arc::new(Model::new(mutant, &[(1, 0)]));
    let producer = thread::spawn({
        let model = Arc::clone(&model);
        move || {
            // News that the sleeper does not care for, and news that it does.
            let first = ring::news(&*model, 1, 1) != 0;
            ring::publish(&*model, 1, 2);
            ring::news(&*model, 1, 2) != 0 || first
        }
    });
    let seen = ring::about_to_sleep(&*model, 0);
    // As the kernel does: no sleep over a word that has changed.
    let asleep = ring::observe(&*model).sequence == 1 && model.wake.load(Relaxed) as u32 == seen;
    let woken = producer.join().unwrap();
    assert!(!asleep || woken, "a sleeper was forgotten");
}

fn waiting(mutant: Mutant) {
    let model = Arc::new(Model::new(mutant, &[(1, 0)]));
    let consumer = thread::spawn({
        let model = Arc::clone(&model);
        move || {
            ring::set_taken(&*model, 0, 1);
            ring::freed(&*model, || true)
        }
    });
    let seen = ring::producer_about_to_sleep(&*model);
    let asleep = ring::taken(&*model, 0) == 0 && model.freed.load(Relaxed) as u32 == seen;
    let woken = consumer.join().unwrap();
    assert!(!asleep || woken, "the producer was forgotten");
}

#[test]
fn loom_no_sleeper_is_forgotten() {
    let mutants = [
        Mutant::Without(Fence::Ring),
        Mutant::Without(Fence::Sleep),
        Mutant::Weak(Fence::Ring),
        Mutant::Weak(Fence::Sleep),
    ];
    check_all(sleeping, &mutants);
    check_all(waiting, &mutants);
}

/// The description becomes that of the next generation, whose first frame follows.
fn describing(mutant: Mutant) {
    let model = Arc::new(Model::new(mutant, &[]));
    model.edition.store(2, SeqCst);
    model.draw(0, 2);
    let producer = thread::spawn({
        let model = Arc::clone(&model);
        move || {
            ring::begin_edition(&*model, 2);
            model.draw(0, 4);
            ring::end_edition(&*model, 4);
            ring::publish(&*model, 1, 1);
        }
    });
    let newest = ring::observe(&*model);
    let edition = ring::edition(&*model);
    assert!(newest.sequence == 0 || edition == 4, "a new frame under the old description");
    if edition % 2 == 0 {
        let copy = model.copy(0);
        if ring::still_described(&*model, edition) {
            assert_eq!(copy, [edition; 2], "a torn description, or another one");
        }
    }
    producer.join().unwrap();
}

#[test]
fn loom_a_description_is_whole_and_of_the_frames_it_is_for() {
    check_all(
        describing,
        &[
            Mutant::Without(Fence::Describe),
            Mutant::Without(Fence::Described),
            Mutant::RelaxedStore(&[Kind::Edition]),
            Mutant::RelaxedLoad(&[Kind::Edition]),
            Mutant::RelaxedStore(&[Kind::Newest]),
            Mutant::RelaxedLoad(&[Kind::Newest]),
        ],
    );
}

/// A producer grants a lease and respects it; the consumer uses it as soon as it sees it.
fn granting(mutant: Mutant) {
    let model = Arc::new(Model::new(mutant, &[(1, 0)]));
    let (count, _) = ring::claim(&*model, 0, 1);
    let producer = thread::spawn({
        let model = Arc::clone(&model);
        move || {
            let mut rows = Rows::new(false);
            rows.restart(&*model, GENERATION, 3);
            rows.update(&*model);
            ring::publish(&*model, 1, 2);
            if model.begin(&rows, 0, 1) {
                model.memory[0].write();
            }
        }
    });
    if ring::granted(&*model, 0, count) > 0 && ring::lease(&*model, 0, count, GENERATION, 0, 1) == ring::Leased::Yes {
        model.memory[0].read();
        ring::give_back(&*model, 0, GENERATION, 0);
    }
    producer.join().unwrap();
}

#[test]
fn loom_a_grant_holds_as_soon_as_it_is_seen() {
    check_all(granting, &[Mutant::Weak(Fence::Mark), Mutant::MarkAfterLook]);
}

/// As many leases of one row as the producer respects, and what the row held when they were lowered.
struct Respected {
    held: u32,
    granted: u32,
}

impl Holds for Respected {
    fn hold(&self, words: &impl Words, slot: u32, _: u64) -> bool {
        counted(ring::leases(words, 0, GENERATION), self.held, self.granted) >> slot & 1 != 0
    }
}

/// Frames 1 and 2 are in slots 0 and 1. A consumer that may hold two leases, and has one of slot `first`, leases the
/// other slot, while the producer takes one lease back and writes whichever slot it may.
fn lowering(mutant: Mutant, first: u32) {
    let model = Arc::new(Model::new(mutant, &[(1, 0), (2, 1)]));
    let second = 1 - first;
    let sequence = |slot: u32| u64::from(slot) + 1;
    assert_eq!(ring::lease(&*model, 0, 0, GENERATION, first, sequence(first)), ring::Leased::Yes);
    let producer = thread::spawn({
        let model = Arc::clone(&model);
        move || {
            ring::lower_grant(&*model, 0, 0, 1);
            let held = ring::leases(&*model, 0, GENERATION);
            let respected = match held.count_ones() {
                0 | 1 if mutant == Mutant::NoMemory => Respected { held: 0, granted: 1 },
                0 | 1 => Respected { held, granted: 1 },
                _ => Respected { held: 0, granted: 2 },
            };
            for slot in [second, first] {
                if model.begin(&respected, slot, sequence(slot)) {
                    model.memory[slot as usize].write();
                }
            }
        }
    });
    if ring::lease(&*model, 0, 0, GENERATION, second, sequence(second)) == ring::Leased::Yes {
        model.memory[second as usize].read();
    }
    // The first one is held until the end.
    model.memory[first as usize].read();
    producer.join().unwrap();
}

#[test]
fn loom_a_lease_that_was_taken_back_is_held_by_nobody() {
    let mutants = [Mutant::Without(Fence::Lower), Mutant::Weak(Fence::Lower)];
    check_all(|mutant| lowering(mutant, 0), &mutants);
    check_all(|mutant| lowering(mutant, 1), &[mutants.as_slice(), &[Mutant::NoMemory]].concat());
}
