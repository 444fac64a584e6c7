// SPDX-License-Identifier: MPL-2.0
//! Device pointers and pinned host memory: what lies where, and how far it goes.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::pages::{BLOCK, Backing, Mapping, Window};
use super::process::Process;
use super::share::{Kind, Share};
use super::work::Place;
use crate::code::{Code, Outcome};
use crate::config::config;

/// How a range of device addresses came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Own,
    /// From this pool.
    Pool(usize),
    /// Another process's, opened so many times.
    Imported {
        share: Share,
        opens: u32,
    },
    /// Physical memory that was mapped by hand, with the access that was granted (0 none, 1 read, 3 both).
    Mapped {
        physical: u64,
        access: u32,
    },
}

/// A range of device addresses with memory behind it.
#[derive(Debug)]
pub struct Range {
    pub base: u64,
    pub size: usize,
    pub backing: Arc<Backing>,
    pub origin: Origin,
    pub context: usize,
    pub device: i32,
    pub id: u64,
    pub exported: bool,
    /// None for addresses that were reserved by hand, and without the guard.
    _window: Option<Window>,
}

/// Host memory that the device knows of.
#[derive(Debug)]
pub struct HostRange {
    pub size: usize,
    pub context: usize,
    pub flags: u32,
    /// None when the program registered memory of its own.
    pages: Option<Mapping>,
}

#[derive(Debug, Default)]
pub struct Memory {
    ranges: BTreeMap<u64, Range>,
    host: BTreeMap<usize, HostRange>,
    reserved: BTreeMap<u64, Window>,
    used: HashMap<i32, u64>,
    last_id: u64,
}

impl Memory {
    /// New memory on a device.
    pub fn allocate(&mut self, context: usize, device: i32, size: usize, origin: Origin) -> Outcome<u64> {
        if size == 0 {
            return Err(Code::INVALID_VALUE);
        }
        self.charge(device, size)?;
        let made = Backing::new(size).map_err(|_| Code::OUT_OF_MEMORY);
        let made = made.and_then(|backing| self.add(context, device, Arc::new(backing), origin));
        match made {
            Ok(base) => {
                if config().poison
                    && let Some(range) = self.find(base)
                {
                    range.backing.fill(0xA5);
                }
                Ok(base)
            }
            Err(code) => {
                self.release(device, size);
                Err(code)
            }
        }
    }

    /// Counts memory against what the device has.
    pub fn charge(&mut self, device: i32, size: usize) -> Outcome {
        let used = self.used.entry(device).or_default();
        match used.checked_add(size as u64).filter(|sum| *sum <= config().memory) {
            Some(sum) => *used = sum,
            None => return Err(Code::OUT_OF_MEMORY),
        }
        Ok(())
    }

    pub fn release(&mut self, device: i32, size: usize) {
        let used = self.used.entry(device).or_default();
        *used = used.saturating_sub(size as u64);
    }

    pub fn used(&self, device: i32) -> u64 {
        self.used.get(&device).copied().unwrap_or_default()
    }

    /// Gives memory an address.
    fn add(&mut self, context: usize, device: i32, backing: Arc<Backing>, origin: Origin) -> Outcome<u64> {
        let size = backing.size();
        let (base, window) = if config().guard {
            let alignment = if size >= BLOCK { BLOCK } else { 512.max(super::pages::PAGE) };
            let window = Window::new(size, alignment).map_err(|_| Code::OUT_OF_MEMORY)?;
            (window.start(), Some(window))
        } else {
            (backing.at(0, 0).ok_or(Code::UNKNOWN)?.as_ptr() as u64, None)
        };
        self.last_id += 1;
        let id = self.last_id;
        let range = Range { base, size, backing, origin, context, device, id, exported: false, _window: window };
        self.ranges.insert(base, range);
        Ok(base)
    }

    /// The range in which a device pointer lies.
    pub fn find(&self, pointer: u64) -> Option<&Range> {
        let (_, range) = self.ranges.range(..=pointer).next_back()?;
        (pointer - range.base < range.size as u64).then_some(range)
    }

    /// `len` bytes of device memory from `pointer` on, all in one range.
    pub fn device(&self, pointer: u64, len: usize) -> Outcome<Place> {
        let range = self.find(pointer).ok_or(Code::INVALID_VALUE)?;
        let offset = (pointer - range.base) as usize;
        if len > range.size - offset || matches!(range.origin, Origin::Mapped { access: 0, .. }) {
            return Err(Code::INVALID_VALUE);
        }
        Ok(Place::Device { backing: range.backing.clone(), offset })
    }

    /// Host memory; a device pointer is none.
    pub fn host_place(&self, pointer: usize) -> Outcome<Place> {
        if pointer == 0 || config().guard && self.find(pointer as u64).is_some() || self.is_reserved(pointer as u64) {
            return Err(Code::INVALID_VALUE);
        }
        Ok(Place::Host(pointer))
    }

    /// Whatever the pointer is: all addresses are one space.
    pub fn anywhere(&self, pointer: u64, len: usize) -> Outcome<Place> {
        match self.find(pointer) {
            Some(_) => self.device(pointer, len),
            None => self.host_place(pointer as usize),
        }
    }

    fn is_reserved(&self, pointer: u64) -> bool {
        let window = self.reserved.range(..=pointer).next_back();
        window.is_some_and(|(start, window)| pointer - start < window.len() as u64)
    }

    /// Takes an allocation of this process away. The caller has waited for the streams.
    pub fn free(&mut self, pointer: u64) -> Outcome<Arc<Backing>> {
        let range = self.ranges.get(&pointer).ok_or(Code::INVALID_VALUE)?;
        if !matches!(range.origin, Origin::Own | Origin::Pool(_)) {
            return Err(Code::INVALID_VALUE);
        }
        let range = self.ranges.remove(&pointer).ok_or(Code::INVALID_VALUE)?;
        self.release(range.device, range.size);
        if range.exported {
            // Whoever still reads it elsewhere shall see it.
            range.backing.fill(0xDD);
        }
        range.backing.mark_freed();
        Ok(range.backing)
    }

    /// The handle of an allocation, which must be one of its own and be meant by its first byte.
    pub fn share(&mut self, pointer: u64) -> Outcome<Share> {
        let range = self.ranges.get_mut(&pointer).ok_or(Code::INVALID_VALUE)?;
        if range.origin != Origin::Own {
            return Err(Code::INVALID_VALUE);
        }
        range.exported = true;
        Ok(Share {
            kind: Kind::Memory,
            exporter: Process::me(),
            file: range.backing.file().as_raw_fd(),
            device: range.device,
            inode: range.backing.inode(),
            size: range.size as u64,
            id: range.id,
        })
    }

    /// Opens the memory behind a handle, or counts one more opening of what is open.
    pub fn import(&mut self, context: usize, share: Share) -> Outcome<u64> {
        if share.exporter.pid == std::process::id() {
            return Err(Code::INVALID_CONTEXT);
        }
        let open = self.ranges.values_mut().find_map(|range| match &mut range.origin {
            Origin::Imported { share: known, opens } if *known == share => Some((range.context, range.base, opens)),
            _ => None,
        });
        if let Some((owner, base, opens)) = open
            && owner == context
        {
            if config().reopen_is_an_error {
                return Err(Code::ALREADY_MAPPED);
            }
            *opens += 1;
            return Ok(base);
        }
        // One context a device may open what one exporter's device shares.
        let taken = self.ranges.values().any(|range| match &range.origin {
            Origin::Imported { share: known, .. } => {
                range.context != context && known.exporter == share.exporter && known.device == share.device
            }
            _ => false,
        });
        if taken && !config().many_contexts {
            return Err(Code::INVALID_CONTEXT);
        }
        let size = usize::try_from(share.size).map_err(|_| Code::INVALID_VALUE)?;
        let backing = share.open().and_then(|file| Backing::open(file, size)).ok_or(Code::INVALID_VALUE)?;
        if backing.is_freed() {
            return Err(Code::INVALID_VALUE);
        }
        self.add(context, share.device, Arc::new(backing), Origin::Imported { share, opens: 1 })
    }

    /// Whether `pointer` is the start of imported memory.
    pub fn is_import(&self, pointer: u64) -> bool {
        self.ranges.get(&pointer).is_some_and(|range| matches!(range.origin, Origin::Imported { .. }))
    }

    pub fn close_import(&mut self, pointer: u64) -> Outcome {
        let range = self.ranges.get_mut(&pointer).ok_or(Code::INVALID_VALUE)?;
        let Origin::Imported { opens, .. } = &mut range.origin else { return Err(Code::INVALID_VALUE) };
        *opens -= 1;
        if *opens == 0 {
            self.ranges.remove(&pointer);
        }
        Ok(())
    }

    /// New pinned host memory.
    pub fn allocate_host(&mut self, context: usize, size: usize, flags: u32) -> Outcome<usize> {
        if size == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let pages = Mapping::anonymous(size).map_err(|_| Code::OUT_OF_MEMORY)?;
        let start = pages.start().as_ptr() as usize;
        self.host.insert(start, HostRange { size, context, flags, pages: Some(pages) });
        Ok(start)
    }

    pub fn register_host(&mut self, context: usize, start: usize, size: usize, flags: u32) -> Outcome {
        if start == 0 || size == 0 || start.checked_add(size).is_none() {
            return Err(Code::INVALID_VALUE);
        }
        if self.find_host(start).is_some() || self.find_host(start + size - 1).is_some() {
            return Err(Code(712));
        }
        self.host.insert(start, HostRange { size, context, flags, pages: None });
        Ok(())
    }

    /// Frees (`allocated`) or unregisters pinned memory.
    pub fn forget_host(&mut self, start: usize, allocated: bool) -> Outcome {
        match self.host.get(&start) {
            Some(range) if range.pages.is_some() == allocated => self.host.remove(&start),
            Some(_) => return Err(Code::INVALID_VALUE),
            None if allocated => return Err(Code::INVALID_VALUE),
            None => return Err(Code(713)),
        };
        Ok(())
    }

    /// The start and the description of the pinned memory in which an address lies.
    pub fn find_host(&self, address: usize) -> Option<(usize, &HostRange)> {
        let (start, range) = self.host.range(..=address).next_back()?;
        (address - start < range.size).then_some((*start, range))
    }

    /// Whether all of it is pinned: then a copy may run later.
    pub fn is_pinned(&self, address: usize, len: usize) -> bool {
        self.find_host(address).is_some_and(|(start, range)| len <= range.size - (address - start))
    }

    /// Addresses for memory that is mapped by hand.
    pub fn reserve(&mut self, size: usize, alignment: usize) -> Outcome<u64> {
        let window = Window::new(size, alignment.max(BLOCK)).map_err(|_| Code::OUT_OF_MEMORY)?;
        let start = window.start();
        self.reserved.insert(start, window);
        Ok(start)
    }

    pub fn unreserve(&mut self, start: u64, size: usize) -> Outcome {
        let window = self.reserved.get(&start).ok_or(Code::INVALID_VALUE)?;
        if window.len() != size || self.ranges.range(start..start + size as u64).next().is_some() {
            return Err(Code::INVALID_VALUE);
        }
        self.reserved.remove(&start);
        Ok(())
    }

    /// Puts physical memory behind reserved addresses.
    pub fn map(&mut self, start: u64, physical: u64, backing: Arc<Backing>, device: i32) -> Outcome {
        let size = backing.size();
        let (first, window) = self.reserved.range(..=start).next_back().ok_or(Code::INVALID_VALUE)?;
        let room = (window.len() as u64).checked_sub(start - first).ok_or(Code::INVALID_VALUE)?;
        let end = start + size as u64;
        if size as u64 > room || self.ranges.range(start..end).next().is_some() || self.find(start).is_some() {
            return Err(Code::INVALID_VALUE);
        }
        self.last_id += 1;
        let origin = Origin::Mapped { physical, access: 0 };
        let id = self.last_id;
        let range =
            Range { base: start, size, backing, origin, context: 0, device, id, exported: false, _window: None };
        self.ranges.insert(start, range);
        Ok(())
    }

    /// Takes the mappings of a stretch away, each of them whole.
    pub fn unmap(&mut self, start: u64, size: usize) -> Outcome<Vec<u64>> {
        let bases = self.mapped(start, size)?;
        let gone = bases.iter().filter_map(|base| self.ranges.remove(base));
        Ok(gone.filter_map(|range| range.physical()).collect())
    }

    pub fn grant(&mut self, start: u64, size: usize, granted: u32) -> Outcome {
        for base in self.mapped(start, size)? {
            if let Some(Range { origin: Origin::Mapped { access, .. }, .. }) = self.ranges.get_mut(&base) {
                *access = granted;
            }
        }
        Ok(())
    }

    /// The bases of the hand-made mappings that fill a stretch exactly.
    fn mapped(&self, start: u64, size: usize) -> Outcome<Vec<u64>> {
        let end = start.checked_add(size as u64).ok_or(Code::INVALID_VALUE)?;
        let inside = self.ranges.range(start..end).map(|(_, range)| range);
        let inside: Vec<_> = inside.filter(|range| matches!(range.origin, Origin::Mapped { .. })).collect();
        let filled: usize = inside.iter().map(|range| range.size).sum();
        if size == 0 || filled != size {
            return Err(Code::INVALID_VALUE);
        }
        Ok(inside.iter().map(|range| range.base).collect())
    }

    pub fn forget_context(&mut self, context: usize) {
        let gone: Vec<u64> =
            self.ranges.values().filter(|range| range.context == context).map(|range| range.base).collect();
        for base in gone {
            if self.free(base).is_err() {
                self.ranges.remove(&base);
            }
        }
        self.host.retain(|_, range| range.context != context);
    }

    /// Allocations of this process, and openings of other processes' memory.
    pub fn counts(&self) -> (usize, usize) {
        let imported = self.ranges.values().filter(|range| matches!(range.origin, Origin::Imported { .. })).count();
        (self.ranges.len() - imported, imported)
    }

    pub fn host_count(&self) -> usize {
        self.host.len()
    }
}

impl Range {
    pub fn physical(&self) -> Option<u64> {
        match self.origin {
            Origin::Mapped { physical, .. } => Some(physical),
            _ => None,
        }
    }
}
