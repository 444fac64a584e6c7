// SPDX-License-Identifier: MPL-2.0
//! Textures and graphics: names that GStreamer looks up before it registers anything. Nothing of it is emulated.

use std::ffi::c_void;

use super::types::*;
use crate::calls::entries;
use crate::code::Code;

entries! {
    fn cuTexObjectCreate(_texture: *mut u64, _resource: *const c_void, _texture_description: *const c_void, _view: *const c_void) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuTexObjectDestroy(_texture: u64) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuGraphicsMapResources(_count: u32, _resources: *mut Handle, _stream: Handle) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuGraphicsUnmapResources(_count: u32, _resources: *mut Handle, _stream: Handle) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuGraphicsUnregisterResource(_resource: Handle) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuGraphicsResourceSetMapFlags_v2(_resource: Handle, _flags: u32) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuGraphicsSubResourceGetMappedArray(_array: *mut Handle, _resource: Handle, _index: u32, _level: u32) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuGraphicsResourceGetMappedPointer_v2(_pointer: *mut DevicePointer, _size: *mut usize, _resource: Handle) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuGraphicsGLRegisterImage(_resource: *mut Handle, _image: u32, _target: u32, _flags: u32) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuGraphicsGLRegisterBuffer(_resource: *mut Handle, _buffer: u32, _flags: u32) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuGLGetDevices_v2(_count: *mut u32, _devices: *mut Device, _room: u32, _list: u32) {
        Err(Code::NOT_SUPPORTED)
    }
}
