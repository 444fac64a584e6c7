// SPDX-License-Identifier: MPL-2.0
//! What the kernel says about the users of a control segment.

use std::fs::File;

use super::*;
use crate::frame::{ChannelOrder, FrameDesc, Origin, PixelFormat, SampleType};
use crate::protocol::control::{
    AttachOptions, ConsumeError, Consumer, FrameSpec, Interrupt, ProduceError, Producer, ProducerOptions, Stamps, Take,
};
use crate::segment::{OwnedSegment, lock};

fn name(test: &str) -> SegmentName {
    SegmentName::new(&format!("tdlink-users-{test}-{}", std::process::id())).unwrap()
}

fn file(name: &SegmentName) -> File {
    File::options().read(true).write(true).open(format!("/dev/shm/{}", name.control())).unwrap()
}

#[test]
fn rows_are_not_full_while_the_last_user_removes_the_segment() {
    let name = name("leaving");
    let (producer, _) = ControlSegment::produce(&name, 4096, &CreateOptions::default()).unwrap();
    let consumer = ControlSegment::open(&name, &OpenOptions::default()).unwrap();
    producer.release_producer();
    let remover = file(&name);
    assert!(lock::try_lock_all(&remover).unwrap());
    assert_eq!(consumer.claim_row(MAX_ROWS).unwrap(), RowClaim::Leaving);
    std::fs::remove_file(format!("/dev/shm/{}", name.control())).unwrap();
    assert_eq!(consumer.claim_row(MAX_ROWS).unwrap(), RowClaim::Leaving);
    lock::unlock_all(&remover).unwrap();
}

#[test]
fn rows_are_full_when_each_has_its_owner() {
    let name = name("full");
    let (producer, _) = ControlSegment::produce(&name, 4096, &CreateOptions::default()).unwrap();
    let open = || ControlSegment::open(&name, &OpenOptions::default()).unwrap();
    let (one, two, three) = (open(), open(), open());
    assert_eq!(one.claim_row(2).unwrap(), RowClaim::Row(0));
    assert_eq!(two.claim_row(2).unwrap(), RowClaim::Row(1));
    assert_eq!(three.claim_row(2).unwrap(), RowClaim::Full);
    assert!(producer.row_is_claimed(0).unwrap() && !producer.row_is_claimed(2).unwrap());
    drop(one);
    assert_eq!(three.claim_row(2).unwrap(), RowClaim::Row(0));
    drop((two, three));
    producer.release_producer();
    assert!(producer.remove_if_unused(|| ()));
}

#[test]
fn a_generation_is_above_all_whose_memory_has_a_name() {
    let name = name("generations");
    let create = |from| PixelSegment::create(&name, from, 4096, &CreateOptions::default()).unwrap();
    let first = create(1);
    assert_eq!(first.generation(), 1);
    let second = create(1);
    assert_eq!(second.generation(), 2, "the first one's readers would find the second one's memory");
    let seventh = create(7);
    drop(second);
    assert_eq!((create(2).generation(), seventh.generation()), (8, 7));
    drop(seventh);
    assert_eq!(first.segment().linked().unwrap(), Linked::Here);
}

/// Runs `run` in a forked child and gives its exit status.
fn in_child(run: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs `run` alone and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = run();
        // SAFETY: nothing of the parent's is left to be ended.
        unsafe { libc::_exit(status) };
    }
    let mut status = -1;
    // SAFETY: `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}

#[test]
fn what_a_process_had_ends_with_it_though_a_child_of_it_lives() {
    let name = name("fork");
    let (block, hold) = std::io::pipe().unwrap();
    let mut hold = Some(hold);
    let (ready, tell) = std::io::pipe().unwrap();
    let status = in_child(|| {
        let (producer, _) = ControlSegment::produce(&name, 4096, &CreateOptions::default()).unwrap();
        let consumer = ControlSegment::open(&name, &OpenOptions::default()).unwrap();
        assert_eq!(consumer.claim_row(1).unwrap(), RowClaim::Row(0));
        let raw = OwnedSegment::create(&name, 4096, &CreateOptions::default()).unwrap();
        drop(hold.take());
        // SAFETY: the child waits, and leaves by `_exit`.
        if unsafe { libc::fork() } == 0 {
            let _ = std::io::Write::write(&mut &tell, &[1]);
            let _ = std::io::Read::read(&mut &block, &mut [0]);
            drop((producer, consumer, raw));
        } else {
            std::mem::forget((producer, consumer, raw));
        }
        0
    });
    assert_eq!(status, 0);
    // The grandchild may have been born after its parent's death only.
    std::io::Read::read_exact(&mut &ready, &mut [0]).unwrap();
    let other = ControlSegment::open(&name, &OpenOptions::default()).unwrap();
    assert_eq!(
        (other.has_producer().unwrap(), other.row_is_claimed(0).unwrap()),
        (false, false),
        "the grandchild keeps it"
    );
    let raw = OwnedSegment::create(&name, 4096, &CreateOptions::default()).unwrap();
    assert_eq!(raw.origin(), Acquired::Recovered);
    drop(hold);
    assert!(other.remove_if_unused(|| ()));
}

#[test]
fn a_forked_child_reads_the_memory_and_takes_nothing_from_its_parent() {
    let name = name("child");
    let (producer, _) = ControlSegment::produce(&name, 4096, &CreateOptions::default()).unwrap();
    let mut consumer = Some(ControlSegment::open(&name, &OpenOptions::default()).unwrap());
    assert_eq!(consumer.as_ref().unwrap().claim_row(1).unwrap(), RowClaim::Row(0));
    producer.segment().write(100, &[7]).unwrap();
    let status = in_child(|| {
        let consumer = consumer.take().unwrap();
        let mut byte = [0];
        consumer.segment().read(100, &mut byte).unwrap();
        consumer.release_row(0);
        producer.release_producer();
        consumer.remove_if_unused(|| ());
        drop(consumer);
        if byte == [7] { 0 } else { 1 }
    });
    assert_eq!(status, 0);
    assert!(producer.row_is_claimed(0).unwrap() && consumer.as_ref().unwrap().has_producer().unwrap());
    assert_eq!(producer.linked().unwrap(), Linked::Here);
    drop(consumer);
    producer.release_producer();
    assert!(producer.remove_if_unused(|| ()));
}

#[test]
fn a_forked_child_can_use_neither_end_of_its_parents_ring() {
    let name = name("ring");
    let format = PixelFormat::new(SampleType::U8, 4, ChannelOrder::Rgba).unwrap();
    let spec = FrameSpec::packed(FrameDesc { width: 8, height: 8, format, origin: Origin::TopLeft });
    let producer = Producer::create(&name, spec, ProducerOptions::latest(4), Interrupt::new()).unwrap();
    let options = AttachOptions { leases: 1, ..AttachOptions::default() };
    let mut consumer = Consumer::attach(&name, &options, Interrupt::new()).unwrap();
    producer.acquire(0).unwrap().unwrap().publish(Stamps::default()).unwrap();
    let Take::Frame(held) = consumer.take().unwrap() else { panic!("no lease") };
    let mut ends = Some((producer, consumer, held));
    let status = in_child(|| {
        let (producer, mut consumer, held) = ends.take().unwrap();
        let refused = [
            matches!(producer.acquire(0), Err(ProduceError::Forked)),
            matches!(producer.tend(), Err(ProduceError::Forked)),
            matches!(consumer.take(), Err(ConsumeError::Forked)),
            matches!(consumer.wait_newer(None), Err(ConsumeError::Forked)),
            held.memory().segment().read(held.memory().offset(), &mut [0]).is_ok(),
        ];
        drop((held, consumer, producer));
        refused.iter().position(|refused| !refused).map_or(0, |which| 1 + which as i32)
    });
    assert_eq!(status, 0);
    let (producer, mut consumer, held) = ends.unwrap();
    // What it dropped was its own copies: the frame is still leased, and all goes on.
    assert_eq!(producer.free().count_ones(), 3);
    producer.acquire(0).unwrap().unwrap().publish(Stamps::default()).unwrap();
    assert_eq!(producer.free().count_ones(), 2);
    drop(held);
    assert!(matches!(consumer.take().unwrap(), Take::Frame(_)));
}
