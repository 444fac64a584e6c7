// SPDX-License-Identifier: MPL-2.0
//! Which pool a source's buffers come from.

use gst::prelude::*;
use gst_video::VideoInfo;

/// Takes downstream's pool, or one of our own where there is none or it refuses, and puts it first in `query`. Whether
/// downstream takes rows that lie further apart than caps say.
///
/// # Errors
/// No pool can be had for frames of `info`.
pub fn choose(query: &mut gst::query::Allocation, caps: &gst::Caps, info: &VideoInfo) -> Result<bool, String> {
    let offered = query.allocation_pools().next();
    let found = offered.is_some();
    let (pool, size, min, max) = offered.unwrap_or((None, 0, 0, 0));
    let size = size.max(
        u32::try_from(info.size())
            .map_err(|_| format!("a frame of {} bytes is larger than a buffer pool can take", info.size()))?,
    );
    let meta = query.find_allocation_meta::<gst_video::VideoMeta>().is_some();
    let configured = |pool: gst::BufferPool| {
        let mut config = pool.config();
        config.set_params(Some(caps), size, min, max);
        if meta {
            config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
        }
        pool.set_config(config).map(|()| pool)
    };
    // A pool that refuses is no reason to stop: ours does not.
    let pool = match pool.map(configured) {
        Some(Ok(pool)) => pool,
        refused => {
            if let Some(Err(err)) = refused {
                tracing::info!("downstream's pool refuses its configuration: {err}");
            }
            configured(gst_video::VideoBufferPool::new().upcast()).map_err(|err| format!("a pool for {caps}: {err}"))?
        }
    };
    if found {
        query.set_nth_allocation_pool(0, Some(&pool), size, min, max);
    } else {
        query.add_allocation_pool(Some(&pool), size, min, max);
    }
    Ok(meta)
}
