// SPDX-License-Identifier: MPL-2.0
//! Is a writer in the picture? Inferred from a few places that change.
//!
//! A *site* is a piece of a cache line of the frame. Sites are looked at again and again. One that changed from each of
//! the last whole frames to the next is *hot*: a new frame is expected to change it.

use std::time::Duration;

/// Bytes of a site.
pub(super) const LINE: usize = 32;
/// Contents of a site.
pub(super) type Line = [u8; LINE];

/// Most sites of a frame: as many as a mask has bits.
const SITES: usize = 64;
/// Fewest bytes between two sites.
const SPACING: usize = 4 * LINE;
/// A site that changed in so many frames in a row is expected to change in the next.
const HOT: u8 = 3;
/// How long a writer may be stopped in the middle of a frame. Busy machines keep a process from running for tens of
/// milliseconds.
pub(super) const STOPPED: Duration = Duration::from_millis(250);
/// For each hot site that others have left behind so long, and at least [`LEAST`]: the fewer they are, the sooner that
/// part of the picture is taken to stand still.
const LEFT_BEHIND: Duration = Duration::from_millis(8);
/// A frame and a bit at 60 a second.
pub(super) const LEAST: Duration = Duration::from_millis(20);

/// The sites of a frame, and what was seen at them.
#[derive(Debug)]
pub(super) struct Front {
    sites: Box<[Site]>,
    /// Bytes of a site that are looked at: all, unless the frame is smaller.
    width: usize,
    /// Sites that differ from the last whole frame.
    differ: u64,
    /// Sites that changed at the last look that saw any change.
    latest: u64,
    moved: Duration,
}

#[derive(Debug, Clone)]
struct Site {
    offset: usize,
    line: Line,
    /// What stood there in the last whole frame.
    whole: Line,
    heat: u8,
    /// How often it was seen to change since.
    changes: u8,
}

impl Front {
    /// Sites for a frame of `bytes` bytes, which is not empty. The first and the last bytes are among them.
    pub fn new(bytes: usize) -> Self {
        let site = |offset| Site { offset, line: [0; LINE], whole: [0; LINE], heat: HOT, changes: 0 };
        Self {
            sites: places(bytes).map(site).collect(),
            width: LINE.min(bytes),
            differ: 0,
            latest: 0,
            moved: Duration::ZERO,
        }
    }

    /// Remembers what stands there, without making anything of it.
    ///
    /// # Errors
    /// Whatever `read` says.
    pub fn learn<E>(&mut self, mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>) -> Result<(), E> {
        self.sites.iter_mut().try_for_each(|site| read(site.offset, &mut site.line[..self.width]))?;
        self.sites.iter_mut().for_each(|site| site.whole = site.line);
        Ok(())
    }

    /// Looks at all sites, `now`. Whether any has changed since the last look.
    ///
    /// # Errors
    /// Whatever `read` says.
    pub fn look<E>(
        &mut self,
        now: Duration,
        mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut changed = 0;
        for (n, site) in self.sites.iter_mut().enumerate() {
            let mut line = [0; LINE];
            read(site.offset, &mut line[..self.width])?;
            if line != site.line {
                site.line = line;
                site.changes = site.changes.saturating_add(1);
                let bit = 1 << n;
                changed |= bit;
                self.differ = if line == site.whole { self.differ & !bit } else { self.differ | bit };
            }
        }
        if changed != 0 {
            (self.moved, self.latest) = (now, changed);
        }
        Ok(changed != 0)
    }

    /// Whether anything differs from the last whole frame.
    pub fn is_news(&self) -> bool {
        self.differ != 0
    }

    /// When a site was last seen to change.
    pub fn moved(&self) -> Duration {
        self.moved
    }

    /// How long nothing has moved.
    pub fn still(&self, now: Duration) -> Duration {
        now.saturating_sub(self.moved)
    }

    /// Whether the picture is new up to a place, and beyond it old where each new frame changes it: the writer may have
    /// been stopped there.
    pub fn is_half(&self, now: Duration) -> bool {
        // Every frame changes a hot site once: those of the newest one have changed most often.
        let hot = self.hot();
        let most = self.sites.iter().map(|site| site.changes).max().unwrap_or(0);
        let new = hot & self.mask(|site| site.changes == most);
        let old = hot & !new;
        let apart = |new: u64, old: u64| new != 0 && old != 0 && (top(new) < bottom(old) || top(old) < bottom(new));
        // Some copies store the first or the last bytes at the very end, out of order.
        let inner = !(1 | 1 << (self.sites.len() - 1));
        // What moved last was the new part, unless more than one frame came between two looks.
        let of_new = self.latest & old & if hot & inner == 0 { hot } else { inner } == 0;
        of_new
            && (apart(new, old) || apart(new & inner, old & inner))
            && self.still(now) < (LEFT_BEHIND * old.count_ones()).clamp(LEAST, STOPPED)
    }

    /// A whole frame was read: what stands there now is it.
    pub fn whole(&mut self) {
        for (n, site) in self.sites.iter_mut().enumerate() {
            if self.differ != 0 {
                site.heat = if self.differ >> n & 1 != 0 { (site.heat + 1).min(HOT) } else { 0 };
            }
            (site.whole, site.changes) = (site.line, 0);
        }
        self.differ = 0;
    }

    /// Hot sites.
    fn hot(&self) -> u64 {
        self.mask(|site| site.heat >= HOT)
    }

    fn mask(&self, of: impl Fn(&Site) -> bool) -> u64 {
        self.sites.iter().enumerate().filter(|(_, site)| of(site)).fold(0, |mask, (n, _)| mask | 1 << n)
    }
}

/// Where the sites of a frame of `bytes` bytes are.
pub(super) fn places(bytes: usize) -> impl Iterator<Item = usize> {
    let count = (bytes / SPACING).clamp(1, SITES);
    let last = bytes.saturating_sub(LINE);
    (0..count).map(move |n| {
        let even = last * n / (count - 1).max(1);
        // Elsewhere in each band, so that sites do not stand in one column.
        let inner = n > 0 && n + 1 < count;
        // And each in one piece of what writers store at once.
        if inner { (even + scatter(n) % (last / count).max(1)).min(last) / LINE * LINE } else { even }
    })
}

/// The lowest site in a mask, 64 in an empty one.
pub(super) fn bottom(mask: u64) -> usize {
    mask.trailing_zeros() as usize
}

/// The highest site in a mask, 0 in an empty one.
pub(super) fn top(mask: u64) -> usize {
    mask.checked_ilog2().unwrap_or(0) as usize
}

/// Numbers without a pattern, always the same ones.
pub(super) fn scatter(n: usize) -> usize {
    let mut x = (n as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x ^ (x >> 31)) as usize >> 1
}
