// SPDX-License-Identifier: MPL-2.0
//! Which processes use an object: what `/proc` shows of mappings and open descriptors.
//!
//! It shows the processes of the same user (root: of all), in the same PID namespace, that let themselves be inspected.
//! A process of another user, in another container that shares `/dev/shm`, or behind `hidepid` is not seen, and one
//! that opens the object right after the look is not either.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::makedev;

use super::Identity;
use super::lock::Byte;

/// What of this very process does not count as use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ignore {
    /// A descriptor.
    pub(super) fd: Option<i32>,
    /// A mapping, by its first address.
    pub(super) mapping: Option<usize>,
}

/// Processes that map the object or hold it open, this one included unless `ignore` is all that it has.
pub(super) fn holders(object: Identity, ignore: Ignore) -> Vec<u32> {
    let own = std::process::id();
    processes()
        .filter(|&pid| {
            let ignore = if pid == own { ignore } else { Ignore::default() };
            maps(pid, object, ignore.mapping) || descriptors(pid, object).any(|fd| Some(fd) != ignore.fd)
        })
        .collect()
}

/// Whether another process uses the object.
pub(crate) fn used_by_others(object: Identity) -> bool {
    let own = std::process::id();
    holders(object, Ignore::default()).into_iter().any(|pid| pid != own)
}

/// Who has objects open, and how far that could be seen.
#[derive(Debug, Default)]
pub(crate) struct Users {
    of: HashMap<Identity, Vec<u32>>,
    /// Those that a process maps or holds open for writing.
    written: HashSet<Identity>,
    /// Whether `/proc` has all processes of the machine.
    whole: bool,
    /// Users with a process that does not let itself be inspected.
    hidden: HashSet<u32>,
}

impl Users {
    /// Processes that map the object or hold it open.
    pub(crate) fn of(&self, object: Identity) -> &[u32] {
        self.of.get(&object).map_or(&[], Vec::as_slice)
    }

    /// Whether one of them can write it.
    pub(crate) fn write(&self, object: Identity) -> bool {
        self.written.contains(&object)
    }

    /// Whether every process of a user was looked at.
    pub(crate) fn are_all_of(&self, uid: u32) -> bool {
        self.whole && !self.hidden.contains(&uid)
    }
}

/// Processes that map each of `objects` or hold it open, this one included: one look at all processes, however many
/// objects there are.
pub(crate) fn users(objects: &[Identity]) -> Users {
    let mut users = Users { whole: is_whole(), ..Users::default() };
    let wanted: HashSet<Identity> = objects.iter().copied().collect();
    for pid in processes() {
        if fs::read_dir(format!("/proc/{pid}/fd")).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            match fs::read_to_string(format!("/proc/{pid}/status")) {
                Ok(status) => users.hidden.extend(effective_user(&status)),
                // `hidepid=1`. One that has ended meanwhile uses nothing.
                Err(error) => users.whole &= error.kind() != io::ErrorKind::PermissionDenied,
            }
            continue;
        }
        let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
        let mapped = maps.split(|&byte| byte == b'\n').filter_map(|line| {
            // Of thousands of lines few are of shared memory: `rw-s` or `r--s`.
            let space = line.iter().position(|&byte| byte == b' ')?;
            let shared = line.get(space + 4) == Some(&b's');
            let (_, object) = shared.then(|| mapping(&String::from_utf8_lossy(line)))??;
            Some((object, line.get(space + 2) == Some(&b'w')))
        });
        let directory = format!("/proc/{pid}/fd");
        let open = numbers(Path::new(&directory)).filter_map(|fd: i32| {
            let found = fs::metadata(format!("{directory}/{fd}")).ok()?;
            let object = Identity { device: found.dev(), inode: found.ino() };
            wanted.contains(&object).then(|| (object, may_write(pid, fd)))
        });
        let mut used = HashSet::new();
        for (object, writes) in mapped.chain(open).filter(|(object, _)| wanted.contains(object)) {
            used.insert(object);
            if writes {
                users.written.insert(object);
            }
        }
        for object in used {
            users.of.entry(object).or_default().push(pid);
        }
    }
    users
}

/// Whether `/proc` shows every process there is: it is that of the machine's first PID namespace, whose number is fixed
/// (`PROC_PID_INIT_INO` of the kernel's `proc_ns.h`), and does not hide those of others (`hidepid=2`), the first of which
/// is `init`. In a container it shows the container's alone, whoever else shares `/dev/shm`.
fn is_whole() -> bool {
    const FIRST: u64 = 0xEFFF_FFFC;
    fs::metadata("/proc/self/ns/pid").is_ok_and(|found| found.ino() == FIRST) && fs::metadata("/proc/1").is_ok()
}

/// The effective user in a process's `status`: `Uid:` and the real, effective, saved and file system's one.
fn effective_user(status: &str) -> Option<u32> {
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(1)?.parse().ok()
}

/// The process whose lock of `byte` lies on the object. (`F_OFD_GETLK` tells that there is one, but not whose.)
pub(super) fn locker(object: Identity, byte: Byte) -> Option<u32> {
    processes().find(|&pid| has_locked(pid, object, byte))
}

/// The one of `pids` that is the object's producer, and of ours.
pub(crate) fn producer_among(object: Identity, pids: &[u32]) -> Option<u32> {
    pids.iter().copied().find(|&pid| has_locked(pid, object, Byte::Producer))
}

fn has_locked(pid: u32, object: Identity, byte: Byte) -> bool {
    descriptors(pid, object).any(|fd| {
        fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}"))
            .is_ok_and(|info| info.lines().any(|line| locks(line, byte)))
    })
}

/// Whether a descriptor was opened for writing: `flags:\t0100002`, octal, the lowest two bits of which are 0 for reading
/// alone.
fn may_write(pid: u32, fd: i32) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 3 != 0)
}

/// Whether a line of a descriptor's info is its lock of `byte`: `lock: 1: OFDLCK ADVISORY WRITE -1 00:1a:12 0 0`.
fn locks(line: &str, byte: Byte) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("lock:")
        && words.any(|word| word == "OFDLCK")
        && words.nth(4).and_then(|start| start.parse().ok()) == Some(byte.offset())
}

fn processes() -> impl Iterator<Item = u32> {
    numbers(Path::new("/proc"))
}

/// Entries of a directory that are numbers.
fn numbers<T: std::str::FromStr>(directory: &Path) -> impl Iterator<Item = T> + use<T> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn descriptors(pid: u32, object: Identity) -> impl Iterator<Item = i32> {
    let directory = format!("/proc/{pid}/fd");
    numbers(Path::new(&directory)).filter(move |fd: &i32| {
        fs::metadata(format!("{directory}/{fd}"))
            .is_ok_and(|found| (Identity { device: found.dev(), inode: found.ino() }) == object)
    })
}

fn maps(pid: u32, object: Identity, except: Option<usize>) -> bool {
    // Bytes, since paths in it need not be UTF-8.
    let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.split(|&byte| byte == b'\n').any(|line| {
        let line = String::from_utf8_lossy(line);
        mapping(&line).is_some_and(|(start, found)| found == object && Some(start) != except)
    })
}

/// First address and object of a line such as `7f12-7f13 rw-s 00000000 00:1a 1234 /dev/shm/cam1`.
fn mapping(line: &str) -> Option<(usize, Identity)> {
    let mut words = line.split_ascii_whitespace();
    let (start, _) = words.next()?.split_once('-')?;
    let (_permissions, _offset) = (words.next()?, words.next()?);
    let (high, low) = words.next()?.split_once(':')?;
    let high = u32::from_str_radix(high, 16).ok()?;
    let low = u32::from_str_radix(low, 16).ok()?;
    let inode = words.next()?.parse().ok()?;
    Some((usize::from_str_radix(start, 16).ok()?, Identity { device: makedev(high, low), inode }))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{major, minor};

    use super::*;

    #[test]
    fn a_user_with_a_process_out_of_sight_is_not_seen_whole() {
        let status = "Name:\tpython3\nUid:\t1000\t1001\t1000\t1000\nGid:\t1\t2\t3\t4\n";
        assert_eq!(effective_user(status), Some(1001));
        assert_eq!(effective_user("Name:\tx\n"), None);
        let users = Users { whole: true, hidden: [1001].into(), ..Users::default() };
        assert!(users.are_all_of(1000) && !users.are_all_of(1001));
        let users = Users { whole: false, ..Users::default() };
        assert!(!users.are_all_of(1000));
    }

    #[test]
    fn a_line_of_maps_names_its_object() {
        let line = "7f0ac8000000-7f0ac8021000 rw-s 00001000 00:1a 4242                    /dev/shm/with space";
        let (start, object) = mapping(line).unwrap();
        assert_eq!((start, object.inode), (0x7f0a_c800_0000, 4242));
        assert_eq!((major(object.device), minor(object.device)), (0, 0x1a));
        for broken in ["", "7f0a", "7f-80 rw-s", "7f-80 rw-s 0 1a 1", "zz-80 rw-s 0 00:1a 1"] {
            assert_eq!(mapping(broken), None, "{broken:?}");
        }
    }

    #[test]
    #[cfg(not(miri))]
    fn a_mapping_counts_without_a_descriptor_and_a_descriptor_without_a_mapping() {
        use std::os::fd::AsRawFd;

        use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

        let path = format!("/dev/shm/tdlink-holders-{}", std::process::id());
        let file = fs::OpenOptions::new().create_new(true).read(true).write(true).open(&path).unwrap();
        fs::remove_file(path).unwrap();
        file.set_len(10).unwrap();
        let found = file.metadata().unwrap();
        let object = Identity { device: found.dev(), inode: found.ino() };
        let own = vec![std::process::id()];
        assert_eq!(holders(object, Ignore::default()), own);
        let open = Ignore { fd: Some(file.as_raw_fd()), mapping: None };
        assert_eq!(holders(object, open), Vec::<u32>::new());

        // SAFETY: a new mapping.
        let address = unsafe { mmap(std::ptr::null_mut(), 10, ProtFlags::READ, MapFlags::SHARED, &file, 0) }.unwrap();
        assert_eq!(holders(object, open), own);
        let both = Ignore { mapping: Some(address as usize), ..open };
        assert_eq!(holders(object, both), Vec::<u32>::new());
        drop(file);
        assert_eq!(holders(object, Ignore::default()), own);
        // SAFETY: nobody has a pointer into it.
        unsafe { munmap(address, 10) }.unwrap();
        assert_eq!(holders(object, Ignore::default()), Vec::<u32>::new());
    }

    #[test]
    #[cfg(not(miri))]
    fn who_only_reads_is_a_user_that_cannot_write() {
        let path = format!("/dev/shm/tdlink-writers-{}", std::process::id());
        let writer = fs::OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
        let reader = fs::File::open(&path).unwrap();
        fs::remove_file(path).unwrap();
        let found = reader.metadata().unwrap();
        let object = Identity { device: found.dev(), inode: found.ino() };
        let seen = users(&[object]);
        assert_eq!((seen.of(object), seen.write(object)), (&[std::process::id()][..], true));
        drop(writer);
        let seen = users(&[object]);
        assert_eq!((seen.of(object), seen.write(object)), (&[std::process::id()][..], false));
    }

    #[test]
    fn a_line_of_fdinfo_names_its_lock() {
        let line = "lock:\t1: OFDLCK  ADVISORY  WRITE -1 00:1a:4242 0 0";
        assert!(locks(line, Byte::Producer));
        assert!(!locks(line, Byte::Name));
        assert!(!locks("lock:\t1: POSIX  ADVISORY  WRITE 77 00:1a:4242 0 0", Byte::Producer));
        assert!(!locks("flags:\t02", Byte::Producer));
    }
}
