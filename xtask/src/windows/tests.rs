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
const AT_A_TIME: usize = 3;
/// Threads of a program whose tests start no processes; elsewhere each test has the program for itself.
const THREADS: &str = "4";

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
    let build = || {
        let mut cargo = kit.cargo(Kit::TARGET);
        cargo.args(["build", "--locked"]).args(TESTED).args(["--lib", "--bins", "--tests"]);
        cargo
    };
    run::check(&mut build())?;
    // Everything is there now: cargo only says where.
    let said = run::ask(build().arg("--message-format=json")).unwrap_or_default();
    let programs: Vec<Program> = said.lines().filter_map(program).collect();
    if programs.is_empty() { fail!("cargo does not say where it built the tests") } else { Ok(programs) }
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
