// SPDX-License-Identifier: MPL-2.0
//! `tdlink completions` and `tdlink man`: made from the command line's own description.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `completions`
#[derive(Debug, clap::Args)]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// Arguments of `man`
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write one page for each command into this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub dir: Option<PathBuf>,
}

/// Prints a completion script.
pub fn completions(args: CompletionArgs, out: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tdlink", &mut script);
    out.text("a script", &String::from_utf8_lossy(&script))
}

/// Prints the manual page, or writes all pages.
pub fn man(args: ManArgs, out: &mut Output) -> Result<(), Failure> {
    let refused = |error: std::io::Error| Failure::Failed(format!("the manual cannot be written: {error}"));
    let Some(dir) = args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(refused)?;
        return out.text("the page", &String::from_utf8_lossy(&page));
    };
    std::fs::create_dir_all(&dir).map_err(refused)?;
    clap_mangen::generate_to(Cli::command(), &dir).map_err(refused)?;
    out.value(&json!({ "directory": dir.display().to_string() }))?;
    out.line(format_args!("{}: the pages of all commands", dir.display()))
}
