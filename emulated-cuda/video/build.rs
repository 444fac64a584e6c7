// SPDX-License-Identifier: MPL-2.0
//! The name that programs ask the loader for.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libnvcuvid.so.1");
}
