// SPDX-License-Identifier: MPL-2.0
//! Has anything changed since the last frame? Three nets, of which the finest takes longest.
//!
//! The [`Front`](super::front::Front)'s sites are few and always looked at. *Scouts* are two for each site; they
//! remember what stood there when the last frame was read, and stand elsewhere for the next. A *patrol* goes over all
//! bytes, a piece at each look, and remembers a hash of each piece.

use super::front::{LINE, Line, scatter};

/// Most scouts.
const SCOUTS: usize = 256;

/// Bytes that are hashed at one look.
pub(in crate::protocol) const PIECE: usize = 16 * 1024;

/// What is remembered of a frame, for its bytes to be compared with later.
#[derive(Debug)]
pub(in crate::protocol) struct News {
    bytes: usize,
    scouts: Vec<(usize, Line)>,
    /// Frames read.
    frames: u64,
    pieces: Vec<Piece>,
    /// The piece that is next.
    next: usize,
    scratch: Box<[u8]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Piece {
    hash: u64,
    /// The last frame after which the piece was found to be `hash`. 0: never.
    after: u64,
}

impl News {
    /// For a frame of `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            bytes,
            scouts: vec![(0, [0; LINE]); (bytes / (64 * LINE)).min(SCOUTS)],
            frames: 0,
            pieces: vec![Piece::default(); bytes.div_ceil(PIECE)],
            next: 0,
            scratch: vec![0; PIECE.min(bytes)].into(),
        }
    }

    /// A frame was read: what stands there now is no news. Scouts take new places.
    ///
    /// # Errors
    /// Whatever `read` says.
    pub fn take<E>(&mut self, mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>) -> Result<(), E> {
        self.frames += 1;
        let band = self.bytes / self.scouts.len().max(1);
        for (n, (offset, line)) in self.scouts.iter_mut().enumerate() {
            *offset = band * n + scatter(n ^ (self.frames as usize) << 10) % (band - LINE);
            read(*offset, line)?;
        }
        Ok(())
    }

    /// Compares the scouts' places. Whether any has changed.
    ///
    /// # Errors
    /// Whatever `read` says.
    pub fn scout<E>(&mut self, mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>) -> Result<bool, E> {
        let mut any = false;
        for (offset, seen) in &mut self.scouts {
            let mut line = [0; LINE];
            read(*offset, &mut line)?;
            if line != *seen {
                *seen = line;
                any = true;
            }
        }
        Ok(any)
    }

    /// Hashes the next piece. Says whether it has changed since it was last hashed, if no frame was read since.
    ///
    /// # Errors
    /// Whatever `read` says.
    pub fn patrol<E>(&mut self, read: impl FnMut(usize, &mut [u8]) -> Result<(), E>) -> Result<bool, E> {
        let at = self.next;
        self.next = (at + 1) % self.pieces.len();
        let before = self.pieces[at];
        self.hash(at, read)?;
        Ok(self.pieces[at].hash != before.hash && before.after == self.frames)
    }

    /// Hashes all pieces, so that no change after this is missed.
    ///
    /// # Errors
    /// Whatever `read` says.
    pub fn patrol_all<E>(&mut self, mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>) -> Result<(), E> {
        (0..self.pieces.len()).try_for_each(|at| self.hash(at, &mut read))
    }

    fn hash<E>(&mut self, at: usize, mut read: impl FnMut(usize, &mut [u8]) -> Result<(), E>) -> Result<(), E> {
        let start = at * PIECE;
        let bytes = &mut self.scratch[..PIECE.min(self.bytes - start)];
        read(start, bytes)?;
        self.pieces[at] = Piece { hash: hash(bytes), after: self.frames };
        Ok(())
    }
}

/// A hash that costs little: four lanes of multiplications.
fn hash(bytes: &[u8]) -> u64 {
    const PRIMES: [u64; 4] =
        [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63];
    let mut lanes = PRIMES;
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut mix = |block: &[u8; 32]| {
        for ((lane, word), prime) in lanes.iter_mut().zip(block.as_chunks::<8>().0).zip(PRIMES) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(prime).rotate_left(29);
        }
    };
    blocks.iter().for_each(&mut mix);
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    mix(&last);
    lanes
        .iter()
        .zip(PRIMES)
        .fold(bytes.len() as u64, |hash, (lane, prime)| (hash ^ lane).wrapping_mul(prime).rotate_left(31))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn reader(memory: &[u8]) -> impl FnMut(usize, &mut [u8]) -> Result<(), Infallible> + '_ {
        |offset, bytes| {
            bytes.copy_from_slice(&memory[offset..][..bytes.len()]);
            Ok(())
        }
    }

    #[test]
    fn one_bit_anywhere_is_found_within_one_round() {
        let mut memory = vec![7; if cfg!(miri) { PIECE + 100 } else { 3 * PIECE + 1000 }];
        let rounds = memory.len().div_ceil(PIECE);
        let mut news = News::new(memory.len());
        for place in [0, 1, PIECE - 1, PIECE, memory.len() - 1] {
            let Ok(()) = news.take(reader(&memory));
            let Ok(()) = news.patrol_all(reader(&memory));
            for _ in 0..rounds + 1 {
                assert_eq!(news.patrol(reader(&memory)), Ok(false));
            }
            memory[place] ^= 0x10;
            let found = (0..rounds).any(|_| news.patrol(reader(&memory)) == Ok(true));
            assert!(found, "byte {place}");
        }
    }

    #[test]
    fn what_changed_before_a_frame_was_read_is_no_news_after_it() {
        let mut memory = vec![1; 2 * PIECE];
        let mut news = News::new(memory.len());
        let Ok(()) = news.patrol_all(reader(&memory));
        memory[5] = 2;
        let Ok(()) = news.take(reader(&memory));
        assert_eq!([(); 4].map(|()| news.patrol(reader(&memory))), [Ok(false); 4]);
        assert_eq!(news.scout(reader(&memory)), Ok(false));
    }

    #[test]
    fn scouts_come_by_every_line_in_time() {
        let mut memory = vec![0; 16 * 1024];
        let mut news = News::new(memory.len());
        let found = (0..1000).any(|_| {
            let Ok(()) = news.take(reader(&memory));
            memory[9_000] ^= 1;
            news.scout(reader(&memory)) == Ok(true)
        });
        assert!(found);
    }
}
