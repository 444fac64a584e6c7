// SPDX-License-Identifier: MPL-2.0
//! What `./run` of the kit does, on a machine where there is nothing but a driver.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::pack::TESTS;
use super::report::{Report, Verdict};
use super::{HERE, NEWER, closure, copy, failed};
use crate::bench::{Options, measure_cuda};
use crate::fail;
use crate::run::{self, Outcome, Trouble, say};

/// All of it; what has not begun by then does not begin.
const WHOLE: Duration = Duration::from_secs(450);
/// What measuring takes, for which time is kept.
const MEASURES: Duration = Duration::from_secs(150);
/// One test.
const ONE: Duration = Duration::from_secs(100);
/// Where the newer GStreamer's programs find their loader: a program names it by an absolute path.
const LINK: &str = "/tmp/tdlink-gpu-kit";
/// The core's tests, which know nothing of GStreamer.
const CORE: &str = "cudalink";

/// A GStreamer of the kit, and what its programs need around them.
struct System {
    name: &'static str,
    tests: PathBuf,
    /// Where what it says is kept meanwhile.
    results: PathBuf,
    settings: Vec<(&'static str, String)>,
}

impl System {
    fn new(name: &'static str, kit: &Path, tests: PathBuf, results: &Path) -> Self {
        let at = |part: &str| kit.join(name).join(part).display().to_string();
        let inherited = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let stub = kit.join("stub").display().to_string();
        let search = [Some(at("lib")), Some(stub), inherited("LD_LIBRARY_PATH")];
        let path = [Some(at("bin")), inherited("PATH")];
        let joined = |parts: &[Option<String>]| parts.iter().flatten().cloned().collect::<Vec<_>>().join(":");
        let settings = vec![
            ("LD_LIBRARY_PATH", joined(&search)),
            ("PATH", joined(&path)),
            ("GST_PLUGIN_SYSTEM_PATH_1_0", at("plugins")),
            ("GST_PLUGIN_SCANNER_1_0", at("bin/gst-plugin-scanner")),
            ("GST_REGISTRY_1_0", results.join(format!("registry-{name}.bin")).display().to_string()),
        ];
        Self { name, tests, results: results.to_owned(), settings }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A script that starts the benches' program with the settings, for who knows nothing of them.
    fn bench(&self, results: &Path) -> Outcome<PathBuf> {
        let script = results.join(format!("bench-{}", self.name));
        let mut text = String::from("#!/bin/sh\n");
        for (name, value) in &self.settings {
            let _ = writeln!(text, "export {name}={}", run::quote(value));
        }
        let program = self.tests.join("tdlink-bench-peers").display().to_string();
        let _ = writeln!(text, "exec {} \"$@\"", run::quote(&program));
        std::fs::write(&script, text).map_err(|err| failed(&script, &err))?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
            .map_err(|err| failed(&script, &err))?;
        Ok(script)
    }
}

/// The link to the newer GStreamer; it goes with this value.
struct Link;

impl Link {
    fn to(folder: &Path) -> Outcome<Self> {
        let link = Path::new(LINK);
        if std::fs::symlink_metadata(link).is_ok_and(|found| found.is_symlink()) {
            // Of a run that was killed.
            std::fs::remove_file(link).map_err(|err| failed(link, &err))?;
        }
        symlink(folder, link).map_err(|err| failed(link, &err))?;
        Ok(Self)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(LINK);
    }
}

pub fn run(kit: &Path) -> Outcome {
    let began = Instant::now();
    let results = kit.join("report");
    std::fs::create_dir_all(&results).map_err(|err| failed(&results, &err))?;
    let here = System::new(HERE, kit, kit.join("tests"), &results);
    let card = card(&here)?;
    say(format_args!("driver: {card}"));
    let _link = Link::to(&kit.join(NEWER))?;
    let newer = newer(kit, &results)?;
    let mut report = Report::new(&card);
    let mut log = {
        let path = results.join("log.txt");
        File::create(&path).map_err(|err| failed(&path, &err))?
    };

    report.rules(&rules(kit));
    tests(&mut report, &mut log, &here, CORE, "alone", began);
    figures(&mut report, &mut log, &here);
    for system in [&newer, &here] {
        report.gstreamer(system.name, &elements(system));
        for (_, program, _) in TESTS.iter().filter(|(_, program, _)| *program != CORE) {
            tests(&mut report, &mut log, system, program, system.name, began);
        }
        hand_over(&mut report, system, &results, began);
    }
    report.cuda_link(&cuda_link());

    let (text, good) = report.end(began.elapsed());
    let file = results.join("report.md");
    std::fs::write(&file, &text).map_err(|err| failed(&file, &err))?;
    println!("\n{text}");
    say(format_args!("wrote {} and log.txt beside it", file.display()));
    if good { Ok(()) } else { fail!("not everything passed: see {}", file.display()) }
}

/// What the driver says that it is.
fn card(here: &System) -> Outcome<String> {
    let mut command = here.command(&here.tests.join(CORE));
    command.args(["--exact", "peer::peer", "--ignored", "--nocapture", "--test-threads=1"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|err| failed(&here.tests.join(CORE), &err))?;
    if let Some(mut orders) = child.stdin.take() {
        // An end that is not there to read is seen by its answer.
        let _ = orders.write_all(b"card\n");
    }
    let output = child.wait_with_output().map_err(|err| failed(&here.tests.join(CORE), &err))?;
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match said.lines().find_map(|line| Some(line.split_once("answer: ")?.1)) {
        Some(answer) => match answer.strip_prefix("error: ") {
            Some(why) => Err(Trouble::Machine(why.to_string())),
            None => Ok(answer.to_string()),
        },
        None => Err(Trouble::Machine(format!("the kit's programs do not run here: {said} {complaint}"))),
    }
}

/// The newer GStreamer with its own loader and C library, and the tests for it.
fn newer(kit: &Path, results: &Path) -> Outcome<System> {
    let loader = format!("{LINK}/ld.so");
    let tests = results.join(format!("tests-{NEWER}"));
    for file in std::fs::read_dir(kit.join("tests")).map_err(|err| failed(kit, &err))? {
        let from = file.map_err(|err| failed(kit, &err))?.path();
        let name = from.file_name().unwrap_or_default();
        copy(&from, &tests.join(name))?;
        if from.extension().is_none() {
            closure::start_by(&tests.join(name), &loader)?;
        }
    }
    // A second run finds its programs changed already.
    let bin = results.join(format!("bin-{NEWER}"));
    for program in std::fs::read_dir(kit.join(NEWER).join("bin")).map_err(|err| failed(kit, &err))? {
        let from = program.map_err(|err| failed(kit, &err))?.path();
        let to = bin.join(from.file_name().unwrap_or_default());
        copy(&from, &to)?;
        closure::start_by(&to, &loader)?;
    }
    let mut system = System::new(NEWER, kit, tests, results);
    for (name, value) in &mut system.settings {
        match *name {
            "PATH" => *value = format!("{}:{value}", bin.display()),
            "GST_PLUGIN_SCANNER_1_0" => *value = bin.join("gst-plugin-scanner").display().to_string(),
            _ => {}
        }
    }
    Ok(system)
}

/// How a child has ended, and what it said.
fn finished(mut command: Command, limit: Duration, output: &Path) -> Outcome<Option<(ExitStatus, String)>> {
    let file = File::create(output).map_err(|err| failed(output, &err))?;
    let same = file.try_clone().map_err(|err| failed(output, &err))?;
    command.stdin(Stdio::null()).stdout(file).stderr(same).process_group(0);
    let mut child = command.spawn().map_err(|err| failed(Path::new(command.get_program()), &err))?;
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait().map_err(|err| failed(output, &err))? {
            Some(status) => break Some(status),
            None if Instant::now() > end => break None,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if status.is_none() {
        // Its children are of its group.
        let _ = Command::new("sh").args(["-c", "kill -s KILL -- \"-$0\"", &child.id().to_string()]).status();
        let _ = child.wait();
    }
    let said = std::fs::read(output).map_err(|err| failed(output, &err))?;
    let _ = std::fs::remove_file(output);
    Ok(status.map(|status| (status, String::from_utf8_lossy(&said).into_owned())))
}

/// The tests of one program that want any driver, each in a process of its own.
fn tests(report: &mut Report, log: &mut File, system: &System, program: &str, group: &str, began: Instant) {
    let path = system.tests.join(program);
    let list = |kind: &str| std::fs::read_to_string(path.with_extension(kind)).unwrap_or_default();
    // Once, however many GStreamers it runs with.
    if system.name == NEWER || program == CORE {
        report.emulated(list("emulated").lines().count());
    }
    let any = list("any");
    if any.lines().next().is_none() {
        report.test(group, program, Verdict::Failed("the kit has no list of its tests".into()));
    }
    for name in any.lines() {
        let left = (WHOLE - MEASURES).saturating_sub(began.elapsed());
        if left.is_zero() {
            report.test(group, &format!("{program} {name}"), Verdict::NotRun);
            continue;
        }
        let mut command = system.command(&path);
        command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("G_DEBUG", "fatal_warnings");
        let start = Instant::now();
        let verdict = match finished(command, ONE.min(left), &system.results.join("output")) {
            Ok(Some((status, said))) => {
                let _ = writeln!(log, "== {group} {program} {name}: {status}\n{said}");
                match status.success() && said.contains("1 passed") {
                    true => Verdict::Passed(start.elapsed()),
                    false => Verdict::Failed(complaint(&said)),
                }
            }
            Ok(None) => Verdict::Failed(format!("did not end within {} s", start.elapsed().as_secs())),
            Err(trouble) => Verdict::Failed(trouble.to_string()),
        };
        say(format_args!("  {group:<6} {program:<15} {name}: {verdict}"));
        report.test(group, &format!("{program} {name}"), verdict);
    }
}

/// The line that says most.
fn complaint(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    let line = lines.next().or_else(|| said.lines().last()).unwrap_or_default();
    line.chars().take(300).collect()
}

/// What GStreamer has of CUDA on this driver.
fn elements(system: &System) -> String {
    let mut command = system.command(Path::new("gst-inspect-1.0"));
    let said = run::ask(command.arg("nvcodec")).unwrap_or_default();
    let names = said.lines().filter_map(|line| line.trim().split_once(": ")).map(|(name, _)| name);
    let names: Vec<&str> = names.filter(|name| name.starts_with("cuda")).collect();
    if names.is_empty() { "no element (nvcodec registers none)".into() } else { names.join(", ") }
}

/// Figures that the core's tests print.
fn figures(report: &mut Report, log: &mut File, system: &System) {
    let mut command = system.command(&system.tests.join(CORE));
    command.args(["figures::", "--ignored", "--nocapture", "--test-threads=1"]);
    match finished(command, MEASURES / 2, &system.results.join("output")) {
        Ok(Some((status, said))) => {
            let _ = writeln!(log, "== figures: {status}\n{said}");
            let figures = said.lines().filter_map(|line| Some(line.split_once("figure: ")?.1));
            report.figures(&figures.collect::<Vec<_>>(), status.success());
        }
        Ok(None) => report.figures(&[], false),
        Err(trouble) => report.figures(&[&trouble.to_string()], false),
    }
}

/// Processor time and latency of a frame from process to process.
fn hand_over(report: &mut Report, system: &System, results: &Path, began: Instant) {
    if began.elapsed() + Duration::from_secs(40) > WHOLE {
        report.hand_over(system.name, Err("no time was left".into()));
        return;
    }
    let words = ["--sizes", "1080p", "--modes", "60", "--receivers", "1", "--turns", "1", "--patience", "0"];
    let folder = results.join(format!("hand-over-{}", system.name));
    let measured = Options::device(&words)
        .and_then(|options| measure_cuda(&system.bench(results)?, &folder, &options))
        .map_err(|trouble| trouble.to_string());
    report.hand_over(system.name, measured);
}

/// The rules of the emulated driver, asked of this one.
fn rules(kit: &Path) -> Result<String, String> {
    let Some(python) = run::which("python3") else {
        return Err("no python3 on this machine, through whose ctypes they are asked".into());
    };
    let mut command = Command::new(python);
    command.arg("-B").arg(kit.join("tests/selftest.py"));
    match finished(command, ONE, &kit.join("report/output")).map_err(|trouble| trouble.to_string())? {
        Some((status, said)) if status.success() => Ok(said),
        Some((status, said)) => Err(format!("{said}\n{status}")),
        None => Err(format!("they were not through\nwithin {} s", ONE.as_secs())),
    }
}

/// Whether cuda-link's Python package is on this machine.
fn cuda_link() -> Option<String> {
    let script = "import importlib.metadata as m; print(m.version('cuda-link'))";
    run::ask(Command::new(run::which("python3")?).args(["-c", script]))
}
