// SPDX-License-Identifier: MPL-2.0
//! Bytes of pixels change places.

use super::{Span, extent};

/// Rows of pixels of 1 to 4 bytes: (source, destination, source pitch, destination pitch, width, height, bytes of a
/// pixel, flags). Flags: 1 upside down, 2 first and third byte change places, 4 the fourth byte becomes 255.
pub fn rows_u8(arguments: &[u64], pause: &dyn Fn()) -> Option<()> {
    let &[source, destination, ref rest @ ..] = arguments else { return None };
    let &[from_pitch, to_pitch, width, height, size, flags] = rest else { return None };
    let [from_pitch, to_pitch, width, height, size] =
        [from_pitch, to_pitch, width, height, size].map(|value| value as usize);
    if width == 0 || height == 0 {
        return Some(());
    }
    if !(1..=4).contains(&size) {
        return None;
    }
    let row = width.checked_mul(size)?;
    let from = Span::new(source, extent(from_pitch, row, height)?)?;
    let to = Span::new(destination, extent(to_pitch, row, height)?)?;
    pause();
    let mut line = vec![0; row];
    for y in 0..height {
        if y == height / 2 {
            pause();
        }
        let source_y = if flags & 1 != 0 { height - 1 - y } else { y };
        from.read(source_y * from_pitch, &mut line)?;
        for pixel in line.chunks_exact_mut(size) {
            if flags & 2 != 0 && size >= 3 {
                pixel.swap(0, 2);
            }
            if flags & 4 != 0 && size == 4 {
                pixel[3] = 255;
            }
        }
        to.write(y * to_pitch, &line)?;
    }
    Some(())
}
