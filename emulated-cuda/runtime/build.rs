// SPDX-License-Identifier: MPL-2.0
//! Links against `libcuda.so.1` by name only: whoever loads the runtime gets the one driver of the process. For the
//! linker an empty library of that name will do; its own folder is where the loader looks first.

use std::path::PathBuf;
use std::process::Command;

#[allow(clippy::disallowed_methods, reason = "cargo speaks to build scripts in this way")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-nostdlib", "-Wl,-soname,libcuda.so.1", "-o"]).arg(folder.join("libcuda.so.1"));
    let status = cc.args(["-x", "c", "/dev/null"]).status().expect("cc, which links Rust programs too, cannot be run");
    assert!(status.success(), "cc cannot make an empty library: {status}");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcudart.so.12");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-rpath,$ORIGIN");
    println!("cargo::rustc-cdylib-link-arg=-L{}", folder.display());
    println!("cargo::rustc-cdylib-link-arg=-Wl,--no-as-needed,-l:libcuda.so.1,--as-needed");
}
