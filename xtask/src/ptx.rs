// SPDX-License-Identifier: MPL-2.0
//! `cargo xtask ptx`: compiles the kernels by the NVRTC library of one published wheel. Needs no GPU, and gives the same
//! bytes everywhere. What a GPU's own instructions need of registers and memory is asked of the assembler of another wheel.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fail;
use crate::run::{self, Outcome, Trouble, say};
use crate::setup;

/// A file of a published wheel for Linux on x86-64.
struct Wheel {
    /// Name and version.
    name: &'static str,
    /// Of the wheel.
    sha256: &'static str,
    file: &'static str,
}

/// Compiles CUDA C: the oldest whose text drivers since 525 understand.
const NVRTC: Wheel = Wheel {
    name: "nvidia-cuda-nvrtc-cu12==12.0.140",
    sha256: "8e94e991d85c422de4da87bdc7472fdc1364367bd4aace7000b559cd33122071",
    file: "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
};
/// Assembles such text for one GPU, as a driver does.
const PTXAS: Wheel = Wheel {
    name: "nvidia-cuda-nvcc-cu12==12.0.140",
    sha256: "958d54df87d0c0b7207e7fed403d6eeda0890a01cc44cfeaccf87c7f90e9b165",
    file: "nvidia/cuda_nvcc/bin/ptxas",
};
/// GPUs that the text is assembled for: Maxwell, which is the oldest, Turing, Ampere and Hopper.
const GPUS: [&str; 4] = ["sm_50", "sm_75", "sm_86", "sm_90"];
const KERNELS: &str = "core/src/cuda/kernels";

/// `ptx` writes what the sources give; `ptx --check` compares it with what is committed; `ptx --registers` says what GPUs
/// need for it.
pub fn run(options: &[&str]) -> Outcome {
    match options {
        [] => each(|source, compiled| {
            let to = source.with_extension("ptx");
            std::fs::copy(compiled, &to).map(drop).map_err(|err| Trouble::Machine(format!("{}: {err}", to.display())))
        }),
        ["--check"] => check(),
        ["--registers"] => registers(),
        [option, ..] => Err(Trouble::Usage(format!("ptx: {} is neither --check nor --registers", run::quote(option)))),
    }
}

/// Whether the committed texts are those of the committed sources, byte for byte, and need no local memory.
pub fn check() -> Outcome {
    each(|source, compiled| {
        let committed = source.with_extension("ptx");
        match (std::fs::read(&committed), std::fs::read(compiled)) {
            (Ok(committed), Ok(compiled)) if committed == compiled => Ok(()),
            _ => fail!("{} is not what its source gives; run `cargo xtask ptx`", committed.display()),
        }
    })?;
    registers()
}

/// Prints registers per thread of each kernel and GPU. Local memory, which is memory of the GPU, is a fault.
fn registers() -> Outcome {
    let ptxas = unpacked(&PTXAS)?;
    let object = run::target().join("nvrtc").join("assembled.cubin");
    for source in sources()? {
        for gpu in GPUS {
            let mut assemble = Command::new(&ptxas);
            assemble.args(["-v", "-arch", gpu, "-o"]).arg(&object).arg(source.with_extension("ptx"));
            let output = assemble.output().map_err(|err| Trouble::Machine(format!("{}: {err}", ptxas.display())))?;
            let text = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                fail!("{}: {}\n{text}", run::shown(&assemble), output.status);
            }
            let mut kernel = "";
            for line in text.lines() {
                if let Some((_, named)) = line.split_once("entry function '") {
                    kernel = named.split('\'').next().unwrap_or_default();
                }
                if line.contains("stack frame") && !line.trim().starts_with("0 bytes stack frame, 0 bytes spill stores")
                {
                    fail!("{kernel} on {gpu} needs local memory: {}", line.trim());
                }
                if let Some((_, used)) = line.split_once("Used ") {
                    say(format_args!("{gpu}  {kernel:<20} {}", used.split(',').next().unwrap_or_default()));
                }
            }
        }
    }
    Ok(())
}

/// The sources of the kernels, in the order of their names.
fn sources() -> Outcome<Vec<PathBuf>> {
    let folder = run::root().join(KERNELS);
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|file| file.path());
    let mut sources: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "cu")).collect();
    sources.sort();
    if sources.is_empty() {
        fail!("{KERNELS} holds no kernel");
    }
    Ok(sources)
}

fn each(done: impl Fn(&Path, &Path) -> Outcome) -> Outcome {
    let (python, library) = (python()?, unpacked(&NVRTC)?);
    let folder = run::root().join(KERNELS);
    for source in &sources()? {
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

/// The file of a wheel, which is downloaded, checked by pip and unpacked, once.
fn unpacked(wheel: &Wheel) -> Outcome<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Trouble::Machine(format!("{} is pinned for Linux on x86-64", wheel.name)));
    }
    let place = run::target().join("nvrtc").join(wheel.sha256);
    if place.join(wheel.file).exists() {
        return Ok(place.join(wheel.file));
    }
    let python = python()?;
    // Beside it first: what stands in its place is whole, whenever this is interrupted.
    let folder = place.with_extension(std::process::id().to_string());
    let failed = |err: std::io::Error| Trouble::Machine(format!("{}: {err}", folder.display()));
    let downloads = folder.join("downloads");
    std::fs::create_dir_all(&downloads).map_err(failed)?;
    let wanted = folder.join("requirements.txt");
    std::fs::write(&wanted, format!("{} --hash=sha256:{}\n", wheel.name, wheel.sha256)).map_err(failed)?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries", "5"]);
    download.args(["--require-hashes", "--dest"]).arg(&downloads).arg("--requirement").arg(&wanted);
    if !run::status(&mut download)?.success() {
        return Err(Trouble::Machine(format!("{} cannot be downloaded", wheel.name)));
    }
    let files = std::fs::read_dir(&downloads).into_iter().flatten().flatten().map(|file| file.path());
    let found = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "whl"));
    let found = found.ok_or_else(|| Trouble::Machine("pip downloaded no wheel".into()))?;
    run::check(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(found).arg(&folder))?;
    allow_to_run(&folder.join(wheel.file)).map_err(failed)?;
    std::fs::remove_dir_all(&downloads).map_err(failed)?;
    put(&folder, &place).map_err(failed)?;
    Ok(place.join(wheel.file))
}

/// Moves a folder to its place. What is there is left of an earlier version of this, which unpacked in place, or another
/// process was as fast.
fn put(folder: &Path, place: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(place) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    std::fs::rename(folder, place)
}

/// What pip's unpacking would have done.
#[cfg(unix)]
fn allow_to_run(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))
}

/// Files of Windows may always run.
#[cfg(not(unix))]
fn allow_to_run(_file: &Path) -> std::io::Result<()> {
    Ok(())
}
