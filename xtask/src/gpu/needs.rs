// SPDX-License-Identifier: MPL-2.0
//! Which tests want any CUDA driver, and which the emulated one, whose orders they give.

/// The tests of a source file that run on any driver, and those that need the emulated one. Each says so where it is
/// ignored.
pub fn of(source: &str, module: &str) -> (Vec<String>, Vec<String>) {
    let (mut any, mut emulated) = (Vec::new(), Vec::new());
    let mut list = None;
    for line in source.lines().map(str::trim) {
        if let Some(why) = line.strip_prefix("#[ignore = \"needs ") {
            list = match why {
                why if why.starts_with("the emulated ") => Some(&mut emulated),
                why if why.starts_with("a CUDA driver") => Some(&mut any),
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
            #[ignore = \"the other process\"]
            fn peer() {}
            #[test]
            fn plain() {}";
        assert_eq!(of(source, "m"), (vec!["m::one".to_string()], vec!["m::two".to_string()]));
        assert_eq!(of(source, "").0, ["one"]);
    }

    /// A list that is empty would be a kit that tests nothing.
    #[test]
    fn the_tests_of_the_kit_are_found() {
        for (_, _, sources) in super::super::pack::TESTS {
            let count =
                |source: &&str| of(&std::fs::read_to_string(crate::run::root().join(source)).unwrap(), "").0.len();
            assert!(sources.iter().map(count).sum::<usize>() > 0, "{sources:?}");
        }
    }
}
