// SPDX-License-Identifier: MPL-2.0
//! What README and docs/ tell a user to type is what works: every launch line in them makes a pipeline, and what can run on
//! this machine is run.

mod common;

#[cfg(target_os = "linux")]
mod running;

use std::path::{Path, PathBuf};

/// Elements that a machine may lack: hardware's, other systems', and plugins that Debian has in packages of their own, or
/// not at all. A line of docs/ with one of them is named in the output. README has none.
#[cfg(target_os = "linux")]
const MAY_LACK: [&str; 6] = ["mfh264enc", "ndisink", "nvh264enc", "rtspclientsink", "wasapi2src", "whipclientsink"];

/// A page of the documentation.
struct Page {
    name: String,
    text: String,
}

/// README, and every page that tells a user something.
fn pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = vec![root.join("README.md")];
    for folder in ["docs", "docs/protocol", "examples/touchdesigner", "packaging"] {
        let here = std::fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let here = here.map(|entry| entry.expect("it can be listed").path());
        files.extend(here.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    files.sort();
    let page = |path: PathBuf| Page {
        name: path.strip_prefix(root).expect("below the root").display().to_string(),
        text: std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    };
    files.into_iter().map(page).collect()
}

impl Page {
    /// The commands in the page's ```` ```sh ```` blocks, one each; lines that end in a backslash are joined to the next.
    /// What is typed into cmd stands further in.
    fn commands(&self) -> Vec<String> {
        if self.name.ends_with("-windows.md") {
            return self.text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_string).collect();
        }
        let blocks = self.text.split("\n```").skip(1).step_by(2);
        let shell = blocks.filter_map(|block| block.strip_prefix("sh\n"));
        shell.flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_string).collect::<Vec<_>>()).collect()
    }

    /// The pipelines: what stands behind `gst-launch-1.0` and its options.
    fn pipelines(&self) -> Vec<Vec<String>> {
        let commands = self.commands();
        let launches = commands.iter().filter(|command| command.starts_with("gst-launch-1.0 "));
        launches
            .map(|command| words(command).into_iter().skip(1).skip_while(|word| word.starts_with('-')).collect())
            .collect()
    }
}

/// A command's words as a POSIX shell splits them, without expansions; `#` begins a comment.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in command.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '>' | '<' | '|' | '&' | ';' | '*' | '(' | ')' | '$' | '\\') => {
                panic!("{command:?}: an unquoted {character:?} means something else to a shell")
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    assert_eq!(quote, None, "{command:?}: a quote is left open");
    words.extend(word);
    words
}

#[cfg(target_os = "linux")] // no x264enc in the wheels that the tests use
#[test]
fn every_launch_line_makes_a_pipeline() {
    use gst::prelude::*;

    common::init();
    let mut made = 0;
    for page in pages() {
        for pipeline in page.pipelines() {
            let line = format!("{}: {}", page.name, pipeline.join(" "));
            let parsed = match running::parse(&pipeline) {
                Ok(parsed) => parsed,
                Err(lacking) => {
                    let known = !lacking.is_empty() && lacking.iter().all(|name| MAY_LACK.contains(&name.as_str()));
                    assert!(known && page.name != "README.md", "{line}: there are no such elements: {lacking:?}");
                    println!("NOT PARSED, for want of {}: {line}", lacking.join(", "));
                    continue;
                }
            };
            made += 1;
            let ours = parsed.iterate_recurse().into_iter().flatten().any(|element| {
                let factory = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
                factory.starts_with("tdshm") || factory.starts_with("tdcudaipc") || factory == "uridecodebin"
            });
            assert!(ours, "{line}: none of our elements in it");
        }
    }
    assert!(made >= 25, "only {made} launch lines: are the pages still read right?");
}

#[cfg(target_os = "linux")]
#[test]
fn what_can_run_here_runs() {
    common::init();
    let (mut run, mut number) = (0, 0);
    for page in pages() {
        for pipeline in page.pipelines() {
            number += 1;
            match running::run(&pipeline, number) {
                Ok(()) => run += 1,
                Err(why) => println!("NOT RUN, {why}: {}: {}", page.name, pipeline.join(" ")),
            }
        }
    }
    println!("{run} of {number} lines were run");
    assert!(run >= 12, "only {run} of {number} lines could be run");
}

/// Lines that the pages call tried are among those that run, and no others say so.
#[cfg(target_os = "linux")]
#[test]
fn what_a_page_calls_tried_is_run() {
    common::init();
    let page = pages().into_iter().find(|page| page.name == "docs/pipelines.md").expect("it is there");
    // Text in front of a block, and the block.
    let parts: Vec<&str> = page.text.split("\n```").collect();
    for pair in parts.chunks_exact(2) {
        let [text, block] = pair else { unreachable!("chunks of two") };
        let said = text.rsplit("\n\n").find(|paragraph| !paragraph.trim().is_empty()).unwrap_or_default();
        let block = Page { name: page.name.clone(), text: format!("\n```{block}\n```") };
        for pipeline in block.pipelines() {
            assert_eq!(
                said.to_lowercase().contains("**tried"),
                running::hinders(&pipeline).is_none(),
                "{said}\n{}",
                pipeline.join(" ")
            );
        }
    }
}

#[test]
fn what_is_encoded_is_pinned_to_a_format_that_players_take() {
    for pipeline in pages().iter().flat_map(Page::pipelines) {
        let Some(encoder) = pipeline.iter().position(|word| word == "x264enc") else { continue };
        let caps = encoder.checked_sub(2).map(|before| pipeline[before].as_str()).unwrap_or_default();
        assert!(caps.starts_with("video/x-raw,format=I420"), "{}: {caps:?} in front of x264enc", pipeline.join(" "));
    }
}

#[test]
fn files_are_closed_properly_on_interrupt() {
    for command in pages().iter().flat_map(Page::commands) {
        let writes = ["filesink", "splitmuxsink", "hlssink"].iter().any(|sink| command.contains(sink));
        let closes = !writes || command.starts_with("gst-launch-1.0 -e ");
        assert!(closes, "{command}: without -e, Ctrl-C leaves a broken file");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in pages() {
        let folder = root.join(&page.name).parent().expect("a folder").to_owned();
        for rest in page.text.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                assert!(folder.join(target).exists(), "{}: ({target}) leads nowhere", page.name);
            }
        }
    }
}

#[test]
fn words_are_split_as_a_shell_does() {
    let split = words(r#"a  shm-name="x>>y z" ! 'b c'd # comment"#);
    assert_eq!(split, ["a", "shm-name=x>>y z", "!", "b cd"]);
}
