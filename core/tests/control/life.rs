// SPDX-License-Identifier: MPL-2.0
//! Who has a name, and which memory stands under it.

#[cfg(target_os = "linux")]
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tdlink_core::protocol::control::{ConsumeError, Interrupt, ProduceError, Producer, ProducerOptions, Stamps, Wait};
use tdlink_core::segment::{Acquired, CreateOptions, Published, SegmentError};

use super::{Name, next, objects, send, spec, wait};

fn taking_over(slots: u32) -> ProducerOptions {
    let create = CreateOptions { takeover: true, ..CreateOptions::default() };
    ProducerOptions { create, ..ProducerOptions::latest(slots) }
}

#[test]
fn a_second_producer_of_a_name_is_refused_and_changes_nothing() {
    let name = Name::new();
    for slots in [1, 3] {
        let producer = name.produce(ProducerOptions::latest(slots)).unwrap();
        let mut consumer = name.attach(1).unwrap();
        for other in [1, 3] {
            let refused = name.produce(ProducerOptions::latest(other));
            let Err(ProduceError::Segment(SegmentError::LiveProducer { pid, .. })) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!(pid, cfg!(target_os = "linux").then(std::process::id), "Windows does not tell");
        }
        send(&producer, 1);
        assert_eq!(wait(&mut consumer), Wait::Newer);
        assert_eq!(next(&mut consumer), Ok(1));
    }
}

#[test]
fn who_takes_over_a_name_leaves_the_readers_of_the_old_memory_what_they_read() {
    let name = Name::new();
    let old = name.produce(ProducerOptions::latest(3)).unwrap();
    send(&old, 1);
    let mut reader = name.attach(1).unwrap();
    let new = std::thread::scope(|scope| {
        let new = scope.spawn(|| name.produce(taking_over(3)).unwrap());
        // On Windows the robbed one must let go first: a name cannot lead from one section to another.
        while cfg!(windows) && !new.is_finished() {
            old.tend().unwrap();
        }
        new.join().unwrap()
    });
    assert_eq!(new.acquired(), Acquired::TakenOver);
    assert_ne!(old.description().pixels.name, new.description().pixels.name);
    assert!(objects().contains(&old.description().pixels.name));
    if cfg!(windows) {
        // The control segment is the same one, begun anew.
        assert_eq!(wait(&mut reader), Wait::Respec);
    } else {
        assert_eq!(next(&mut reader), Ok(1));
        assert_eq!(wait(&mut reader), Wait::Superseded);
    }
    // The one that was robbed notices by itself, and takes nothing back.
    let until = Instant::now() + super::PATIENCE;
    while old.tend().unwrap().names != Published::TakenByOther {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    assert!(matches!(old.acquire(0), Err(ProduceError::Taken { .. })));
    drop(old);
    let mut reader = name.attach(1).unwrap();
    send(&new, 2);
    assert_eq!(wait(&mut reader), Wait::Newer);
    assert_eq!(next(&mut reader), Ok(2));
}

#[cfg(target_os = "linux")] // removes a name
#[test]
fn a_control_segment_about_other_pixels_is_ignored() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(1)).unwrap();
    let mut consumer = name.attach(0).unwrap();
    send(&producer, 1);
    assert_eq!(wait(&mut consumer), Wait::Newer);
    assert_eq!(next(&mut consumer), Ok(1));
    // As a Python sender does that was started anew.
    fs::remove_file(name.path()).unwrap();
    fs::write(name.path(), vec![0; 64 * 16 * 4]).unwrap();
    assert!(matches!(name.attach(0), Err(ConsumeError::Elsewhere { .. })));
    assert_eq!(wait(&mut consumer), Wait::Superseded);
    assert_eq!(producer.tend().unwrap().names, Published::TakenByOther);
    drop((producer, consumer));
    assert_eq!(name.traces(), [name.0.as_str()], "what the other program made stays");
    fs::remove_file(name.path()).unwrap();
}

#[test]
fn a_control_segment_whose_producer_is_dead_is_ignored_and_removed() {
    let name = Name::new();
    for slots in [1, 3] {
        let producer = name.produce(ProducerOptions::latest(slots)).unwrap();
        send(&producer, 1);
        let mut consumer = name.attach(0).unwrap();
        drop(producer);
        assert_eq!(next(&mut consumer), Ok(1));
        assert_eq!(wait(&mut consumer), Wait::Closed);
        let refused = name.attach(0);
        assert!(matches!(refused, Err(ConsumeError::NoProducer { .. })), "{refused:?}");
        drop(consumer);
        name.assert_nothing_left();
        assert!(matches!(name.attach(0), Err(ConsumeError::Segment(SegmentError::NotFound { .. }))));
    }
}

/// Set when it goes, however it goes.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn coming_and_going_at_the_same_time_is_never_taken_for_a_full_house_or_a_live_producer() {
    let name = Name::new();
    let done = AtomicBool::new(false);
    let attached = AtomicU32::new(0);
    let come_and_go = || {
        while !done.load(Ordering::Relaxed) {
            match name.attach(1) {
                Ok(_) => drop(attached.fetch_add(1, Ordering::Relaxed)),
                Err(
                    ConsumeError::NoProducer { .. }
                    | ConsumeError::NotReady { .. }
                    | ConsumeError::Elsewhere { .. }
                    | ConsumeError::Segment(SegmentError::NotFound { .. }),
                ) => {}
                Err(other) => panic!("{other}"),
            }
        }
    };
    std::thread::scope(|scope| {
        let _end = AtTheEnd(&done);
        let consumers = [scope.spawn(come_and_go), scope.spawn(come_and_go)];
        let until = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < until && consumers.iter().all(|consumer| !consumer.is_finished()) {
            for options in [ProducerOptions::latest(1), ProducerOptions::lossless(3)] {
                let producer = Producer::create(&name.0, spec(64, 16), options, Interrupt::new());
                let producer = producer.unwrap_or_else(|error| panic!("{error}"));
                // Now and then somebody gets in, and is the last to go.
                let (before, soon) = (attached.load(Ordering::Relaxed), Instant::now() + Duration::from_millis(3));
                while attached.load(Ordering::Relaxed) == before && Instant::now() < soon {
                    std::thread::yield_now();
                }
                drop(producer);
            }
        }
    });
    assert!(attached.load(Ordering::Relaxed) > 0);
    name.assert_nothing_left();
}

#[cfg(target_os = "linux")] // removes a name
#[test]
fn a_control_segment_that_somebody_removed_is_made_anew() {
    let name = Name::new();
    for slots in [1, 3] {
        let producer = name.produce(ProducerOptions::latest(slots)).unwrap();
        let mut consumer = name.attach(1).unwrap();
        let generation = producer.generation();
        fs::remove_file(name.control_path()).unwrap();
        let until = Instant::now() + super::PATIENCE;
        while producer.tend().unwrap().names != Published::Recreated {
            assert!(Instant::now() < until, "nobody notices");
            std::thread::yield_now();
        }
        assert!(producer.generation() > generation);
        assert_eq!(wait(&mut consumer), Wait::Superseded);
        let mut consumer = name.attach(1).unwrap();
        send(&producer, 3);
        assert_eq!(wait(&mut consumer), Wait::Newer);
        assert_eq!(next(&mut consumer), Ok(3));
    }
}

#[cfg(target_os = "linux")] // removes a name
#[test]
fn a_raw_name_that_a_python_reader_took_away_is_put_back_on_the_same_memory() {
    let name = Name::new();
    let producer = name.produce(ProducerOptions::latest(1)).unwrap();
    let mut consumer = name.attach(0).unwrap();
    fs::remove_file(name.path()).unwrap();
    let until = Instant::now() + super::PATIENCE;
    while producer.tend().unwrap().names != Published::Republished {
        assert!(Instant::now() < until, "nobody notices");
        std::thread::yield_now();
    }
    send(&producer, 4);
    for consumer in [&mut consumer, &mut name.attach(0).unwrap()] {
        assert_eq!(wait(consumer), Wait::Newer);
        assert_eq!(next(consumer), Ok(4));
    }
}

/// Asks the producer whenever a span ends, as a log function of an application may.
struct Curious {
    producer: Arc<Producer>,
    answered: Arc<Mutex<Vec<bool>>>,
}

impl tracing::Subscriber for Curious {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}

    fn try_close(&self, _: tracing::span::Id) -> bool {
        let (says, said) = channel();
        let producer = Arc::clone(&self.producer);
        // On a thread of its own, so that an answer that never comes is one that fails.
        std::thread::spawn(move || {
            let generation = producer.generation();
            drop(producer);
            says.send(generation)
        });
        let answer = said.recv_timeout(Duration::from_secs(5)).is_ok();
        self.answered.lock().unwrap().push(answer);
        true
    }
}

#[test]
fn who_is_told_of_a_resize_or_a_publication_may_ask_the_producer() {
    let name = Name::new();
    let producer = Arc::new(name.produce(ProducerOptions::latest(3)).unwrap());
    let answered = Arc::default();
    let curious = Curious { producer: Arc::clone(&producer), answered: Arc::clone(&answered) };
    tracing::subscriber::with_default(curious, || {
        let stale = producer.acquire(0).unwrap().unwrap();
        producer.set_spec(spec(32, 16)).unwrap();
        stale.publish(Stamps::default()).unwrap_err();
        producer.acquire(0).unwrap().unwrap().publish(Stamps::default()).unwrap();
    });
    assert_eq!(*answered.lock().unwrap(), [true; 3], "resized, refused, published");
}
