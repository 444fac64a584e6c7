// SPDX-License-Identifier: MPL-2.0
//! Which tests want any CUDA driver, and which the emulated one, whose orders they give.

use std::path::{Path, PathBuf};

use super::failed;
use crate::run::{self, Outcome};

/// The tests of a program that run on any driver, and those that need the emulated one. The files of a folder are the
/// program's modules.
pub fn in_all(sources: &[&str]) -> Outcome<(Vec<String>, Vec<String>)> {
    let (mut any, mut emulated) = (Vec::new(), Vec::new());
    for source in sources {
        let path = run::root().join(source);
        for (file, module) in files(&path)? {
            let text = std::fs::read_to_string(&file).map_err(|err| failed(&file, &err))?;
            let (more_any, more_emulated) = of(&text, &module);
            any.extend(more_any);
            emulated.extend(more_emulated);
        }
    }
    Ok((any, emulated))
}

/// A program's source files, in order, and what their tests' names begin with.
fn files(path: &Path) -> Outcome<Vec<(PathBuf, String)>> {
    if !path.is_dir() {
        return Ok(vec![(path.to_owned(), String::new())]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|err| failed(path, &err))? {
        let file = entry.map_err(|err| failed(path, &err))?.path();
        let module = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if file.extension().is_some_and(|extension| extension == "rs") && module != "main" {
            files.push((file, module));
        }
    }
    files.sort();
    Ok(files)
}

/// The tests of a source file that run on any driver, and those that need the emulated one. Each says so where it is
/// ignored. What needs something beside a driver (a CUDA runtime, Python) is not for the kit.
fn of(source: &str, module: &str) -> (Vec<String>, Vec<String>) {
    let (mut any, mut emulated) = (Vec::new(), Vec::new());
    let mut list = None;
    for line in source.lines().map(str::trim) {
        if let Some(why) = line.strip_prefix("#[ignore = \"needs ") {
            list = match why {
                why if why.starts_with("the emulated ") => Some(&mut emulated),
                why if ["a CUDA driver\"", "a CUDA driver:"].iter().any(|alone| why.starts_with(alone)) => {
                    Some(&mut any)
                }
                _ => None,
            };
        } else if let Some(rest) = line.strip_prefix("fn ")
            && let (Some(list), Some(name)) = (list.take(), rest.split('(').next())
        {
            list.push(if module.is_empty() { name.to_string() } else { format!("{module}::{name}") });
        }
    }
    (any, emulated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_listed_by_what_it_says_it_needs() {
        let source = "
            #[test]
            #[ignore = \"needs a CUDA driver: how\"]
            fn one() {}
            fn helper() {}
            #[test]
            #[ignore = \"needs the emulated driver\"]
            fn two() {}
            #[test]
            #[ignore = \"needs a CUDA driver and runtime\"]
            fn three() {}
            #[test]
            #[ignore = \"the other process\"]
            fn peer() {}
            #[test]
            fn plain() {}";
        assert_eq!(of(source, "m"), (vec!["m::one".to_string()], vec!["m::two".to_string()]));
        assert_eq!(of(source, "").0, ["one"]);
    }

    /// A file that is forgotten would be tests that no card ever runs. Those of the tool are none of the kit: they start
    /// its program by the path at which it was built.
    #[test]
    fn every_test_that_wants_only_a_driver_is_in_the_kit() {
        let mut found = 0;
        for (package, folder) in [("gst-plugin-tdlink", "tests"), ("tdlink-core", "core/tests")] {
            for entry in std::fs::read_dir(run::root().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let source = format!("{folder}/{name}");
                let (any, emulated) = in_all(&[&source]).unwrap();
                if any.is_empty() && emulated.is_empty() {
                    continue;
                }
                found += 1;
                let program = name.trim_end_matches(".rs");
                let listed = super::super::pack::TESTS.iter().any(|(options, listed, sources)| {
                    *listed == program && sources.contains(&source.as_str()) && options.contains(&package)
                });
                assert!(listed, "{source}: {any:?} {emulated:?}");
            }
        }
        assert!(found >= 5, "{found}");
    }

    /// A list that is empty would be a kit that tests nothing.
    #[test]
    fn the_tests_of_the_kit_are_found() {
        for (_, _, sources) in super::super::pack::TESTS {
            let (any, _) = in_all(sources).unwrap();
            assert!(!any.is_empty(), "{sources:?}");
            let is_named = |name: &String| sources.iter().all(|source| source.ends_with(".rs")) != name.contains("::");
            assert!(any.iter().all(is_named), "{any:?}");
        }
    }
}
