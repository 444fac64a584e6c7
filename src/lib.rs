// SPDX-License-Identifier: MPL-2.0
//! GStreamer elements for TouchDesigner's shared buffers.
