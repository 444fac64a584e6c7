// SPDX-License-Identifier: MPL-2.0
//! Peers that write what they like, and cut short what they can.

use std::collections::hash_map::RandomState;
#[cfg(target_os = "linux")]
use std::fs::File;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use tdlink_core::field::Field;
use tdlink_core::protocol::control::layout::{
    EDITION, FREED, NEWEST, PRODUCER_WAITING, ROW_BYTES, ROW_CLAIM, ROW_LEASE, ROW_TAKEN, ROW_WAITING, SEGMENT_BYTES,
    SLOT_SEQUENCE, STATE, Tables, WAKE,
};
#[cfg(target_os = "linux")]
use tdlink_core::protocol::control::{
    AttachOptions, ConsumeError, Consumer, Interrupt, LayoutError, ProduceError, Take,
};
use tdlink_core::protocol::control::{ProducerOptions, Stamps};
#[cfg(target_os = "linux")]
use tdlink_core::segment::AccessError;
use tdlink_core::segment::{ControlSegment, OpenOptions};

use super::{Name, copy, draw, next, send};

/// Somebody who has the control segment open and no manners.
struct Hostile {
    control: ControlSegment,
    random: RandomState,
    turn: u64,
}

impl Hostile {
    fn of(name: &Name) -> Self {
        let control = ControlSegment::open(&name.0, &OpenOptions::default()).unwrap();
        Self { control, random: RandomState::new(), turn: 0 }
    }

    fn number(&mut self) -> u64 {
        self.turn += 1;
        let any = self.random.hash_one(self.turn);
        // What is nearly right does more harm than what is not.
        match any % 4 {
            0 => any,
            1 => any & 0xff,
            2 => u64::MAX,
            _ => any & 0x8000_000f_ffff_ffff,
        }
    }

    fn put(&self, offset: usize, bytes: &[u8]) {
        self.control.segment().write(offset, bytes).unwrap();
    }

    /// Garbage in every word that a consumer writes in row `row`.
    fn scribble_row(&mut self, row: u32) {
        let tables = Tables::OURS;
        for field in [ROW_CLAIM, ROW_LEASE, ROW_TAKEN] {
            let number = self.number();
            self.put(tables.row(row, field), &number.to_le_bytes());
        }
        let number = self.number() as u32;
        self.put(tables.row(row, ROW_WAITING), &number.to_le_bytes());
        let number = self.number() as u32;
        self.put(FREED.offset(), &number.to_le_bytes());
    }

    /// Garbage anywhere.
    fn scribble(&mut self) {
        let at = |field: Field<u64>| field.offset();
        let edges = [
            at(NEWEST),
            at(EDITION),
            STATE.offset(),
            WAKE.offset(),
            PRODUCER_WAITING.offset(),
            Tables::OURS.slot(1, SLOT_SEQUENCE),
        ];
        let number = self.number();
        let offset = match number % 3 {
            0 => edges[self.number() as usize % edges.len()],
            _ => self.number() as usize % (SEGMENT_BYTES - 8),
        };
        self.put(offset, &number.to_le_bytes());
    }
}

#[test]
fn garbage_in_a_consumers_row_harms_nobody_else() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(6)).unwrap();
    let mut honest = name.attach(2).unwrap();
    let _also_honest = name.attach(1).unwrap();
    send(&producer, 0);
    assert_eq!(next(&mut honest), Ok(0));
    let mut hostile = Hostile::of(&name);
    for sent in 1..3000 {
        for row in 2..8 {
            hostile.scribble_row(row);
        }
        // The producer never waits, though what hostile rows were granted may be lost to others.
        send(&producer, sent);
        assert_eq!(next(&mut honest), Ok(sent));
    }
    // It is let go of: nobody has the locks of those rows.
    for row in 2..8 {
        let idle = [0; ROW_BYTES / 2];
        hostile.put(Tables::OURS.row(row, ROW_CLAIM), &idle);
    }
    send(&producer, 3000);
    assert!(producer.free().count_ones() >= 3);
}

#[test]
fn a_row_that_claims_to_have_taken_nothing_cannot_stop_a_lossless_producer() {
    let name = Name::new();
    let timeout = Duration::from_millis(50);
    let options = ProducerOptions { lossless_timeout: Some(timeout), ..ProducerOptions::lossless(3) };
    let producer = name.produce(options).unwrap();
    let hostile = Hostile::of(&name);
    let tables = Tables::OURS;
    hostile.put(tables.row(4, ROW_TAKEN), &0u64.to_le_bytes());
    hostile.put(tables.row(4, ROW_CLAIM), &(1u64 << 32 | 1 << 31).to_le_bytes());
    let began = Instant::now();
    for sent in 0..100 {
        let slot = producer.acquire_by(Some(began + super::PATIENCE), 0).unwrap().expect("it is let go");
        super::publish(&producer, slot, sent).unwrap();
    }
    // Nobody has the lock of that row, which the kernel knows at once.
    assert!(began.elapsed() < super::PATIENCE);
    assert_eq!(producer.clients(), 0);
}

#[test]
fn garbage_anywhere_is_an_error_or_nothing_and_never_the_end() {
    let name = Name::new();
    let mut said = 0;
    for round in 0..60 {
        let producer = name.produce(ProducerOptions::latest(3)).unwrap();
        let Ok(mut consumer) = name.attach(1) else { panic!("a fresh segment") };
        let mut hostile = Hostile::of(&name);
        for sent in 0..40 {
            hostile.scribble();
            if let Ok(Some(slot)) = producer.acquire(0) {
                draw(&slot, 4096, sent);
                let _ = slot.publish(Stamps { offset: Some(sent), ..Stamps::default() });
            }
            let _ = producer.tend();
            let deadline = Some(Instant::now() + Duration::from_micros(50));
            said += u32::from(consumer.wait_newer(deadline).is_err());
            said += u32::from(consumer.take().is_err());
            said += u32::from(copy(&mut consumer).is_err());
            if sent % 10 == 0 {
                // Attaching reads all of it.
                said += u32::from(name.attach(1).is_err());
            }
            if round % 2 == 0 && sent == 20 {
                let _ = producer.set_spec(super::spec(32, 32));
            }
        }
        // The next producer makes it sound again.
        drop((producer, consumer));
        let producer = name.produce(ProducerOptions::latest(3)).unwrap();
        let mut consumer = name.attach(1).unwrap();
        send(&producer, 5);
        assert_eq!(next(&mut consumer), Ok(5));
    }
    assert!(said > 0, "nothing of all this was noticed");
}

#[cfg(target_os = "linux")] // nothing of the kind on Windows
#[test]
fn a_control_segment_that_is_cut_short_is_an_error_of_both_ends() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    send(&producer, 1);
    let Take::Frame(held) = consumer.take().unwrap() else { panic!("no lease") };
    File::options().write(true).open(name.control_path()).unwrap().set_len(0).unwrap();
    assert!(matches!(consumer.take(), Err(ConsumeError::Access(AccessError::Truncated { .. }))));
    assert!(matches!(producer.acquire(0), Err(ProduceError::Access(AccessError::Truncated { .. }))));
    assert!(consumer.wait_newer(Some(Instant::now())).is_err());
    // The pixels are still there.
    assert_eq!(super::number(held.info(), held.memory().segment(), held.memory().offset()), Ok(1));
    drop((held, consumer, producer));
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    send(&producer, 2);
    assert_eq!(next(&mut consumer), Ok(2));
}

#[cfg(target_os = "linux")] // nothing of the kind on Windows
#[test]
fn pixels_that_are_cut_short_are_an_error_and_a_new_description_mends_it() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(3)).unwrap();
    let mut consumer = name.attach(1).unwrap();
    send(&producer, 1);
    let Take::Frame(held) = consumer.take().unwrap() else { panic!("no lease") };
    let pixels = producer.description().pixels.name;
    File::options().write(true).open(format!("/dev/shm/{pixels}")).unwrap().set_len(0).unwrap();
    assert!(super::number(held.info(), held.memory().segment(), held.memory().offset()).is_err());
    assert!(held.memory().check().is_err());
    let slot = producer.acquire(0).unwrap().unwrap();
    assert!(slot.segment().write(slot.offset(), &[1; 64]).is_err());
    assert!(matches!(slot.publish(Stamps::default()), Err(ProduceError::Access(_))));
    drop(held);
    producer.set_spec(super::spec(64, 16)).unwrap();
    assert_eq!(super::wait(&mut consumer), tdlink_core::protocol::control::Wait::Respec);
    send(&producer, 2);
    assert_eq!(next(&mut consumer), Ok(2));
}

#[cfg(target_os = "linux")] // nothing of the kind on Windows
#[test]
fn a_file_of_somebody_else_is_neither_believed_nor_removed() {
    let name = Name::new();
    // Every word of it is odd: none of a control segment that is being written may be seen in it.
    std::fs::write(name.control_path(), [0x55; SEGMENT_BYTES]).unwrap();
    let error = Consumer::attach(&name.0, &AttachOptions::default(), Interrupt::new()).unwrap_err();
    assert!(matches!(error, ConsumeError::Layout(LayoutError::BadMagic { .. })), "{error}");
    assert!(name.control_path().exists());
    std::fs::remove_file(name.control_path()).unwrap();
}
