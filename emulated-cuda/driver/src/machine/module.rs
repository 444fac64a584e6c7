// SPDX-License-Identifier: MPL-2.0
//! Modules: which kernels a PTX text declares, with which parameters. The code in it is never run.

use std::sync::Arc;

use super::kernels::Kernel;
use crate::code::{Code, Outcome};

#[derive(Debug)]
pub struct Module {
    pub context: usize,
    entries: Vec<Entry>,
}

/// One kernel as the text declares it.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    /// Bytes of each parameter.
    parameters: Vec<usize>,
}

/// A kernel of a loaded module that has a twin here.
#[derive(Clone, Debug)]
pub struct Function {
    pub context: usize,
    pub module: Arc<Module>,
    pub kernel: &'static Kernel,
}

impl Module {
    pub fn load(context: usize, image: &[u8]) -> Outcome<Module> {
        if image.starts_with(b"\x7fELF") || image.starts_with(&[0x50, 0xed, 0x55, 0xba]) {
            // Machine code of a real device.
            return Err(Code::NO_BINARY_FOR_GPU);
        }
        let text = std::str::from_utf8(image).map_err(|_| Code::INVALID_IMAGE)?;
        let text = without_comments(text);
        if !text.contains(".version") || !text.contains(".target") {
            return Err(Code::INVALID_PTX);
        }
        Ok(Module { context, entries: entries(&text).ok_or(Code::INVALID_PTX)? })
    }

    /// The twin of a kernel. Another parameter list than the twin's is an error: the two would drift apart unseen.
    pub fn function(&self, name: &str) -> Outcome<&'static Kernel> {
        let entry = self.entries.iter().find(|entry| entry.name == name).ok_or(Code::NOT_FOUND)?;
        let Some(kernel) = Kernel::named(name) else {
            eprintln!("emulated CUDA driver: the kernel {name} has no twin here");
            return Err(Code::NOT_FOUND);
        };
        if kernel.parameters != entry.parameters {
            eprintln!(
                "emulated CUDA driver: {name} takes parameters of {:?} bytes in the module, of {:?} bytes here",
                entry.parameters, kernel.parameters
            );
            return Err(Code::INVALID_IMAGE);
        }
        Ok(kernel)
    }
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("/") {
        let (before, comment) = rest.split_at(at);
        out.push_str(before);
        let end = match comment.as_bytes().get(1) {
            Some(b'/') => comment.find('\n').unwrap_or(comment.len()),
            Some(b'*') => comment.find("*/").map_or(comment.len(), |end| end + 2),
            _ => {
                out.push('/');
                1
            }
        };
        rest = &comment[end..];
    }
    out.push_str(rest);
    out
}

/// Every `.entry NAME (.param .TYPE NAME, ...)`.
fn entries(text: &str) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    for declaration in text.split(".entry").skip(1) {
        let head = declaration.split(['{', ';']).next()?;
        let (name, list) = match head.split_once('(') {
            Some((name, rest)) => (name, rest.split(')').next()?),
            None => (head, ""),
        };
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return None;
        }
        let parameters = list.split(',').map(str::trim).filter(|parameter| !parameter.is_empty());
        let parameters = parameters.map(parameter_size).collect::<Option<_>>()?;
        entries.push(Entry { name: name.into(), parameters });
    }
    Some(entries)
}

/// Bytes of `.param .u32 name` or `.param .align 4 .b8 name[12]`.
fn parameter_size(text: &str) -> Option<usize> {
    let mut words = text.strip_prefix(".param")?.split_whitespace().filter(|word| !matches!(*word, ".ptr" | ".global"));
    let mut unit = None;
    let mut last = "";
    while let Some(word) = words.next() {
        match word {
            ".align" => drop(words.next()?.parse::<usize>().ok()?),
            _ if word.starts_with('.') => unit = Some(word.trim_start_matches(|c: char| !c.is_ascii_digit())),
            _ => last = word,
        }
    }
    let bits: usize = unit?.parse().ok()?;
    let count = match last.split_once('[') {
        Some((_, count)) => count.trim_end_matches(']').parse().ok()?,
        None => 1,
    };
    Some(bits / 8 * count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"// .entry not_me (
.version 6.0
.target sm_50
.address_size 64
.visible .entry tdlink_rows_u8(
    .param .u64 a, .param .u64 b, /* , .param .u64 no */
    .param .u32 c, .param .u32 d, .param .u32 e, .param .u32 f, .param .u32 g, .param .u32 h
)
{ ret; }
.visible .entry other(.param .align 4 .b8 other_param_0[12]) { ret; }
.entry none { ret; }";

    #[test]
    fn kernels_and_their_parameters_are_read_from_the_text() {
        let module = Module::load(1, TEXT).unwrap();
        let found: Vec<_> =
            module.entries.iter().map(|entry| (entry.name.as_str(), entry.parameters.clone())).collect();
        let rows = vec![8, 8, 4, 4, 4, 4, 4, 4];
        assert_eq!(found, [("tdlink_rows_u8", rows), ("other", vec![12]), ("none", vec![])]);
        assert!(module.function("tdlink_rows_u8").is_ok());
        assert_eq!(module.function("other").unwrap_err(), Code::NOT_FOUND);
        assert_eq!(module.function("not_me").unwrap_err(), Code::NOT_FOUND);
    }

    #[test]
    fn what_is_no_text_of_a_module_is_refused() {
        assert_eq!(Module::load(1, b"\x7fELF\x02").unwrap_err(), Code::NO_BINARY_FOR_GPU);
        assert_eq!(Module::load(1, b"hello").unwrap_err(), Code::INVALID_PTX);
        assert_eq!(Module::load(1, &[0xff, 0xfe]).unwrap_err(), Code::INVALID_IMAGE);
    }

    #[test]
    fn a_kernel_whose_parameters_differ_from_its_twins_is_refused() {
        let text = b".version 6.0\n.target sm_50\n.entry tdlink_rows_u8(.param .u64 a) { ret; }";
        assert_eq!(Module::load(1, text).unwrap().function("tdlink_rows_u8").unwrap_err(), Code::INVALID_IMAGE);
    }
}
