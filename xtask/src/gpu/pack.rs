// SPDX-License-Identifier: MPL-2.0
//! The kit is made here.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::closure::System;
use super::{HERE, KIT, MOST, NEWER, copy, failed, needs};
use crate::emulated::{self, Chroot};
use crate::fail;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup::{self, Need};

/// Test programs: the package's options, the program, and the files or folders with its sources.
pub const TESTS: &[(&[&str], &str, &[&str])] = &[
    (&["--package", "tdlink-core", "--features", "test-util"], "cudalink", &["core/tests/cudalink"]),
    (&["--package", "gst-plugin-tdlink"], "cudaipc", &["tests/cudaipc.rs"]),
    (&["--package", "gst-plugin-tdlink"], "cudaipc_life", &["tests/cudaipc_life.rs"]),
    (&["--package", "gst-plugin-tdlink"], "cudaipc_guards", &["tests/cudaipc_guards.rs"]),
    (&["--package", "gst-plugin-tdlink"], "cudaipc_pixels", &["tests/cudaipc_pixels.rs"]),
];

/// What `./run` is.
const RUN: &str = r#"#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
# Tests and measures tdlink's CUDA side on this machine's GPU. Takes less than 8 minutes; writes ./report/report.md.
here=$(cd "$(dirname "$0")" && pwd) || exit 3
# Where the program takes a repository to be.
export CARGO_MANIFEST_DIR="$here/bin"
exec "$here/bin/xtask" gpu card "$here"
"#;

pub fn run() -> Outcome {
    setup::ensure(&[Need::Build, Need::Media])?;
    let chroot = Chroot::ensure()?;
    let stage = run::target().join("gpu").join(KIT);
    match std::fs::remove_dir_all(&stage) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(failed(&stage, &err)),
        _ => std::fs::create_dir_all(&stage).map_err(|err| failed(&stage, &err))?,
    }
    say("building what the kit runs: as it is shipped, and the tests");
    let mut shipped = run::cargo();
    shipped.args(["build", "--locked", "--profile", "dist", "--package", "gst-plugin-tdlink"]);
    run::check(shipped.args(["--package", "tdlink-bench-peers", "--package", "xtask"]))?;
    let dist = run::target().join("dist");
    let (plugin, bench) = (dist.join("libgsttdlink.so"), dist.join("tdlink-bench-peers"));
    copy(&plugin, &stage.join("tests/libgsttdlink.so"))?;
    copy(&bench, &stage.join("tests/tdlink-bench-peers"))?;
    copy(&dist.join("xtask"), &stage.join("bin/xtask"))?;
    let mut programs = vec![plugin, bench];
    for (package, name, sources) in TESTS {
        let built = test_program(package, name)?;
        let place = stage.join("tests").join(name);
        copy(&built, &place)?;
        run::check(Command::new("strip").arg(&place))?;
        lists(sources, &place)?;
        programs.push(built);
    }
    copy(&emulated::libraries()?.join("libnvcuvid.so.1"), &stage.join("stub/libnvcuvid.so.1"))?;
    run::check(Command::new("strip").arg(stage.join("stub/libnvcuvid.so.1")))?;
    copy(&run::root().join("emulated-cuda/selftest.py"), &stage.join("tests/selftest.py"))?;
    copy(&run::root().join("LICENSE"), &stage.join("LICENSE"))?;
    let programs: Vec<&Path> = programs.iter().map(PathBuf::as_path).collect();
    System::Here.pack(&stage.join(HERE), &programs)?;
    System::In(&chroot).pack(&stage.join(NEWER), &programs)?;
    let script = stage.join("run");
    std::fs::write(&script, RUN).map_err(|err| failed(&script, &err))?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).map_err(|err| failed(&script, &err))?;
    archive(&stage)
}

fn archive(stage: &Path) -> Outcome {
    let file = stage.with_extension("tar.gz");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--sort=name", "--use-compress-program=gzip -9", "--file"])
        .arg(&file);
    run::check(tar.arg("--directory").arg(stage.parent().unwrap_or(stage)).arg(KIT))?;
    let size = std::fs::metadata(&file).map_err(|err| failed(&file, &err))?.len();
    say(format_args!("{}: {:.1} MiB", file.display(), size as f64 / f64::from(1 << 20)));
    if size > MOST {
        fail!("the kit has {size} bytes; {MOST} are the most");
    }
    say("on a machine with a card: tar xf tdlink-gpu-kit.tar.gz && tdlink-gpu-kit/run");
    Ok(())
}

/// Builds a test program; where it is.
fn test_program(package: &[&str], name: &str) -> Outcome<PathBuf> {
    let mut build = run::cargo();
    build.args(["test", "--no-run", "--locked"]).args(package).args(["--test", name]);
    run::check(&mut build)?;
    let said = run::ask(build.arg("--message-format=json")).unwrap_or_default();
    let found = said.lines().filter(|line| line.contains(&format!("\"name\":\"{name}\""))).find_map(|line| {
        let path = line.split_once("\"executable\":\"")?.1.split('"').next()?;
        Some(PathBuf::from(path))
    });
    found.ok_or_else(|| Trouble::Failed(format!("cargo does not say where it built the tests {name}")))
}

/// Writes down which tests of a program want which driver.
fn lists(sources: &[&str], program: &Path) -> Outcome {
    let (any, emulated) = needs::in_all(sources)?;
    for (kind, names) in [("any", any), ("emulated", emulated)] {
        let file = program.with_extension(kind);
        std::fs::write(&file, names.join("\n")).map_err(|err| failed(&file, &err))?;
    }
    Ok(())
}
