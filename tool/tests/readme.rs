// SPDX-License-Identifier: MPL-2.0
//! The commands of the documentation are commands of this program. (Each looks for GStreamer anew, which takes Wine half a
//! minute, and on Windows none is another.)
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Command, Stdio};

/// What may end with 3, "failure", where these tests run: the words that the command begins with, what it then says, and why.
const MAY_FAIL: [(&str, &str, &str); 4] = [
    ("doctor", "", "a machine may have faults, which is what it is asked for"),
    ("setup", "no plugin", "the tool is tested without its package beside it"),
    ("", "there is no GStreamer", "the tool is tested without one, too"),
    ("", "does not know tdshmsrc", "the plugin need not be built for the tool's tests"),
];

/// Lines of ```` ```sh ```` blocks that begin with `tdlink`, without their comments.
fn commands(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let blocks = text.split("\n```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines = blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
    let lines = lines.filter_map(|line| line.strip_prefix("tdlink ").map(str::to_owned));
    lines.map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn every_command_of_the_documentation_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let home = std::env::temp_dir().join(format!("tdlink-readme-{}", std::process::id()));
    std::fs::create_dir_all(&home).expect("the temporary folder can be made");
    let mut count = 0;
    for page in ["README.md", "docs/pipelines.md", "docs/troubleshooting.md", "docs/obs.md", "docs/recording.md"] {
        for command in commands(&root.join(page)) {
            count += 1;
            let mut tdlink = Command::new(env!("CARGO_BIN_EXE_tdlink"));
            // Nothing is installed, recorded or played; a buffer that is not there is 1, and what cannot be understood 2.
            tdlink.args(command.split(' ')).stdin(Stdio::null());
            if !command.starts_with("doctor") {
                tdlink.arg("--print"); // which doctor, who changes nothing, has not
            }
            let output = tdlink.env("HOME", &home).current_dir(&home).output().expect("it starts");
            let said = String::from_utf8_lossy(&output.stderr);
            let may_fail = MAY_FAIL.iter().any(|(begin, says, _)| command.starts_with(begin) && said.contains(says));
            let code = output.status.code();
            assert!(
                matches!(code, Some(0 | 1)) || code == Some(3) && may_fail,
                "{page}: tdlink {command}: {code:?}, {said}"
            );
        }
    }
    std::fs::remove_dir_all(&home).expect("the temporary folder goes");
    assert!(count >= 14, "{count} commands: are the pages still read right?");
}
