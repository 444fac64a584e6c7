// SPDX-License-Identifier: MPL-2.0
//! A black frame in whatever format was agreed on.

use gst_video::{VideoInfo, prelude::*};

use crate::video;

/// Paints all of `buffer` black, opaque where there is alpha.
///
/// # Errors
/// When the buffer cannot be mapped as a frame of `info`.
pub fn paint(buffer: &mut gst::BufferRef, info: &VideoInfo) -> Result<(), gst::ErrorMessage> {
    let unmapped = video::unmapped(buffer, info);
    let (Some(black), Some(planes)) = (video::black(info), video::planes(info)) else { return Err(unmapped) };
    let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info) else { return Err(unmapped) };
    for (plane, (pixel, (row_bytes, height))) in (0..).zip(black.iter().zip(planes)) {
        let Some(Ok(stride @ 1..)) = frame.plane_stride().get(plane as usize).map(|stride| usize::try_from(*stride))
        else {
            return Err(unmapped);
        };
        let Ok(rows) = frame.plane_data_mut(plane) else { return Err(unmapped) };
        for row in rows.chunks_mut(stride).take(height) {
            let len = row.len().min(row_bytes);
            row[..len].chunks_mut(pixel.len()).for_each(|to| to.copy_from_slice(&pixel[..to.len()]));
        }
    }
    Ok(())
}
