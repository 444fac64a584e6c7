// SPDX-License-Identifier: MPL-2.0
//! What README tells a user to type is what works: every launch line in it makes a pipeline.

use gst::prelude::*;

const README: &str = include_str!("../README.md");

/// The commands in README's ```` ```sh ```` blocks, one each; lines that end in a backslash are joined to the next.
fn commands() -> Vec<String> {
    let blocks = README.split("\n```").skip(1).step_by(2);
    let shell = blocks.filter_map(|block| block.strip_prefix("sh\n"));
    shell.flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_string).collect::<Vec<_>>()).collect()
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

/// The pipelines: what stands behind `gst-launch-1.0` and its options.
fn pipelines() -> Vec<Vec<String>> {
    let commands = commands();
    let launches = commands.iter().filter(|command| command.starts_with("gst-launch-1.0 "));
    launches
        .map(|command| words(command).into_iter().skip(1).skip_while(|word| word.starts_with('-')).collect())
        .collect()
}

#[test]
fn every_launch_line_makes_a_pipeline() {
    gst::init().unwrap();
    gsttdlink::plugin_register_static().unwrap();
    let pipelines = pipelines();
    assert!(pipelines.len() >= 6, "README has only {} launch lines: is it still read right?", pipelines.len());
    for pipeline in pipelines {
        let words: Vec<&str> = pipeline.iter().map(String::as_str).collect();
        let parsed = gst::parse::launchv_full(&words, None, gst::ParseFlags::FATAL_ERRORS);
        let made = parsed.unwrap_or_else(|err| panic!("{}: {err}", words.join(" ")));
        let bin = made.downcast::<gst::Bin>().unwrap();
        let ours = bin.iterate_recurse().into_iter().flatten().any(|element| {
            let factory = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
            factory.starts_with("tdshm") || factory.starts_with("tdcudaipc") || factory == "uridecodebin"
        });
        assert!(ours, "{}: none of our elements in it", words.join(" "));
    }
}

#[test]
fn what_is_encoded_is_pinned_to_a_format_that_players_take() {
    for pipeline in pipelines() {
        let Some(encoder) = pipeline.iter().position(|word| word == "x264enc") else { continue };
        let caps = encoder.checked_sub(2).map(|before| pipeline[before].as_str()).unwrap_or_default();
        assert!(caps.starts_with("video/x-raw,format=I420"), "{}: {caps:?} in front of x264enc", pipeline.join(" "));
    }
}

#[test]
fn files_are_closed_properly_on_interrupt() {
    let commands = commands();
    let files = commands.iter().filter(|command| command.contains("filesink"));
    for command in files {
        assert!(command.starts_with("gst-launch-1.0 -e "), "{command}: without -e, Ctrl-C leaves a broken file");
    }
}

#[test]
fn words_are_split_as_a_shell_does() {
    let split = words(r#"a  shm-name="x>>y z" ! 'b c'd # comment"#);
    assert_eq!(split, ["a", "shm-name=x>>y z", "!", "b cd"]);
}
