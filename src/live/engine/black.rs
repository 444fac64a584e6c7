// SPDX-License-Identifier: MPL-2.0
//! A black frame in whatever format was agreed on.

use gst_video::{VideoInfo, prelude::*};
use tdlink_core::{
    frame::{PixelFormat, SampleType},
    pixels::{Converter, Options},
};

use crate::video;

/// Paints all of `buffer` black, opaque where there is alpha.
///
/// # Errors
/// When the buffer cannot be mapped as a frame of `info`.
pub fn paint(buffer: &mut gst::BufferRef, info: &VideoInfo) -> Result<(), gst::ErrorMessage> {
    let unmapped = video::unmapped(buffer, info);
    let Some(pixel) = video::pixel_format(info.format()) else { return Err(unmapped) };
    let grey = PixelFormat { channels: 1, sample: SampleType::U8, ..pixel };
    let mut black = vec![0; info.width() as usize * pixel.bytes()];
    Converter::new(grey, pixel, Options::default())
        .row(&vec![0; info.width() as usize], &mut black)
        .map_err(|err| gst::error_msg!(gst::StreamError::Format, ("black as {}: {err}", info.format())))?;
    let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info) else { return Err(unmapped) };
    let Ok(stride @ 1..) = usize::try_from(frame.plane_stride()[0]) else { return Err(unmapped) };
    let Ok(rows) = frame.plane_data_mut(0) else { return Err(unmapped) };
    for row in rows.chunks_mut(stride) {
        let len = row.len().min(black.len());
        row[..len].copy_from_slice(&black[..len]);
    }
    Ok(())
}
