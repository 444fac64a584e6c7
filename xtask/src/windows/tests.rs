// SPDX-License-Identifier: MPL-2.0
//! The tests under Wine: one build of all of them, then some programs at a time. Most of their time they wait for one
//! another's processes, and a process of Wine's takes long to start.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use super::{Kit, TESTED};
use crate::fail;
use crate::run::{self, Outcome, Trouble, say};

/// Programs of tests that run at a time.
const AT_A_TIME: usize = 4;
/// Threads of a program whose tests start no processes; elsewhere each test has the program for itself.
const THREADS: &str = "4";

/// Folders of the packages that are built.
const FOLDERS: [&str; 3] = ["", "core", "tool"];

/// One program of tests.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// The folder of its package, in which it runs.
    folder: PathBuf,
    name: String,
    file: PathBuf,
    /// Whether the tests are those within the sources.
    within: bool,
}

/// Builds the tests, and the plugin and the tool that they run.
pub fn build(kit: &Kit) -> Outcome<Vec<Program>> {
    let mut cargo = kit.cargo(Kit::TARGET);
    cargo.args(["test", "--no-run", "--locked"]).args(TESTED).args(["--lib", "--bins"]);
    for name in FOLDERS.into_iter().map(for_windows).collect::<Outcome<Vec<_>>>()?.into_iter().flatten() {
        cargo.args(["--test", &name]);
    }
    say(format_args!("$ {}", run::shown(&cargo)));
    cargo.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = cargo.output().map_err(|err| Trouble::Machine(format!("cannot start cargo: {err}")))?;
    if !output.status.success() {
        fail!("the tests do not build for Windows");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let programs: Vec<Program> = said.lines().filter_map(program).collect();
    if programs.is_empty() { fail!("cargo does not say where it built the tests") } else { Ok(programs) }
}

/// Names of a package's programs of tests but those of which nothing is left on Windows: to link them takes minutes.
fn for_windows(folder: &str) -> Outcome<Vec<String>> {
    let tests = run::root().join(folder).join("tests");
    let failed = |err: std::io::Error| Trouble::Machine(format!("{}: {err}", tests.display()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&tests).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let main = if path.is_dir() { path.join("main.rs") } else { path.clone() };
        let is_program = main.extension().is_some_and(|ending| ending == "rs") && main.is_file();
        if let (true, Some(name)) = (is_program, path.file_stem()) {
            let text = std::fs::read_to_string(&main).map_err(failed)?;
            if !is_for_linux(&text) {
                names.push(name.to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Whether all of a program is left out elsewhere.
fn is_for_linux(text: &str) -> bool {
    text.lines().any(|line| line == "#![cfg(target_os = \"linux\")]")
}

/// What a line of cargo's messages says of a program of tests.
fn program(line: &str) -> Option<Program> {
    let text = |name: &str| line.split_once(&format!("\"{name}\":\""))?.1.split('"').next();
    line.contains("\"test\":true},\"features\"").then_some(())?;
    let target = line.split_once("\"target\":{")?.1;
    let within = !target.starts_with("\"kind\":[\"test\"]");
    Some(Program {
        folder: Path::new(text("manifest_path")?).parent()?.to_owned(),
        name: target.split_once("\"name\":\"")?.1.split('"').next()?.to_owned(),
        file: PathBuf::from(text("executable")?),
        within,
    })
}

impl Program {
    /// Whether it is one of a package's, by the step's name.
    pub fn is_of(&self, step: &str) -> bool {
        let package = match step {
            "plugin" => run::root().to_owned(),
            other => run::root().join(other),
        };
        self.folder == package
    }

    fn command(&self, kit: &Kit) -> Command {
        let mut command = kit.test(&self.file);
        let threads = if self.within { THREADS } else { "1" };
        command.current_dir(&self.folder).arg(format!("--test-threads={threads}"));
        // A warning of GLib is a fault of ours: let it end the test that caused it.
        command.env("G_DEBUG", "fatal_warnings");
        command
    }
}

/// Runs them all, and fails if one fails or none ran a test.
pub fn run(kit: &Kit, programs: &[Program]) -> Outcome {
    kit.begin()?;
    let next = Mutex::new(programs.iter());
    let results = Mutex::new((0, Vec::new()));
    let work = || {
        while let Some(program) = next.lock().ok().and_then(|mut next| next.next()) {
            let began = Instant::now();
            let ended = heard(&mut program.command(kit));
            let Ok(mut results) = results.lock() else { return };
            match ended {
                Ok((ended_well, text)) => {
                    print!("{text}");
                    let count: u32 = text.lines().filter_map(passed).sum();
                    let seconds = began.elapsed().as_secs();
                    say(format_args!("{}: {count} tests passed under Wine in {seconds} s", program.name));
                    results.0 += count;
                    if !ended_well {
                        say(format_args!("{} FAILS under Wine", program.name));
                        results.1.push(Trouble::Failed(format!("{} fails under Wine", program.name)));
                    }
                }
                Err(trouble) => results.1.push(trouble),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(work);
        }
    });
    let Ok((count, troubles)) = results.into_inner() else { fail!("a test's result was lost") };
    say(format_args!("{count} tests passed under Wine"));
    match troubles.into_iter().next() {
        Some(trouble) => Err(trouble),
        None if count == 0 => Err(Trouble::Failed("no test ran under Wine".into())),
        None => Ok(()),
    }
}

/// Whether a command ends well, and all that it prints.
fn heard(command: &mut Command) -> Outcome<(bool, String)> {
    say(format_args!("$ {}", run::shown(command)));
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|err| Trouble::Machine(format!("cannot start {}: {err}", run::shown(command))))?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).replace('\r', ""));
    Ok((output.status.success(), text.concat()))
}

fn passed(line: &str) -> Option<u32> {
    line.strip_prefix("test result: ")?.split_once(". ")?.1.split_once(" passed")?.0.parse().ok()
}

#[cfg(test)]
mod tests_of_this {
    use super::*;

    #[test]
    fn passed_tests_are_counted() {
        assert_eq!(passed("test result: ok. 12 passed; 0 failed; 1 ignored"), Some(12));
        assert_eq!(passed("test result: FAILED. 3 passed; 2 failed"), Some(3));
        assert_eq!(passed("test a ... ok"), None);
    }

    #[test]
    fn what_is_for_linux_alone_is_not_built() {
        assert!(is_for_linux("//! x\n#![cfg(target_os = \"linux\")]\n"));
        assert!(!is_for_linux("#![cfg(any(target_os = \"linux\", windows))]\n#[cfg(target_os = \"linux\")]\nmod x;\n"));
        let all: Vec<String> = FOLDERS.into_iter().flat_map(|folder| for_windows(folder).unwrap()).collect();
        assert!(all.iter().any(|name| name == "windows") && !all.iter().any(|name| name == "leaks"), "{all:?}");
    }

    #[test]
    fn a_program_of_tests_is_told_from_a_program() {
        let line = |kind: &str, test: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"/x/tool/Cargo.toml\",\"target\":{{\"kind\":[\"{kind}\"],\
                 \"crate_types\":[\"bin\"],\"name\":\"cli\",\"src_path\":\"/x/tool/tests/cli.rs\",\"test\":true}},\
                 \"profile\":{{\"opt_level\":\"0\",\"test\":{test}}},\"features\":[],\"executable\":\"/x/cli.exe\"}}"
            )
        };
        let wanted = |within| {
            let (folder, name) = (PathBuf::from("/x/tool"), "cli".to_owned());
            Some(Program { folder, name, file: "/x/cli.exe".into(), within })
        };
        assert_eq!(program(&line("test", "true")), wanted(false));
        assert_eq!(program(&line("bin", "true")), wanted(true));
        assert_eq!(program(&line("bin", "false")), None);
    }
}
