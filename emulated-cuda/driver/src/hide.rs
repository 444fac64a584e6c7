// SPDX-License-Identifier: MPL-2.0
//! Symbols that this library shall not have, by `EMULATED_CUDA_HIDE`: an older driver lacks some.
//!
//! Before anybody can ask, the names are struck from the library's own table of symbols.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use libc::{Elf64_Sym, dl_phdr_info};

use crate::config::config;

/// Of <elf.h>.
const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;
const DT_GNU_HASH: u64 = 0x6fff_fef5;

#[repr(C)]
#[derive(Clone, Copy)]
struct Dynamic {
    tag: u64,
    value: u64,
}

extern "C" fn at_load() {
    let hidden = &config().hide;
    if !hidden.is_empty() && hide(hidden).is_none() {
        eprintln!("emulated CUDA driver: cannot hide {hidden:?}");
        std::process::exit(86);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

/// Where the object that contains `address` has its dynamic section.
struct Search {
    address: u64,
    /// The program itself, with a driver inside (its own tests): nobody asks it for symbols.
    is_program: bool,
    dynamic: Option<u64>,
}

unsafe extern "C" fn look(info: *mut dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid description for the time of this call.
    let info = unsafe { info.read() };
    // SAFETY: `hide` passes its own `Search`, which nothing else touches meanwhile.
    let search = unsafe { &mut *search.cast::<Search>() };
    // SAFETY: the loader says that so many headers stand there.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let contains = |header: &libc::Elf64_Phdr| {
        let start = info.dlpi_addr.wrapping_add(header.p_vaddr);
        header.p_type == 1 && (start..start + header.p_memsz).contains(&search.address)
    };
    if !headers.iter().any(contains) {
        return 0;
    }
    // SAFETY: the loader gives a string; the program's own is empty.
    search.is_program = unsafe { CStr::from_ptr(info.dlpi_name) }.is_empty();
    let dynamic = headers.iter().find(|header| header.p_type == PT_DYNAMIC);
    search.dynamic = dynamic.map(|header| info.dlpi_addr.wrapping_add(header.p_vaddr));
    1
}

fn hide(names: &[String]) -> Option<()> {
    let mut search = Search { address: at_load as *const () as u64, is_program: false, dynamic: None };
    // SAFETY: `look` is given what it expects.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    if search.is_program {
        return Some(());
    }
    let mut entry = search.dynamic? as *const Dynamic;
    let (mut symbols, mut strings, mut strings_len, mut hash) = (0, 0, 0, 0);
    loop {
        // SAFETY: the dynamic section ends with a tag of 0, where this stops.
        let Dynamic { tag, value } = unsafe { entry.read() };
        match tag {
            0 => break,
            DT_SYMTAB => symbols = value,
            DT_STRTAB => strings = value,
            DT_STRSZ => strings_len = value,
            DT_GNU_HASH => hash = value,
            _ => {}
        }
        // SAFETY: not yet at the end.
        entry = unsafe { entry.add(1) };
    }
    if symbols == 0 || strings == 0 || hash == 0 {
        return None;
    }
    let count = count_symbols(hash as *const u32);
    let mut left: Vec<&str> = names.iter().map(String::as_str).collect();
    for index in 0..count {
        // SAFETY: the table has at least `count` entries.
        let symbol = unsafe { (symbols as *mut Elf64_Sym).add(index) };
        // SAFETY: as above.
        let name_at = u64::from(unsafe { (*symbol).st_name });
        if name_at >= strings_len {
            continue;
        }
        // SAFETY: inside the table of names, which ends with a zero.
        let name = unsafe { CStr::from_ptr((strings + name_at) as *const _) };
        let Some(at) = left.iter().position(|wanted| wanted.as_bytes() == name.to_bytes()) else { continue };
        left.swap_remove(at);
        strike(symbol)?;
    }
    left.is_empty().then_some(())
}

/// The table of symbols does not say how long it is; the hash table's last chain ends with its last symbol.
fn count_symbols(hash: *const u32) -> usize {
    // SAFETY: the table has a head of four words; the callers below stay inside what it announces.
    let word = |at: usize| unsafe { hash.wrapping_add(at).read() } as usize;
    let (buckets, first, bloom) = (word(0), word(1), word(2));
    let bucket = 4 + bloom * 2;
    let Some(mut last) = (0..buckets).map(|at| word(bucket + at)).max().filter(|last| *last >= first) else {
        return first;
    };
    let chain = bucket + buckets;
    while word(chain + last - first) & 1 == 0 {
        last += 1;
    }
    last + 1
}

/// Makes a symbol one that is not defined here.
fn strike(symbol: *mut Elf64_Sym) -> Option<()> {
    let page = symbol as usize & !4095;
    let protection = rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::WRITE;
    // SAFETY: pages of this library's own table, which was readable before and stays so. An entry never crosses more
    // than one border of pages.
    unsafe { rustix::mm::mprotect(ptr::with_exposed_provenance_mut(page), 8192, protection) }.ok()?;
    // SAFETY: writable now; the loader reads it only when a name is asked for.
    unsafe { (*symbol).st_value = 0 };
    // SAFETY: as above.
    unsafe { (*symbol).st_shndx = 0 };
    Some(())
}
