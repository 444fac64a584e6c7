// SPDX-License-Identifier: MPL-2.0
//! A writer, a reader and a clock that are simulated: every race happens, and happens again with the same seed.

use std::convert::Infallible;
use std::ops::Range;
use std::time::Duration;

use super::chase::{Chase, Chased, Wire};
use super::front::{Line, scatter};

/// Bytes that the writer writes at once.
const CELL: usize = 32;
const ROWS: usize = 256;
const ROW_BYTES: usize = 512;
const CELLS: usize = ROWS * ROW_BYTES / CELL;
/// The first and the last stores of a copy follow each other at once: of a real frame they are not 16 cells of 4096 but
/// of a million.
const QUICK: usize = 16;

/// The cells of a frame in the order in which they are written.
type Order = fn(frame: usize) -> Vec<usize>;

/// What a simulated writer and its reader do. Times are in nanoseconds.
#[derive(Debug, Clone)]
struct Habits {
    order: Order,
    /// What stands in a cell: the frame, or what it shows there for longer.
    shows: fn(frame: usize, cell: usize) -> usize,
    /// The writer's time for a frame, at least and at most; and the reader's.
    write: (f64, f64),
    copy: f64,
    /// How much slower the writer is while the reader copies.
    contention: f64,
    /// Time between frames, at least and at most.
    gap: (f64, f64),
    /// Whether it counts frames in front of the frame.
    counts: bool,
    /// How often per frame the writer is held up, and for how long at most. The same for the reader.
    held_up: (f64, f64),
    reader_held_up: (f64, f64),
}

/// Upward; `late` cells of the start at the end.
fn up(late: usize) -> Vec<usize> {
    (late..CELLS).chain(0..late).collect()
}

fn down(late: usize) -> Vec<usize> {
    (0..CELLS - late).rev().chain(CELLS - late..CELLS).collect()
}

/// Four pages at a time, as copies past the caches do.
fn pages(frame: usize) -> Vec<usize> {
    let _ = frame;
    let page = 8;
    let order = (0..CELLS / page / 4).flat_map(|group| {
        (0..page).flat_map(move |cell| (0..4).map(move |part| group * page * 4 + part * page + cell))
    });
    order.collect()
}

fn everywhere(frame: usize, _: usize) -> usize {
    frame
}

/// Head and tail alone, as a stamp.
fn stamps(frame: usize, cell: usize) -> usize {
    if cell == 0 || cell == CELLS - 1 { frame } else { 0 }
}

/// One cell in eight keeps what it shows from one frame to the next.
fn mostly(frame: usize, cell: usize) -> usize {
    let keeps = scatter(frame * CELLS + cell).is_multiple_of(8);
    if keeps && frame > 0 { mostly(frame - 1, cell) } else { frame }
}

fn band(frame: usize, cell: usize) -> usize {
    if (CELLS / 3..CELLS / 2).contains(&cell) { frame } else { 0 }
}

fn stamps_and_band(frame: usize, cell: usize) -> usize {
    stamps(frame, cell).max(band(frame, cell))
}

/// As CPython writes 4K: 3 ms a frame, and some 50 µs between two.
fn flat_out() -> Habits {
    Habits {
        order: |_| up(1),
        shows: everywhere,
        write: (2.9e6, 3.1e6),
        copy: 3.9e6,
        contention: 1.4,
        gap: (30e3, 100e3),
        counts: false,
        held_up: (0.0, 0.0),
        reader_held_up: (0.0, 0.0),
    }
}

struct World {
    habits: Habits,
    time: f64,
    memory: Vec<u32>,
    counter: u32,
    frame: usize,
    order: Vec<usize>,
    step: usize,
    /// When the writer writes the next cell, and its time for one.
    next: f64,
    pace: f64,
    copying: bool,
    copy: Vec<u32>,
    chance: usize,
}

impl World {
    fn new(habits: Habits, seed: usize) -> Self {
        Self {
            order: (habits.order)(1),
            pace: habits.write.0 / CELLS as f64,
            habits,
            time: 0.0,
            memory: vec![0; CELLS],
            counter: 0,
            frame: 1,
            step: 0,
            next: 0.0,
            copying: false,
            copy: vec![0; CELLS],
            chance: scatter(seed),
        }
    }

    /// 0 to 1.
    fn dice(&mut self) -> f64 {
        self.chance = scatter(self.chance.wrapping_add(0x9E37));
        (self.chance & 0xF_FFFF) as f64 / 1_048_576.0
    }

    fn between(&mut self, (least, most): (f64, f64)) -> f64 {
        least + (most - least) * self.dice()
    }

    /// How long somebody is held up over `share` of a frame.
    fn stall(&mut self, (often, long): (f64, f64), share: f64) -> f64 {
        if often > 0.0 && self.dice() < often * share { long * self.dice() } else { 0.0 }
    }

    fn go(&mut self, nanos: f64) {
        self.time += nanos;
        while self.next <= self.time {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.step == CELLS {
            // Between two frames, and counted in the middle of that time.
            self.counter += u32::from(self.habits.counts);
            self.frame += 1;
            (self.step, self.order) = (0, (self.habits.order)(self.frame));
            self.pace = self.between(self.habits.write) / CELLS as f64;
            self.next += self.between(self.habits.gap) / 2.0;
            return;
        }
        let cell = self.order[self.step];
        self.memory[cell] = u32::try_from((self.habits.shows)(self.frame, cell)).unwrap();
        self.step += 1;
        let quick = self.step < QUICK || self.step + QUICK > CELLS;
        let slower = if self.copying { self.habits.contention } else { 1.0 };
        let stall = self.stall(self.habits.held_up, 1.0 / CELLS as f64);
        self.next += if quick { 100.0 } else { self.pace * slower + stall };
        if self.step == CELLS {
            self.next += self.between(self.habits.gap) / 2.0;
        }
    }

    /// Whether the copy is one frame.
    fn is_whole(&self) -> bool {
        (self.frame.saturating_sub(40)..=self.frame).rev().any(|frame| {
            self.copy.iter().enumerate().all(|(cell, found)| *found as usize == (self.habits.shows)(frame, cell))
        })
    }
}

impl Wire for World {
    type Error = Infallible;

    fn now(&mut self) -> Duration {
        self.go(25.0);
        Duration::from_nanos(self.time as u64)
    }

    fn sample(&mut self, offset: usize, bytes: &mut [u8]) -> Result<(), Infallible> {
        let stall = self.stall(self.habits.reader_held_up, 1e-4);
        self.go(40.0 + stall);
        for (n, piece) in bytes.chunks_mut(CELL).enumerate() {
            self.go(if n > 0 { 10.0 } else { 0.0 });
            piece.as_chunks_mut().0.fill(self.memory[offset / CELL + n].to_le_bytes());
        }
        Ok(())
    }

    fn foreign(&mut self, bytes: &mut Line) -> Result<(), Infallible> {
        self.go(20.0);
        bytes[..4].copy_from_slice(&self.counter.to_le_bytes());
        Ok(())
    }

    fn copy(&mut self, rows: Range<usize>) -> Result<(), Infallible> {
        self.copying = true;
        let per_row = ROW_BYTES / CELL;
        for cell in rows.start * per_row..rows.end * per_row {
            let stall = self.stall(self.habits.reader_held_up, 1.0 / CELLS as f64);
            if stall > 0.0 {
                self.copying = false;
                self.go(stall);
                self.copying = true;
            }
            self.go(self.habits.copy / CELLS as f64);
            self.copy[cell] = self.memory[cell];
        }
        self.copying = false;
        Ok(())
    }

    fn patch(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Infallible> {
        for (n, cell) in bytes.chunks_exact(CELL).enumerate() {
            self.copy[offset / CELL + n] = u32::from_le_bytes(cell[..4].try_into().unwrap());
        }
        Ok(())
    }

    fn pause(&mut self, time: Duration) {
        let late = 50_000.0 + 20_000.0 * self.dice();
        self.go(time.as_nanos() as f64 + late);
    }
}

#[derive(Debug, Default)]
struct Score {
    reads: usize,
    whole: usize,
    /// Whole by the reader's word, and not in truth.
    torn: usize,
    written: usize,
}

fn play(habits: &Habits) -> Score {
    // As many as a test may last without optimisation.
    let (seeds, reads) = match (cfg!(miri), cfg!(debug_assertions)) {
        (true, _) => (1, 4),
        (_, true) => (1, 12),
        (_, false) => (2, 50),
    };
    let mut score = Score::default();
    for seed in 0..seeds {
        let mut world = World::new(habits.clone(), seed);
        let mut chase = Chase::new(ROWS * ROW_BYTES, ROWS, 4);
        for _ in 0..reads {
            let Ok(chased) = chase.read(&mut world);
            score.reads += 1;
            if chased == Chased::Whole {
                score.whole += 1;
                score.torn += usize::from(!world.is_whole());
            }
            let rest = 5e6 * world.dice();
            world.go(rest);
        }
        score.written += world.frame;
    }
    score
}

/// Plays, and checks that no frame was torn and that at least `share` of the reads brought a frame.
fn check(name: &str, habits: Habits, share: f64) {
    let score = play(&habits);
    assert_eq!(score.torn, 0, "{name}: {score:?}");
    let share = if cfg!(miri) { 0.0 } else { share };
    assert!(score.whole as f64 >= share * score.reads as f64, "{name}: {score:?}");
}

/// Orders of writing, and whether the moment between two frames shows.
const ORDERS: [(&str, Order); 9] = [
    ("up", |_| up(0)),
    ("up, late 32", |_| up(1)),
    ("up, late 64", |_| up(2)),
    ("up, late 128", |_| up(4)),
    ("up, late 256", |_| up(8)),
    ("down", |_| down(0)),
    ("down, late 32", |_| down(1)),
    ("down, late 256", |_| down(8)),
    ("pages", pages),
];

#[test]
fn most_reads_beside_a_writer_that_never_rests_bring_a_frame() {
    for (name, order) in ORDERS {
        check(name, Habits { order, ..flat_out() }, 0.8);
        check(&format!("{name}, mostly"), Habits { order, shows: mostly, ..flat_out() }, 0.5);
        check(&format!("{name}, counted"), Habits { order, counts: true, ..flat_out() }, 0.8);
    }
    check("slower reader", Habits { copy: 4.5e6, ..flat_out() }, 0.7);
    check("quicker reader", Habits { copy: 1.5e6, ..flat_out() }, 0.8);
    check("uneven writer", Habits { write: (2.5e6, 4e6), ..flat_out() }, 0.6);
    let slow = Habits { write: (7e6, 8e6), copy: 7e6, contention: 1.1, ..flat_out() };
    check("slow", slow, 0.7);
}

#[test]
fn frames_whose_first_and_last_bytes_alone_change_are_read_whole() {
    let habits = Habits { shows: stamps, ..flat_out() };
    check("in order", Habits { order: |_| up(0), ..habits.clone() }, 0.5);
    check("counted", Habits { counts: true, order: |_| up(0), ..habits.clone() }, 0.5);
    check("late, counted", Habits { counts: true, ..habits.clone() }, 0.2);
    check("down", Habits { order: |_| down(0), ..habits.clone() }, 0.5);
    check("late, not counted", habits, 0.0);
}

#[test]
fn a_picture_that_stands_still_for_the_most_part_is_read_whole() {
    for (name, order) in ORDERS {
        check(&format!("{name}, band"), Habits { order, shows: band, ..flat_out() }, 0.3);
        check(&format!("{name}, stamps and band"), Habits { order, shows: stamps_and_band, ..flat_out() }, 0.0);
    }
}

#[test]
fn no_frame_is_torn_when_either_side_is_held_up() {
    let mut n = 0;
    for (often, long) in [(0.3, 10e6), (2.0, 2e6), (0.1, 60e6)] {
        for (name, order) in ORDERS {
            for shows in [everywhere, mostly, stamps, stamps_and_band] {
                n += 1;
                let (both, writer) = (n % 3 == 0, n % 2 == 0);
                let held_up = if both || writer { (often, long) } else { (0.0, 0.0) };
                let reader_held_up = if both || !writer { (often, long) } else { (0.0, 0.0) };
                check(name, Habits { order, shows, counts: n % 5 < 3, held_up, reader_held_up, ..flat_out() }, 0.0);
            }
        }
    }
}

#[test]
fn a_writer_that_shows_no_moment_between_two_frames_is_not_believed() {
    for (name, order) in ORDERS {
        for shows in [everywhere, mostly, stamps] {
            for held_up in [(0.0, 0.0), (1.0, 5e6)] {
                check(name, Habits { order, shows, held_up, gap: (0.0, 200.0), ..flat_out() }, 0.0);
            }
        }
    }
}

#[test]
fn a_writer_that_keeps_no_order_is_not_believed() {
    /// As four threads copy a quarter each.
    fn quarters(_: usize) -> Vec<usize> {
        (0..CELLS).map(|step| step % 4 * (CELLS / 4) + step / 4).collect()
    }
    /// As glibc copies from buffers whose addresses differ.
    fn either(frame: usize) -> Vec<usize> {
        if scatter(frame).is_multiple_of(3) { up(1) } else { down(1) }
    }
    for (name, order) in [("quarters", quarters as Order), ("either", either)] {
        for shows in [everywhere, mostly, stamps] {
            check(name, Habits { order, shows, ..flat_out() }, 0.0);
            check(name, Habits { order, shows, counts: true, ..flat_out() }, 0.0);
        }
    }
}

#[test]
fn a_writer_that_keeps_a_pace_is_not_torn_by_a_chase() {
    for (least, most) in [(13e6, 14e6), (2e6, 14e6), (0.1e6, 4e6)] {
        for shows in [everywhere, mostly, stamps] {
            for counts in [false, true] {
                check("paced", Habits { gap: (least, most), shows, counts, ..flat_out() }, 0.0);
                let quick = Habits { write: (0.4e6, 0.5e6), copy: 0.6e6, ..flat_out() };
                check("quick", Habits { gap: (least, most), shows, counts, ..quick }, 0.0);
            }
        }
    }
}
