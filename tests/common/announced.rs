// SPDX-License-Identifier: MPL-2.0
//! What a cuda-link producer announces, without a card.

use tdlink_core::protocol::cudalink::layout::{
    self, FLAG_BGRA, MAGIC, MAGIC_VALUE, NUM_SLOTS, Places, VERSION, WRITE_IDX, tail_of,
};
use tdlink_core::protocol::cudalink::{Description, Format};

/// cuda-link's bytes, 640 × 480, 8 bits, B G R A; handles lead nowhere.
pub fn cudalink_bytes(index: u32, stamp: f64) -> Vec<u8> {
    let places = Places::of(3);
    let mut bytes = vec![0; places.size()];
    MAGIC.put(&mut bytes, MAGIC_VALUE).unwrap();
    VERSION.put(&mut bytes, 1).unwrap();
    NUM_SLOTS.put(&mut bytes, 3).unwrap();
    WRITE_IDX.put(&mut bytes, index).unwrap();
    for slot in 0..3 {
        bytes[places.slot(slot)..places.slot(slot) + layout::HANDLE].fill(slot as u8 + 1);
    }
    let description = Description { width: 640, height: 480, channels: 4, format: Format::U8, flags: FLAG_BGRA };
    bytes[places.tail()..].copy_from_slice(&tail_of(&description, false));
    layout::TIMESTAMP.put(&mut bytes[places.tail()..], stamp).unwrap();
    bytes
}
