// SPDX-License-Identifier: MPL-2.0
//! What names there are, for the one who looked for another.

use super::SegmentName;
use super::name::RESERVED_ENDING;

/// Most edits between two names that one may have been typed for the other: a third of the longer one.
const TYPO_SHARE: usize = 3;

/// A name that exists and could be a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: SegmentName,
    /// Bytes of the object.
    pub len: u64,
    /// User id of its owner. (Windows: 0.)
    pub uid: u32,
    /// Whether this process may write it.
    pub writable: bool,
}

/// Names that could be segments, in alphabetical order, without our own objects beside segments: on Linux what stands in
/// `/dev/shm`, without hidden links and glibc's semaphores (`sem.…`); on Windows the sections of this session that this
/// process may read, those of other programs for purposes of their own among them. macOS keeps no such list.
pub fn live_names() -> Vec<Listed> {
    let mut listed = list();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    listed
}

/// Names beside which a control segment stands, in alphabetical order, read where [`live_names`] reads.
pub fn control_names() -> Vec<SegmentName> {
    let of = |object: String| SegmentName::new(object.strip_suffix(RESERVED_ENDING)?).ok();
    let mut names: Vec<SegmentName> = objects().into_iter().filter_map(of).collect();
    names.sort();
    names
}

/// Every object's name, whatever it is.
#[cfg(target_os = "linux")]
fn objects() -> Vec<String> {
    let entries = std::fs::read_dir(super::place::Place::directory()).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Every section's name.
#[cfg(windows)]
fn objects() -> Vec<String> {
    let all = super::windows::objects::of_this_session().unwrap_or_else(|error| {
        tracing::warn!(%error, "the session's names cannot be listed");
        Vec::new()
    });
    all.into_iter().filter(|object| object.kind == "Section").map(|object| object.name).collect()
}

#[cfg(target_os = "macos")]
fn objects() -> Vec<String> {
    Vec::new()
}

fn list() -> Vec<Listed> {
    let could_be = |object: String| {
        let listed = listed(&SegmentName::new(&object).ok()?)?;
        let beside = object.starts_with("sem.") || (cfg!(windows) && is_generation(&listed.name));
        (!beside).then_some(listed)
    };
    objects().into_iter().filter_map(could_be).collect()
}

/// Whether a name is that of a ring's pixels, `NAME.tdlink.<generation>`, which are no segment of their own.
pub(crate) fn is_generation(name: &SegmentName) -> bool {
    let of = name.as_str().rsplit_once(".tdlink.").and_then(|(of, _)| SegmentName::new(of).ok());
    of.is_some_and(|of| of.generation_of(name.as_str()).is_some())
}

/// What stands under one name, as [`live_names`] would have it.
#[cfg(target_os = "linux")]
pub(crate) fn listed(name: &SegmentName) -> Option<Listed> {
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{Access, AtFlags, CWD, accessat};

    let path = super::place::Place::directory().join(name.as_str());
    let found = std::fs::symlink_metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
    let writable = accessat(CWD, &path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    Some(Listed { name: name.clone(), len: found.len(), uid: found.uid(), writable })
}

/// What stands under one name, as [`live_names`] would have it.
#[cfg(windows)]
pub(crate) fn listed(name: &SegmentName) -> Option<Listed> {
    use windows_sys::Win32::System::Memory::{FILE_MAP_READ, FILE_MAP_WRITE};

    use super::windows::Mapping;

    let len = Mapping::open_for(name, FILE_MAP_READ).ok()?.len() as u64;
    let writable = Mapping::open_for(name, FILE_MAP_READ | FILE_MAP_WRITE).is_ok();
    Some(Listed { name: name.clone(), len, uid: 0, writable })
}

/// What stands under one name.
#[cfg(target_os = "macos")]
pub(crate) fn listed(name: &SegmentName) -> Option<Listed> {
    let len = super::Segment::open(name, super::OpenOptions { allow_other_user: true }).ok()?.len() as u64;
    Some(Listed { name: name.clone(), len, uid: 0, writable: false })
}

/// Everything that has a name in this session, whatever it is. For tests that ask what they left.
#[cfg(all(windows, any(test, feature = "test-util")))]
pub fn session_objects() -> Vec<String> {
    let all = super::windows::objects::of_this_session().expect("the session's names can be listed");
    all.into_iter().map(|object| object.name).collect()
}

/// Puts the names that are most like `wanted` first.
pub fn sort_by_nearness(wanted: &SegmentName, listed: &mut [Listed]) {
    listed.sort_by_cached_key(|found| (distance(wanted, found), found.name.clone()));
}

/// The name most like `wanted`, if it is so like it that it may be meant.
pub fn nearest<'a>(wanted: &SegmentName, listed: &'a [Listed]) -> Option<&'a Listed> {
    let near = |found: &&Listed| {
        let longer = wanted.as_str().chars().count().max(found.name.as_str().chars().count());
        distance(wanted, found) * TYPO_SHARE <= longer
    };
    listed.iter().filter(near).min_by_key(|found| distance(wanted, found))
}

/// Letters to insert, delete, replace or swap; case counts for nothing, as it is what people get wrong first.
fn distance(wanted: &SegmentName, found: &Listed) -> usize {
    strsim::damerau_levenshtein(&wanted.as_str().to_lowercase(), &found.name.as_str().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<Listed> {
        let one = |name: &&str| Listed { name: SegmentName::new(name).unwrap(), len: 1, uid: 0, writable: true };
        names.iter().map(one).collect()
    }

    fn name(text: &str) -> SegmentName {
        SegmentName::new(text).unwrap()
    }

    #[test]
    fn a_name_with_a_typo_finds_the_one_that_was_meant() {
        let there = listed(&["audio", "cam1", "touch_out", "psm_1a2b3c4d"]);
        for (wanted, meant) in [("cam2", "cam1"), ("Touch_Out", "touch_out"), ("tuoch_out", "touch_out")] {
            assert_eq!(nearest(&name(wanted), &there).unwrap().name.as_str(), meant);
        }
    }

    #[test]
    fn a_name_like_no_other_finds_none() {
        assert_eq!(nearest(&name("xyz"), &listed(&["audio", "cam1"])), None);
        assert_eq!(nearest(&name("cam1"), &[]), None);
    }

    #[test]
    fn the_nearest_name_comes_first() {
        let mut there = listed(&["audio", "camera", "cam12"]);
        sort_by_nearness(&name("cam1"), &mut there);
        let order: Vec<&str> = there.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(order, ["cam12", "camera", "audio"]);
    }
}
