// SPDX-License-Identifier: MPL-2.0
//! Pools of device memory. Their buffers carry a `GstVideoMeta` with the true pitch.

use glib::translate::{ToGlibPtr, from_glib_full};
use gst::{glib, prelude::*};
use gst_video::VideoInfo;

use super::{
    GstContext, GstStream,
    library::{GstCudaBufferPool, Missing, library},
};
use crate::video::DEVICE_FORMATS;

/// Why there is no pool.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PoolError {
    /// No library.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The format.
    #[error("{0} is no format of CUDA memory that every GStreamer takes")]
    Format(&'static str),
    /// The driver, or GStreamer.
    #[error("no pool of CUDA memory for {caps}: {why}")]
    Refused {
        /// What for.
        caps: String,
        /// What GStreamer said.
        why: String,
    },
}

fn new_pool(context: &GstContext) -> Result<gst::BufferPool, Missing> {
    let functions = library()?;
    // SAFETY: the context is alive.
    let pool = unsafe { (functions.buffer_pool_new)(context.as_ptr()) };
    // SAFETY: the call gives a pool whose only reference is ours.
    Ok(unsafe { from_glib_full(pool) })
}

/// Whether a pool's buffers lie in memory of `context`.
fn is_of(pool: &gst::BufferPool, context: &GstContext) -> bool {
    let Ok(functions) = library() else { return false };
    // SAFETY: it takes nothing.
    let cuda: glib::ffi::GType = unsafe { (functions.buffer_pool_get_type)() };
    let raw: *mut gst::ffi::GstBufferPool = pool.to_glib_none().0;
    // SAFETY: the pool is alive, as any object that is asked for its type must be.
    let is_cuda = unsafe { glib::gobject_ffi::g_type_check_instance_is_a(raw.cast(), cuda) };
    if is_cuda == glib::ffi::GFALSE {
        return false;
    }
    // SAFETY: it is of that type.
    let of = unsafe { (*raw.cast::<GstCudaBufferPool>()).context };
    of == context.as_ptr()
}

/// The stream on which a pool's buffers are made; from 1.24 on.
fn stream_in(config: &gst::BufferPoolConfig) -> Option<GstStream> {
    let functions = library().ok()?.newer.as_ref()?;
    // SAFETY: the configuration is alive, and only read. What comes back is a reference.
    GstStream::from_full(unsafe { (functions.config_get_stream)(config.as_ref().as_mut_ptr()) })
}

fn set_stream(config: &mut gst::BufferPoolConfigRef, stream: &GstStream) {
    if let Some(functions) = library().ok().and_then(|functions| functions.newer.as_ref()) {
        // SAFETY: both are alive; the configuration takes a reference of its own.
        unsafe { (functions.config_set_stream)(config.as_mut_ptr(), stream.as_ptr()) };
    }
}

/// A pool for frames of `info`: `offered`, if its memory is of our context, else a new one. With it the bytes of a
/// buffer and the stream of its memory.
fn configured(
    offered: Option<gst::BufferPool>,
    caps: &gst::Caps,
    info: &VideoInfo,
    context: &GstContext,
    stream: Option<&GstStream>,
    limits: (u32, u32),
) -> Result<(gst::BufferPool, u32, Option<GstStream>), PoolError> {
    // Others than these end the process (1.22), so they never reach the library.
    if !DEVICE_FORMATS.contains(&info.format()) {
        return Err(PoolError::Format(info.format().to_str()));
    }
    let refused = |why: String| PoolError::Refused { caps: caps.to_string(), why };
    // Downstream may use its pool's stream although it is no pool for us.
    let theirs = offered.as_ref().and_then(|pool| stream_in(&pool.config()));
    let size = u32::try_from(info.size()).map_err(|_| refused(format!("{} bytes a frame", info.size())))?;
    let stream = theirs.or_else(|| stream.cloned());
    let configure = |pool: &gst::BufferPool| {
        let mut config = pool.config();
        config.set_params(Some(caps), size, limits.0, limits.1);
        config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
        if let Some(stream) = &stream {
            set_stream(&mut config, stream);
        }
        pool.set_config(config)
    };
    // A pool that refuses is no reason to stop: ours does not.
    let pool = match offered.filter(|pool| is_of(pool, context) && configure(pool).is_ok()) {
        Some(pool) => pool,
        None => {
            let pool = new_pool(context)?;
            configure(&pool).map_err(|err| refused(err.to_string()))?;
            pool
        }
    };
    // The driver chooses the pitch: buffers are larger than caps say.
    let size = pool.config().params().map_or(size, |(_, size, ..)| size);
    Ok((pool, size, stream))
}

/// For a source's ALLOCATION query: takes downstream's pool, or one of our own where there is none of our context, and
/// puts it first in `query`. The stream on which to work: downstream's, if it has said one, else `stream`.
///
/// # Errors
/// No such pool can be had.
pub fn choose(
    query: &mut gst::query::Allocation,
    caps: &gst::Caps,
    info: &VideoInfo,
    context: &GstContext,
    stream: Option<&GstStream>,
) -> Result<Option<GstStream>, PoolError> {
    let offered = query.allocation_pools().next();
    let found = offered.is_some();
    let (pool, _, min, max) = offered.unwrap_or((None, 0, 0, 0));
    let (pool, size, stream) = configured(pool, caps, info, context, stream, (min, max))?;
    if found {
        query.set_nth_allocation_pool(0, Some(&pool), size, min, max);
    } else {
        query.add_allocation_pool(Some(&pool), size, min, max);
    }
    Ok(stream)
}

/// For a sink's ALLOCATION query: offers a pool of our context and our stream.
///
/// # Errors
/// No such pool can be had.
pub fn propose(
    query: &mut gst::query::Allocation,
    caps: &gst::Caps,
    info: &VideoInfo,
    context: &GstContext,
    stream: Option<&GstStream>,
) -> Result<(), PoolError> {
    let (pool, size, _) = configured(None, caps, info, context, stream, (0, 0))?;
    query.add_allocation_pool(Some(&pool), size, 0, 0);
    Ok(())
}
