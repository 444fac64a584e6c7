// SPDX-License-Identifier: MPL-2.0
//! What both sources share: pacing, keepalive, stall against disconnect, timestamps.
//!
//! TouchDesigner drops frames, pauses its timeline and cooks on demand; an encoder, a muxer with live audio
//! and an EOS must not suffer from it. The [`Engine`] decides when a frame is due and what it is; a [`Feed`]
//! knows one wire; a [`Host`] is the element. All of it runs on the element's streaming thread.

mod base;
mod colour;
mod engine;
mod feed;
mod negotiate;
mod pacing;
mod pool;
mod settings;
mod stats;

pub use base::Base;
pub use engine::{Changes, Engine};
pub use feed::{Attach, Feed, FeedDesc, Host, Leased, Made, News, Read, Standing};
pub use negotiate::{Negotiated, Offer, negotiate};
pub use pool::choose as choose_pool;
pub use settings::LiveSettings;
pub use stats::{Announcer, Stats};
