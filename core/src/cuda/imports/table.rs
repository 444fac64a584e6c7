// SPDX-License-Identifier: MPL-2.0
//! What is open, for how many, and in which context: the book-keeping of imports, without the driver.
//!
//! Opening and closing take as long as a driver likes, so nothing is locked meanwhile: what is just being opened or closed
//! is marked, and only who wants the very same thing waits for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Things by GPU (`i32`) and handle (`H`), each a `V` that was opened in a context `C`.
#[derive(Debug)]
pub(super) struct Table<H, C, V> {
    entries: Mutex<HashMap<(i32, H), Entry<C, V>>>,
    /// Something was opened or closed, or could not be.
    changed: Condvar,
}

#[derive(Debug)]
enum Entry<C, V> {
    /// A thread is just opening or closing it.
    Busy(C),
    Open {
        context: C,
        value: V,
        users: usize,
    },
}

impl<C, V> Entry<C, V> {
    fn context(&self) -> &C {
        match self {
            Self::Busy(context) | Self::Open { context, .. } => context,
        }
    }
}

impl<H, C, V> Default for Table<H, C, V> {
    fn default() -> Self {
        Self { entries: Mutex::default(), changed: Condvar::new() }
    }
}

impl<H: Copy + Eq + Hash, C: Clone, V: Copy> Table<H, C, V> {
    fn entries(&self) -> MutexGuard<'_, HashMap<(i32, H), Entry<C, V>>> {
        // Every change of it is whole before anything can panic.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the handle leads to, with one user more. What nobody has open is opened by `open`: in `context`, or in the one
    /// in which other things of that GPU are.
    pub fn get<E>(&self, key: (i32, H), context: &C, open: impl FnOnce(&C) -> Result<V, E>) -> Result<(C, V), E> {
        let mut entries = self.entries();
        loop {
            match entries.get_mut(&key) {
                Some(Entry::Open { context, value, users }) => {
                    *users += 1;
                    return Ok((context.clone(), *value));
                }
                Some(Entry::Busy(_)) => {
                    entries = self.changed.wait(entries).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        let settled = entries.iter().find(|((device, _), _)| *device == key.0);
        let context = settled.map_or(context, |(_, entry)| entry.context()).clone();
        entries.insert(key, Entry::Busy(context.clone()));
        drop(entries);
        // Whoever waits goes on however this ends.
        let busy = Busy { table: self, key };
        let value = open(&context)?;
        let entry = Entry::Open { context: context.clone(), value, users: 1 };
        let marked = self.entries().insert(key, entry);
        std::mem::forget(busy);
        self.changed.notify_all();
        drop(marked);
        Ok((context, value))
    }

    /// One user more of what is open.
    pub fn again(&self, key: (i32, H)) {
        if let Some(Entry::Open { users, .. }) = self.entries().get_mut(&key) {
            *users += 1;
        }
    }

    /// One user less. What has none left is closed by `close`, which says whether it did. What could not be closed stays
    /// where it is, for whoever wants it next: its context is still the one in which others of its GPU must be.
    pub fn give_back(&self, key: (i32, H), close: impl FnOnce(&C, V) -> bool) {
        let mut entries = self.entries();
        let Some(Entry::Open { context, value, users }) = entries.get_mut(&key) else { return };
        *users -= 1;
        if *users > 0 {
            return;
        }
        let (context, value) = (context.clone(), *value);
        let was = entries.insert(key, Entry::Busy(context.clone()));
        drop(entries);
        let busy = Busy { table: self, key };
        if close(&context, value) {
            drop(busy);
        } else {
            let marked = self.entries().insert(key, Entry::Open { context: context.clone(), value, users: 0 });
            std::mem::forget(busy);
            self.changed.notify_all();
            drop(marked);
        }
        // A context may be the last of its kind, and whoever owns it is anybody: with nothing locked.
        drop((was, context));
    }

    /// The context in which things of a GPU are open, or being opened or closed.
    pub fn context(&self, device: i32) -> Option<C> {
        self.entries().iter().find(|((of, _), _)| *of == device).map(|(_, entry)| entry.context().clone())
    }

    /// Things that are open.
    pub fn count(&self) -> usize {
        self.entries().values().filter(|entry| matches!(entry, Entry::Open { .. })).count()
    }
}

/// Takes the mark of what is neither open nor being opened any more.
struct Busy<'t, H: Copy + Eq + Hash, C: Clone, V: Copy> {
    table: &'t Table<H, C, V>,
    key: (i32, H),
}

impl<H: Copy + Eq + Hash, C: Clone, V: Copy> Drop for Busy<'_, H, C, V> {
    fn drop(&mut self) {
        let marked = self.table.entries().remove(&self.key);
        self.table.changed.notify_all();
        drop(marked);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    type Test = Table<u8, &'static str, u64>;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn fine(value: u64) -> impl FnOnce(&&'static str) -> Result<u64, ()> {
        move |_| Ok(value)
    }

    #[test]
    fn the_first_context_of_a_gpu_is_that_of_all_the_others_until_the_last_goes() {
        let table = Test::default();
        assert_eq!(table.get((0, 1), &"a", fine(10)), Ok(("a", 10)));
        assert_eq!(table.get((0, 2), &"b", fine(20)), Ok(("a", 20)));
        assert_eq!(table.get((1, 1), &"c", fine(30)), Ok(("c", 30)), "another GPU");
        assert_eq!((table.context(0), table.context(1), table.context(2)), (Some("a"), Some("c"), None));
        assert_eq!(table.get((0, 1), &"b", |_| Err::<u64, _>("opened twice")), Ok(("a", 10)));
        let closed = AtomicUsize::new(0);
        let close = |context: &&str, value: u64| {
            assert_eq!((*context, value), ("a", 10));
            closed.fetch_add(1, SeqCst);
            true
        };
        table.give_back((0, 1), close);
        assert_eq!((closed.load(SeqCst), table.count()), (0, 3));
        table.again((0, 1));
        table.give_back((0, 1), close);
        table.give_back((0, 1), close);
        assert_eq!((closed.load(SeqCst), table.count()), (1, 2));
        table.give_back((0, 2), |_, _| true);
        assert_eq!(table.get((0, 2), &"b", fine(21)), Ok(("b", 21)), "nobody else is there any more");
    }

    #[test]
    fn what_cannot_be_closed_keeps_its_context_and_is_shared_by_who_wants_it_next() {
        let table = Test::default();
        assert_eq!(table.get((0, 1), &"a", fine(10)), Ok(("a", 10)));
        table.give_back((0, 1), |_, _| false);
        assert_eq!((table.count(), table.context(0)), (1, Some("a")));
        assert_eq!(table.get((0, 2), &"b", fine(20)), Ok(("a", 20)), "the driver allows one context only");
        assert_eq!(table.get((0, 1), &"b", |_| Err::<u64, _>("opened twice")), Ok(("a", 10)));
        table.give_back((0, 1), |_, _| true);
        table.give_back((0, 2), |_, _| true);
        assert_eq!((table.count(), table.context(0)), (0, None));
    }

    #[test]
    fn what_does_not_open_leaves_nothing_behind() {
        let table = Test::default();
        assert_eq!(table.get((0, 1), &"a", |_| Err("dead")), Err("dead"));
        assert_eq!((table.count(), table.context(0)), (0, None));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = table.get((0, 1), &"a", |_| -> Result<u64, ()> { panic!("of the opener") });
        }));
        assert!(panicked.is_err());
        assert_eq!(table.get((0, 1), &"b", fine(1)), Ok(("b", 1)), "nobody waits for it");
    }

    /// Both are in the middle of opening at one time, which a lock over it would not allow.
    #[test]
    fn one_thing_that_takes_long_holds_up_no_other() {
        let table = Test::default();
        let (both, done) = mpsc::channel();
        let meeting = Barrier::new(2);
        std::thread::scope(|scope| {
            for handle in [1, 2] {
                let (both, meeting, table) = (both.clone(), &meeting, &table);
                scope.spawn(move || {
                    let got = table.get((0, handle), &["a", "b"][usize::from(handle) - 1], |_| {
                        meeting.wait();
                        Ok::<_, ()>(u64::from(handle))
                    });
                    both.send(got).unwrap();
                });
            }
            let mut contexts = Vec::new();
            for _ in 0..2 {
                let Ok(Ok((context, _))) = done.recv_timeout(PATIENCE) else {
                    eprintln!("one waits for the other while it opens");
                    std::process::abort();
                };
                contexts.push(context);
            }
            assert_eq!(contexts[0], contexts[1], "one context for both");
        });
        // And while one closes, another is counted, opened and closed.
        table.give_back((0, 1), |_, _| {
            assert_eq!(table.count(), 1);
            assert_eq!(table.get((0, 3), &"x", fine(3)).map(|(_, value)| value), Ok(3));
            table.give_back((0, 3), |_, _| true);
            true
        });
    }

    #[test]
    fn the_same_thing_is_opened_once_however_many_want_it_at_once() {
        let table = Test::default();
        let (opened, open_now) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let got = table.get((0, 1), &"a", |_| {
                            opened.fetch_add(1, SeqCst);
                            assert_eq!(open_now.fetch_add(1, SeqCst), 0, "open twice");
                            std::thread::yield_now();
                            Ok::<_, ()>(7)
                        });
                        assert_eq!(got, Ok(("a", 7)));
                        table.give_back((0, 1), |_, _| {
                            std::thread::yield_now();
                            assert_eq!(open_now.fetch_sub(1, SeqCst), 1);
                            true
                        });
                    }
                });
            }
        });
        assert_eq!((table.count(), open_now.load(SeqCst)), (0, 0));
        assert!((1..=800).contains(&opened.load(SeqCst)));
    }
}
