// SPDX-License-Identifier: MPL-2.0
//! A writer that asks nobody, and a reader beside it. A frame that is read as whole must be one frame.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::chase::{Chase, Chased, Wire};
use super::front::{LEAST, Line};
use super::{Consumer, RawLayout};
use crate::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use crate::pixels;
use crate::segment::{AccessError, Segment};

/// How a writer writes.
#[derive(Debug, Clone, Copy)]
struct Habit {
    /// From the beginning of one frame to that of the next; zero: flat out.
    period: Duration,
    /// Only the first and the last bytes of a frame change.
    stamps: bool,
    /// After how many frames it stands still in the middle of one, and for how long.
    stops: Option<(u64, Duration)>,
    /// The reader believes that it never rests.
    suspected: bool,
}

#[derive(Debug, Default)]
struct Tally {
    whole: u64,
    torn: u64,
    written: u64,
    /// Frames that were read as whole and were not.
    wrong: Vec<(u64, u64)>,
    /// Those of them whose writer was kept from running for longer than a stop can be told from an end.
    untellable: Vec<(u64, u64)>,
}

impl Tally {
    /// On a quiet machine none is wrong. Where threads are kept from running at the very moments that cannot be told
    /// (`docs/adr/0005-raw-tearing.md`), one in fifty may be; a reader that does not look has one in ten. Frames that took
    /// their writer [`LEAST`] do not count: a busy machine makes any number of them.
    fn is_nearly_right(&self) -> bool {
        self.wrong.len() as u64 * 50 <= self.whole + self.torn
    }
}

fn number(frame: &[u8]) -> u64 {
    u64::from_le_bytes(frame[..8].try_into().unwrap())
}

/// Whether all rows are of one frame; which first and which last.
fn mixture(frame: &[u8], row: usize, stamps: bool) -> Option<(u64, u64)> {
    let first = number(frame);
    let last = number(&frame[frame.len() - 8..]);
    let odd =
        if stamps { (first != last).then_some(last) } else { frame.chunks(row).map(number).find(|n| *n != first) };
    odd.map(|odd| (first, odd))
}

fn race(width: u32, height: u32, habit: Habit, reads: u64) -> Tally {
    let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).unwrap();
    let layout = RawLayout { desc: FrameDesc { width, height, format, origin: Origin::TopLeft }, offset: 64 };
    let (row, size) = (layout.desc.row_bytes(), layout.desc.bytes().unwrap());
    let segment = Arc::new(Segment::heap(layout.bytes().unwrap()));
    let mut consumer = Consumer::over("race", segment.clone(), layout, format, pixels::Options::default()).unwrap();
    if habit.suspected {
        consumer.after_a_hiccup();
    }
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let slow = Mutex::new(Vec::new());
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut frames = vec![vec![0u8; size]; if habit.stamps { 1 } else { 4 }];
            let began = Instant::now();
            for n in 1u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let count = frames.len() as u64;
                let frame = &mut frames[usize::try_from(n % count).unwrap()];
                if habit.stamps {
                    frame[..8].copy_from_slice(&n.to_le_bytes());
                } else {
                    frame.chunks_mut(row).for_each(|row| row[..8].copy_from_slice(&n.to_le_bytes()));
                    frame.chunks_mut(8).for_each(|word| word[0] = n as u8);
                    frame.chunks_mut(row).for_each(|row| row[..8].copy_from_slice(&n.to_le_bytes()));
                }
                frame[size - 8..].copy_from_slice(&n.to_le_bytes());
                let stop_here = habit.stops.filter(|(every, _)| n.is_multiple_of(*every));
                let half = if stop_here.is_some() { size / 2 } else { size };
                let begun = Instant::now();
                segment.write(64, &frame[..half]).unwrap();
                if let Some((_, time)) = stop_here {
                    std::thread::sleep(time);
                    segment.write(64 + half, &frame[half..]).unwrap();
                }
                if begun.elapsed() >= LEAST {
                    slow.lock().unwrap().push(n);
                }
                written.store(n, Ordering::Relaxed);
                if !habit.period.is_zero() {
                    std::thread::sleep((habit.period * u32::try_from(n).unwrap()).saturating_sub(began.elapsed()));
                }
            }
        });
        let mut frame = vec![0; size];
        while written.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        let mut failed = false;
        for _ in 0..reads {
            if habit.suspected {
                // As a source of a constant rate does: once a frame, and again soon where that gave none.
                let pause = if failed { habit.period / 16 } else { habit.period };
                std::thread::sleep(pause);
            } else if !habit.period.is_zero() {
                std::thread::sleep(habit.period / 5);
                consumer.look().unwrap();
            }
            let read = consumer.read(&mut frame, row).unwrap();
            failed = !read.whole;
            if read.whole {
                tally.whole += 1;
                // The same one again, while nothing moves, is not another.
                tally
                    .wrong
                    .extend(mixture(&frame, row, habit.stamps).filter(|wrong| tally.wrong.last() != Some(wrong)));
            } else {
                tally.torn += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    tally.written = written.load(Ordering::Relaxed);
    let slow = slow.into_inner().unwrap();
    let of_slow = |(one, other): &(u64, u64)| slow.contains(one.max(other));
    (tally.untellable, tally.wrong) = tally.wrong.into_iter().partition(of_slow);
    tally
}

const FLAT_OUT: Habit = Habit { period: Duration::ZERO, stamps: false, stops: None, suspected: false };
const PACED: Habit = Habit { period: Duration::from_micros(16_667), stamps: false, stops: None, suspected: false };

#[test]
#[cfg_attr(any(miri, windows), ignore = "races in real time, which neither Miri nor Wine has")]
fn no_frame_of_a_writer_that_never_rests_is_torn() {
    for (width, height, reads) in [(1280, 720, 150), (1920, 1080, 150), (3840, 2160, 30)] {
        for stamps in [false, true] {
            let tally = race(width, height, Habit { stamps, ..FLAT_OUT }, reads);
            eprintln!("{width}×{height} stamps {stamps}: {tally:?}");
            assert!(tally.is_nearly_right(), "{width}×{height}, stamps {stamps}: {tally:?}");
        }
    }
}

#[test]
#[cfg_attr(any(miri, windows), ignore = "races in real time, which neither Miri nor Wine has")]
fn nearly_every_frame_of_a_writer_that_keeps_a_pace_is_read() {
    for (width, height) in [(64, 48), (1280, 720), (1920, 1080)] {
        for stamps in [false, true] {
            let tally = race(width, height, Habit { stamps, ..PACED }, 150);
            eprintln!("{width}×{height} stamps {stamps}: {tally:?}");
            assert!(tally.is_nearly_right(), "{width}×{height}, stamps {stamps}: {tally:?}");
            // How many fail is a matter of how busy the machine is; that most do not is a promise.
            assert!(tally.whole > 100, "{width}×{height}, stamps {stamps}: {tally:?}");
        }
    }
}

#[test]
#[cfg_attr(any(miri, windows), ignore = "races in real time, which neither Miri nor Wine has")]
fn a_writer_that_keeps_a_pace_is_not_chased_for_ever() {
    let tally = race(1280, 720, Habit { suspected: true, ..PACED }, 400);
    eprintln!("{tally:?}");
    assert!(tally.is_nearly_right(), "{tally:?}");
    // Where it is for ever, there is none.
    assert!(tally.whole > 25, "{tally:?}");
}

#[test]
#[cfg_attr(any(miri, windows), ignore = "races in real time, which neither Miri nor Wine has")]
fn a_writer_that_stops_in_the_middle_of_a_frame_is_noticed() {
    let habit = Habit { stops: Some((5, Duration::from_millis(15))), ..PACED };
    for stamps in [false, true] {
        let tally = race(1280, 720, Habit { stamps, ..habit }, 300);
        eprintln!("stamps {stamps}: {tally:?}");
        assert!(tally.is_nearly_right(), "stamps {stamps}: {tally:?}");
        assert!(tally.torn > 0 && tally.whole > 100, "stamps {stamps}: {tally:?}");
    }
}

/// A chase's view of a segment that holds rows of `row` bytes and nothing else.
struct Bare<'a> {
    segment: &'a Segment,
    frame: Vec<u8>,
    row: usize,
    clock: Instant,
}

impl Wire for Bare<'_> {
    type Error = AccessError;

    fn now(&mut self) -> Duration {
        self.clock.elapsed()
    }

    fn sample(&mut self, offset: usize, bytes: &mut [u8]) -> Result<(), AccessError> {
        self.segment.read(offset, bytes)
    }

    fn foreign(&mut self, _: &mut Line) -> Result<(), AccessError> {
        Ok(())
    }

    fn copy(&mut self, rows: Range<usize>) -> Result<(), AccessError> {
        let bytes = rows.start * self.row..rows.end * self.row;
        self.segment.read(bytes.start, &mut self.frame[bytes])
    }

    fn patch(&mut self, offset: usize, bytes: &[u8]) -> Result<(), AccessError> {
        self.frame[offset..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[test]
#[cfg_attr(any(miri, windows), ignore = "races in real time, which neither Miri nor Wine has")]
fn no_frame_that_is_chased_is_torn() {
    let mut all = 0;
    for (row, rows) in [(1280 * 4, 720), (1920 * 4, 1080), (3840 * 4, 2160)] {
        let segment = Segment::heap(row * rows);
        let stop = AtomicBool::new(false);
        let (mut whole, mut wrong) = (0, Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut frames: Vec<_> = (0..4).map(|fill| vec![fill; row * rows]).collect();
                for n in 1u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let frame = &mut frames[usize::try_from(n % 4).unwrap()];
                    frame.chunks_mut(row).for_each(|row| row[..8].copy_from_slice(&n.to_le_bytes()));
                    segment.write(0, frame).unwrap();
                }
            });
            let mut chase = Chase::new(row * rows, rows, 4);
            let mut wire = Bare { segment: &segment, frame: vec![0; row * rows], row, clock: Instant::now() };
            for _ in 0..150 {
                if chase.read(&mut wire).unwrap() == Chased::Whole {
                    whole += 1;
                    wrong.extend(mixture(&wire.frame, row, false));
                    let fill = &wire.frame[8..9];
                    wrong.extend(wire.frame.chunks(row).any(|row| row[row.len() - 1..] != *fill).then_some((0, 0)));
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        eprintln!("rows of {row}: {whole} whole of 150, wrong {wrong:?}");
        assert!(wrong.is_empty(), "rows of {row}: {wrong:?}");
        all += whole;
    }
    // How many depends on how busy the machine is.
    assert!(all > 0, "no frame in 450 reads");
}
