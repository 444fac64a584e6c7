// SPDX-License-Identifier: MPL-2.0
//! Whether the folder of shared memory has changed since it was last looked at, by the kernel's word.

use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

use crate::segment::directory;

/// Room for some hundred events of usual names.
const ROOM: usize = 8192;

/// The kernel's news of the folder: names that come and go, objects of another size, and the end of a process (or a part of
/// one) that could write an object. Not: bytes that change, which is what shared memory is for.
///
/// Nothing is read but the news, so that a folder in which nothing happens costs one call of the system for each question.
/// Looks of [`all`](super::all) are no news: they open objects for reading.
#[derive(Debug)]
pub struct Changes {
    queue: OwnedFd,
}

impl Changes {
    /// Begins to watch.
    ///
    /// # Errors
    /// The system's refusal: `fs.inotify.max_user_instances` of them exist already, or there is no such folder.
    pub fn watch() -> io::Result<Self> {
        Self::watch_folder(directory())
    }

    fn watch_folder(folder: &Path) -> io::Result<Self> {
        let queue = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let coming = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB | WatchFlags::MODIFY;
        let going = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::CLOSE_WRITE;
        add_watch(&queue, folder, coming | going | WatchFlags::ONLYDIR)?;
        Ok(Self { queue })
    }

    /// Whether there was news since the last question, of anything that could be a buffer.
    ///
    /// # Errors
    /// The system's refusal, or that the folder has gone (removed, or its file system unmounted), of which no news comes any
    /// more, whatever has its name by then.
    pub fn any(&mut self) -> io::Result<bool> {
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut reader = Reader::new(&self.queue, &mut room);
        let mut news = false;
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "the folder has gone"));
                }
                // More than the kernel keeps is news, too.
                Ok(event) => {
                    news |= event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                        || event.file_name().is_some_and(|name| could_be_a_buffer(name.to_bytes()));
                }
                Err(Errno::AGAIN) => return Ok(news),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Hidden links of ours and glibc's semaphores are none.
fn could_be_a_buffer(name: &[u8]) -> bool {
    !name.starts_with(b".") && !name.starts_with(b"sem.")
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs::{File, OpenOptions, remove_file};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::discover::{Look, all};

    /// Whether there is news of `name` alone: other tests have buffers, too.
    fn news_of(changes: &Changes, name: &str) -> bool {
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut reader = Reader::new(&changes.queue, &mut room);
        let mut news = false;
        while let Ok(event) = reader.next() {
            news |= event.file_name().is_some_and(|found| found.to_bytes() == name.as_bytes());
        }
        news
    }

    #[test]
    fn a_buffer_that_comes_grows_loses_a_writer_and_goes_is_news_and_a_look_at_it_is_none() {
        let name = format!("tdlink-changes-{}", std::process::id());
        let path = directory().join(&name);
        let changes = Changes::watch().expect("the folder can be watched");
        assert!(!news_of(&changes, &name));
        let writer = OpenOptions::new().create_new(true).read(true).write(true).open(&path).unwrap();
        assert!(news_of(&changes, &name), "it came");
        writer.set_len(4096).unwrap();
        assert!(news_of(&changes, &name), "it grew");
        assert!(all(Look::Processes).iter().any(|found| found.name == name));
        drop(File::open(&path).unwrap());
        assert!(!news_of(&changes, &name), "looks are no news");
        drop(writer);
        assert!(news_of(&changes, &name), "its writer went");
        remove_file(&path).unwrap();
        assert!(news_of(&changes, &name), "it went");
    }

    #[test]
    fn a_flood_of_news_is_read_to_its_end() {
        let mut changes = Changes::watch().expect("the folder can be watched");
        let paths: Vec<_> =
            (0..400).map(|n| directory().join(format!("tdlink-flood-{}-{n}", std::process::id()))).collect();
        for path in &paths {
            File::create_new(path).unwrap();
        }
        assert!(changes.any().unwrap());
        for path in &paths {
            remove_file(path).unwrap();
        }
        assert!(changes.any().unwrap(), "what came after the first question");
        // Other tests' buffers come and go; these are read at once.
        let deadline = Instant::now() + Duration::from_secs(20);
        while changes.any().unwrap() {
            assert!(Instant::now() < deadline, "there is always more");
        }
    }

    #[test]
    fn a_folder_that_has_gone_is_said_and_not_taken_for_a_quiet_one() {
        let folder = std::env::temp_dir().join(format!("tdlink-changes-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let mut changes = Changes::watch_folder(&folder).unwrap();
        assert!(!changes.any().unwrap());
        std::fs::remove_dir(&folder).unwrap();
        assert_eq!(changes.any().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(Changes::watch_folder(&folder).is_err(), "there is none to watch");
    }

    #[test]
    fn names_beside_buffers_are_no_news() {
        for (name, wanted) in [("cam1", true), ("cam1.tdlink", true), (".cam1.link", false), ("sem.cam1", false)] {
            assert_eq!(could_be_a_buffer(name.as_bytes()), wanted, "{name}");
        }
    }
}
