// SPDX-License-Identifier: MPL-2.0
//! Whole frames beside a writer that never rests.
//!
//! Such a writer goes round: from one end of the frame to the other, a moment between two frames, and again. A *pass* is
//! one frame's writing; a *position* is a pass's number and, behind the point, how much of it is written. Each change of
//! a site tells a position at two moments: not yet there, and there. From these, and from the greatest speed, follow
//! bounds of the writer's position at any moment. A part of the frame was copied from pass 7 if the writer had certainly
//! left it in pass 7 when its copy began, and had certainly not come to it in pass 8 when it ended.
//!
//! The first bytes of a pass are another matter: many copies store them at the very end. They are taken from the moment
//! between two frames, which shows when they are followed closely: the pass's last bytes change, nothing changes for a
//! while, then the next pass begins. A writer that shows no such moment is not read.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::front::{LINE, Line, places};

/// What chasing needs of the world.
pub(super) trait Wire {
    /// What can go wrong.
    type Error;
    /// Time since anywhen.
    fn now(&mut self) -> Duration;
    /// What stands at `offset` in the frame.
    fn sample(&mut self, offset: usize, bytes: &mut [u8]) -> Result<(), Self::Error>;
    /// What stands in front of the frame, and is no part of it. Left alone where nothing does.
    fn foreign(&mut self, bytes: &mut Line) -> Result<(), Self::Error>;
    /// Copies rows.
    fn copy(&mut self, rows: Range<usize>) -> Result<(), Self::Error>;
    /// Puts whole pixels into the copy.
    fn patch(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Self::Error>;
    /// Lets time go by.
    fn pause(&mut self, time: Duration);
}

/// What became of a chase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chased {
    /// The copy is one frame.
    Whole,
    /// It is not, or there is none.
    Torn,
    /// The writer rests.
    Rests,
}

/// Smaller frames are not chased.
const LEAST: usize = 64 * 1024;
/// Parts of a copy.
const PARTS: usize = 32;
/// How far off a position may be, in passes: copies keep no strict order, and their speed varies.
const MARGIN: f64 = 1.0 / 16.0;
/// How much faster than in the quickest of the last passes the writer may be.
const FASTER: f64 = 1.1;
/// Bytes in which a pass's first stores may come last, and as many more that show when the next pass begins.
const EDGE: usize = 512;
/// The moment between two frames must last so long, in nanoseconds: what follows at once may be of the same frame, or
/// already of the next.
const QUIET: f64 = 3e3;
/// Close looks farther apart than this have missed something.
const MISSED: f64 = 20e3;
/// So many such moments in a row, and the writer has a habit of them.
const HABIT: u8 = 3;
/// Passes whose time is remembered.
const PACES: usize = 16;
/// Votes that tell the direction.
const SURE: i8 = 4;
/// Events that are remembered.
const EVENTS: usize = 256;

#[derive(Debug)]
struct Site {
    at: usize,
    line: Line,
    /// Whether it changed in each of the last passes, the latest in bit 0.
    history: u8,
    /// When it changed last.
    changed: Option<f64>,
}

/// The writer came to `at` after `before` and no later than `after`.
#[derive(Debug, Clone, Copy)]
struct Event {
    before: f64,
    after: f64,
    at: f64,
}

/// Chases one writer. Times are in nanoseconds.
#[derive(Debug)]
pub(super) struct Chase {
    bytes: usize,
    rows: usize,
    /// Bytes of the edge that are whole pixels.
    patch: usize,
    /// In the order of addresses.
    sites: Box<[Site]>,
    /// When the last look began.
    looked: f64,
    /// When a site was last seen to change.
    moved: f64,
    /// The sites that changed then.
    latest: u64,
    /// Above zero: writes upward.
    votes: i8,
    /// Times from pass to pass.
    paces: VecDeque<f64>,
    paced: f64,
    /// The pass, and the rank of the last site that was reached in it.
    front: Option<(u64, usize)>,
    /// The last site of a pass was seen to change between two looks: when it had not, and when it had.
    ended: Option<(f64, f64)>,
    events: VecDeque<Event>,
    edge: [u8; EDGE],
    /// Passes since the edge was seen to change.
    edge_age: u8,
    /// 32-byte pieces of the edge that changed with the end of a pass, and with the beginning of the next.
    late: u32,
    early: u32,
    /// Moments between two frames that were seen in a row.
    moments: u8,
    /// Time that copying takes.
    copying: f64,
}

impl Chase {
    /// For a frame of `bytes` bytes in `rows` rows, in pixels of `pixel` bytes.
    pub fn new(bytes: usize, rows: usize, pixel: usize) -> Self {
        let site = |at| Site { at, line: [0; LINE], history: 0, changed: None };
        Self {
            bytes,
            rows,
            patch: EDGE / pixel * pixel,
            sites: places(bytes).map(site).collect(),
            looked: 0.0,
            moved: 0.0,
            latest: 0,
            votes: 0,
            paces: VecDeque::with_capacity(PACES),
            paced: 0.0,
            front: None,
            ended: None,
            events: VecDeque::with_capacity(EVENTS),
            edge: [0; EDGE],
            edge_age: 0,
            late: 0,
            early: 0,
            moments: 0,
            copying: 0.0,
        }
    }

    /// Copies a frame if the writer lets it.
    ///
    /// # Errors
    /// The wire's.
    pub fn read<W: Wire>(&mut self, wire: &mut W) -> Result<Chased, W::Error> {
        if self.bytes < LEAST || self.rows < PARTS {
            return Ok(Chased::Torn);
        }
        let began = nanos(wire);
        let pass = self.pass_time().unwrap_or(4e6);
        let deadline = began + (5.0 * pass).clamp(6e6, 60e6);
        self.moved = began;
        loop {
            let now = nanos(wire);
            if now > deadline {
                return Ok(Chased::Torn);
            }
            if now - self.moved > self.pass_time().map_or(12e6, |pass| (1.5 * pass).max(3e6)) {
                return Ok(Chased::Rests);
            }
            match self.pass_time() {
                Some(_) if self.up().is_none() => self.find_direction(wire)?,
                Some(pass) if self.front.is_some() => {
                    if self.attempt(pass, deadline, wire)? {
                        return Ok(Chased::Whole);
                    }
                }
                _ => self.look(wire)?,
            }
        }
    }

    /// Time from pass to pass, once it is known.
    fn pass_time(&self) -> Option<f64> {
        let mut paces: Vec<f64> = self.paces.iter().copied().collect();
        paces.sort_by(f64::total_cmp);
        paces.get(paces.len() / 2).copied().filter(|_| paces.len() >= 4)
    }

    /// Passes per nanosecond, at most.
    fn most_speed(&self) -> f64 {
        FASTER / self.paces.iter().copied().fold(f64::MAX, f64::min)
    }

    fn up(&self) -> Option<bool> {
        (self.votes.abs() >= SURE).then_some(self.votes > 0)
    }

    fn vote(&mut self, up: bool) {
        let before = self.up();
        self.votes = (self.votes + if up { 1 } else { -1 }).clamp(-2 * SURE, 2 * SURE);
        if self.up() != before {
            self.lose();
            (self.moments, self.late, self.early) = (0, 0, 0);
        }
    }

    /// A site's number in the order of writing, and back.
    fn rank(&self, site: usize) -> usize {
        if self.votes >= 0 { site } else { self.sites.len() - 1 - site }
    }

    /// Where in a pass a site is written.
    fn place(&self, rank: usize) -> f64 {
        let at = self.sites[self.rank(rank)].at;
        let before = if self.votes >= 0 { at } else { self.bytes - LINE.min(self.bytes) - at };
        before as f64 / self.bytes as f64
    }

    /// It is not known any more where the writer is.
    fn lose(&mut self) {
        (self.front, self.ended) = (None, None);
        self.events.clear();
        self.latest = 0;
        self.sites.iter_mut().for_each(|site| site.changed = None);
    }

    /// Looks at all sites.
    fn look<W: Wire>(&mut self, wire: &mut W) -> Result<(), W::Error> {
        let began = nanos(wire);
        let rest = self.pass_time().map_or(20e3, |pass| pass / 8.0);
        fence(Ordering::Acquire);
        let mut changed = 0;
        for (n, site) in self.sites.iter_mut().enumerate() {
            let mut line = [0; LINE];
            wire.sample(site.at, &mut line)?;
            if line != site.line {
                site.line = line;
                // Soon after a change, this is the rest of it.
                let rest = site.changed.is_some_and(|changed| began - changed < rest);
                changed |= u64::from(!rest) << n;
            }
        }
        let edge = self.sample_edge(wire)?;
        if edge != self.edge {
            (self.edge, self.edge_age) = (edge, 0);
        }
        fence(Ordering::Acquire);
        let ended = nanos(wire);
        let longest = self.pass_time().map_or(1e6, |pass| pass / 2.0);
        if ended - self.looked > longest || ended - began > longest / 2.0 {
            self.lose();
        } else {
            self.learn(changed, ended);
            self.advance(changed, self.looked, ended);
        }
        if changed != 0 {
            self.moved = ended;
        }
        (self.looked, self.ended) = (began, None);
        Ok(())
    }

    fn sample_edge<W: Wire>(&self, wire: &mut W) -> Result<[u8; EDGE], W::Error> {
        let mut edge = [0; EDGE];
        wire.sample(if self.votes >= 0 { 0 } else { self.bytes - EDGE }, &mut edge)?;
        Ok(edge)
    }

    /// The writer's pace and direction.
    fn learn(&mut self, changed: u64, now: f64) {
        for n in bits(changed) {
            if let Some(pace) = self.sites[n].changed.map(|changed| now - changed)
                && now - self.paced > 0.7 * pace
            {
                self.paces.truncate(PACES - 1);
                self.paces.push_front(pace);
                self.paced = now;
            }
            self.sites[n].changed = Some(now);
        }
        let ends = 1 | 1 << (self.sites.len() - 1);
        let (old, new) = (self.latest & !ends, changed & !ends);
        let soon = self.pass_time().is_some_and(|pass| now - self.moved < pass / 4.0);
        if soon && old != 0 && new != 0 {
            let near = (top(new).max(top(old)) - bottom(new).min(bottom(old))) <= self.sites.len() / 2;
            match (bottom(new) > top(old), top(new) < bottom(old)) {
                (true, _) if near => self.vote(true),
                (_, true) if near => self.vote(false),
                _ => {}
            }
        }
        self.latest = changed;
    }

    /// Sites have changed between `before` and `after`: how far is the writer?
    fn advance(&mut self, changed: u64, before: f64, after: f64) {
        let count = self.sites.len();
        // The first of a pass may be written last.
        let ranks = bits(changed).map(|site| self.rank(site)).filter(|rank| *rank > 0).fold(0, |mask, n| mask | 1 << n);
        let ranks = ranks | u64::from(self.ended.is_some()) << (count - 1);
        if ranks == 0 || self.up().is_none() || self.pass_time().is_none() {
            return;
        }
        let (pass, rank) = match self.front {
            Some(front) => front,
            None if top(ranks) - bottom(ranks) <= count / 2 => (2, bottom(ranks) - 1),
            None => return,
        };
        let far = (1..=count).rev().find(|far| ranks >> ((rank + far) % count) & 1 != 0).unwrap_or(0);
        let from = self.events.back().map_or(before, |event| event.before);
        let reach = if self.front.is_some() { (after - from) * self.most_speed() + 2.0 * MARGIN } else { 1.0 };
        let (mut hits, mut misses) = (0, 0);
        for step in 1..=far {
            let (pass, rank) = (pass + ((rank + step) / count) as u64, (rank + step) % count);
            let hit = ranks >> rank & 1 != 0;
            let at = pass as f64 + self.place(rank);
            let number = self.rank(rank);
            let site = &mut self.sites[number];
            misses += u32::from(!hit && site.history & 7 == 7);
            hits += u32::from(hit);
            site.history = site.history << 1 | u8::from(hit);
            if rank == count - 1 {
                self.edge_age = self.edge_age.saturating_add(1);
            }
            if hit {
                let (before, after) = self.ended.filter(|_| rank == count - 1).unwrap_or((before, after));
                if self.events.len() == EVENTS {
                    self.events.pop_front();
                }
                self.events.push_back(Event { before, after, at });
            }
        }
        // Faster than ever, or backwards, or past places that every frame changes: this is no order that is understood.
        if far as f64 / count as f64 > reach || misses > hits {
            self.lose();
            return;
        }
        self.front = Some((pass + ((rank + far) / count) as u64, (rank + far) % count));
    }

    /// The writer's position is at least and at most this.
    fn bounds(&self, at: f64) -> (f64, f64) {
        let speed = self.most_speed();
        self.events.iter().fold((f64::MIN, f64::MAX), |(least, most), event| {
            let before = event.at - (event.after - at).max(0.0) * speed;
            let after = event.at + (at - event.before).max(0.0) * speed;
            (least.max(before), most.min(after))
        })
    }

    /// Where the writer probably is, however it may have been stopped; and where, if it was stopped at the next site
    /// that every frame changes.
    fn estimate(&self, now: f64, pass: f64) -> (f64, f64) {
        let (Some(event), Some((number, rank))) = (self.events.back(), self.front) else { return (0.0, 0.0) };
        let free = event.at + (now - event.after) / pass;
        let count = self.sites.len();
        let next = (rank + 1..=rank + count).find(|next| self.sites[self.rank(next % count)].history & 15 == 15);
        let stop = next.map_or(f64::MAX, |next| number as f64 + (next / count) as f64 + self.place(next % count));
        (free, free.min(stop))
    }

    /// Copies one pass.
    fn attempt<W: Wire>(&mut self, pass: f64, deadline: f64, wire: &mut W) -> Result<bool, W::Error> {
        let copying = if self.copying > 0.0 { self.copying } else { pass };
        let start = (1.0 - copying / pass / 2.0).clamp(0.15, 0.85);
        let (now, _) = self.estimate(nanos(wire), pass);
        let target = if now.fract() > start + MARGIN { now.floor() + 1.0 } else { now.floor() };
        let mut times = [(0.0, 0.0); PARTS];
        let mut before = None;
        let mut moment = None;
        let mut part = 0;
        let last = self.place(self.sites.len() - 1);
        loop {
            self.look(wire)?;
            let now = nanos(wire);
            let (free, safe) = self.estimate(now, pass);
            if self.front.is_none() || now > deadline || free > target + 2.5 {
                return Ok(false);
            }
            let is_hot = self.edge_age < HABIT + 1;
            // The next end of a pass is near.
            let to_end = (1.0 - free.fract()) * pass;
            let over =
                self.front.is_none_or(|(number, rank)| number as f64 == free.floor() && rank + 1 == self.sites.len());
            if is_hot && !over && to_end < pass * MARGIN + copying / PARTS as f64 * 1.2 {
                if let Some(seen) = self.turn(pass, wire)? {
                    let edge = self.edge;
                    self.look(wire)?;
                    // A writer that was stopped may have ended another pass than it should have.
                    if self.events.iter().any(|event| event.after == seen && event.at == target + last) {
                        moment = Some(edge);
                    }
                } else {
                    self.look(wire)?;
                }
                let over = self.front.is_none_or(|(number, rank)| number as f64 + self.place(rank) >= target + last);
                if over && (moment.is_none() || self.moments < HABIT) {
                    return Ok(false);
                }
                continue;
            }
            let ends = (part + 1) as f64 / PARTS as f64;
            let wanted = if part == 0 { start.max(ends + 1.5 * MARGIN) } else { ends + 1.5 * MARGIN };
            if part == PARTS || safe < target + wanted.min(1.0) {
                let left = (target + wanted - free) * pass;
                if part == PARTS && self.bounds(now).0 >= target + last {
                    break;
                }
                if part == 0 && left > 300e3 && to_end > 300e3 + pass * MARGIN {
                    wire.pause(Duration::from_micros(60));
                }
                continue;
            }
            before.get_or_insert(self.edge);
            let began = nanos(wire);
            fence(Ordering::SeqCst);
            wire.copy(self.part(part))?;
            fence(Ordering::SeqCst);
            times[part] = (began, nanos(wire));
            part += 1;
        }
        let spent: f64 = times.iter().map(|(began, ended)| ended - began).sum();
        self.copying = if self.copying > 0.0 { self.copying + (spent - self.copying) / 8.0 } else { spent };
        Ok(self.is_whole(target, &times, spent) && self.finish(before, moment, wire)?)
    }

    /// The rows of a part, in the order of writing.
    fn part(&self, part: usize) -> Range<usize> {
        let part = if self.votes >= 0 { part } else { PARTS - 1 - part };
        self.rows * part / PARTS..self.rows * (part + 1) / PARTS
    }

    /// Whether all parts, copied at these times, are of one pass.
    fn is_whole(&self, pass: f64, times: &[(f64, f64); PARTS], spent: f64) -> bool {
        let quickest = self.paces.iter().copied().fold(f64::MAX, f64::min);
        let steady = self.sites.iter().filter(|site| site.history & 7 == 7).count() >= self.sites.len() / 8;
        // Where few sites tell, the time must: a writer that takes so much longer than our copy may rest in between.
        let counts = steady || quickest < 2.5 * spent;
        let last = self.place(self.sites.len() - 1);
        counts
            && times.iter().enumerate().all(|(part, (began, ended))| {
                let rows = self.rows as f64;
                let starts = (self.rows * part / PARTS) as f64 / rows - 1.0 / rows;
                let ends = (self.rows * (part + 1) / PARTS) as f64 / rows + 1.0 / rows;
                let (least, _) = self.bounds(*began);
                let (seen, most) = self.bounds(*ended);
                let limit = pass + 1.0 + starts - MARGIN;
                // Where it was seen beyond what it could be at most, its speed is not known well enough.
                least >= pass + (ends + MARGIN).min(last) && most <= limit && seen <= limit.min(most + MARGIN / 2.0)
            })
    }

    /// The pass's first bytes.
    fn finish<W: Wire>(
        &mut self,
        before: Option<[u8; EDGE]>,
        moment: Option<[u8; EDGE]>,
        wire: &mut W,
    ) -> Result<bool, W::Error> {
        let Some(edge) = moment else { return Ok(before == Some(self.sample_edge(wire)?)) };
        if self.votes >= 0 {
            wire.patch(0, &edge[..self.patch])?;
        } else {
            wire.patch(self.bytes - self.patch, &edge[EDGE - self.patch..])?;
        }
        Ok(true)
    }

    /// Looks closely while one pass ends and the next begins. When the first was seen to end, if
    /// the moment between them was seen; then `edge` is what stood there.
    fn turn<W: Wire>(&mut self, pass: f64, wire: &mut W) -> Result<Option<f64>, W::Error> {
        let last = self.rank(self.sites.len() - 1);
        let (mut edge, mut foreign) = (self.sample_edge(wire)?, [0; LINE]);
        wire.foreign(&mut foreign)?;
        let limit = nanos(wire) + pass / 4.0;
        let (mut then, mut ended, mut quiet, mut late) = (nanos(wire), None, 0.0, 0);
        loop {
            let now = nanos(wire);
            if now > limit {
                self.moments -= u8::from(ended.is_some() && self.moments > 0);
                return Ok(None);
            }
            let mut line = [0; LINE];
            wire.sample(self.sites[last].at, &mut line)?;
            if line != self.sites[last].line {
                self.sites[last].line = line;
                let seen = nanos(wire);
                self.ended = Some((then, seen));
                if ended.is_some() || seen - then > MISSED {
                    return Ok(None);
                }
                (ended, quiet, self.moved) = (Some(seen), seen, seen);
                self.learn(1 << last, seen);
            }
            let (edge_now, mut foreign_now) = (self.sample_edge(wire)?, [0; LINE]);
            wire.foreign(&mut foreign_now)?;
            if edge_now != edge || foreign_now != foreign {
                if nanos(wire) - then > MISSED {
                    return Ok(None);
                }
                let cells = edge.chunks(LINE).zip(edge_now.chunks(LINE)).enumerate();
                let cells = cells.fold(0, |mask, (n, (old, new))| mask | u32::from(old != new) << n);
                if ended.is_some() && then - quiet > QUIET {
                    // Here the next pass begins, or somebody counts frames.
                    (self.edge, self.edge_age) = (edge, 0);
                    self.late |= late;
                    self.early |= cells;
                    self.moments = (self.moments + 1).min(HABIT);
                    if self.late & self.early != 0 {
                        (self.moments, self.late, self.early) = (0, 0, 0);
                    }
                    return Ok(ended);
                }
                late |= cells;
                (edge, foreign) = (edge_now, foreign_now);
                quiet = nanos(wire);
            }
            then = now;
        }
    }

    /// Where only the first and the last bytes change: those of the end change first, and those of the beginning soon
    /// after.
    fn find_direction<W: Wire>(&mut self, wire: &mut W) -> Result<(), W::Error> {
        let soon = self.pass_time().unwrap_or(0.0) / 4.0;
        let places = [self.sites[0].at, self.sites[self.sites.len() - 1].at];
        let mut lines = [self.sites[0].line, self.sites[self.sites.len() - 1].line];
        // When each was seen to change, and whether the other was seen unchanged afterwards.
        let (mut changed, mut first) = ([None; 2], [false; 2]);
        let (mut this, mut now) = (0, nanos(wire));
        let until = now + soon / 2.0;
        while now < until {
            let other = this;
            this = 1 - other;
            let mut line = [0; LINE];
            wire.sample(places[this], &mut line)?;
            now = nanos(wire);
            if line != lines[this] {
                lines[this] = line;
                changed[this] = Some(now);
                if changed[other].is_some_and(|other| now - other < soon) && first[0] != first[1] {
                    self.vote(first[1]);
                }
            } else if changed[other].is_some() && changed[this].is_none() {
                first[other] = true;
            }
        }
        self.look(wire)
    }
}

fn nanos<W: Wire>(wire: &mut W) -> f64 {
    wire.now().as_nanos() as f64
}

fn bits(mask: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |n| mask >> n & 1 != 0)
}

fn bottom(mask: u64) -> usize {
    super::front::bottom(mask)
}

fn top(mask: u64) -> usize {
    super::front::top(mask)
}
