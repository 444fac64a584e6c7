// SPDX-License-Identifier: MPL-2.0
//! The core's criterion benches: medians, and ratios to the plain copy measured beside them.

use std::path::Path;
use std::time::SystemTime;

use crate::fail;
use crate::run::{self, Outcome};

/// A bench of one of these names is the floor of those beside it: `read/plain` of `read/rows`.
const FLOORS: [&str; 2] = ["memcpy", "plain"];

struct Median {
    group: String,
    function: String,
    parameter: String,
    ns: f64,
    bytes: Option<f64>,
}

impl Median {
    fn is_floor_of(&self, other: &Median) -> bool {
        let split = |function: &str| match function.rsplit_once('/') {
            Some((kind, name)) => (kind.to_string(), name.to_string()),
            None => (String::new(), function.to_string()),
        };
        let (kind, name) = split(&self.function);
        FLOORS.contains(&name.as_str())
            && self.group == other.group
            && kind == split(&other.function).0
            && (self.parameter.is_empty() || self.parameter == other.parameter)
    }
}

pub fn run() -> Outcome {
    let start = SystemTime::now();
    run::check(run::cargo().args([
        "bench",
        "--locked",
        "--package",
        "tdlink-core",
        "--features",
        "test-util",
        "--benches",
    ]))?;
    let mut medians = Vec::new();
    collect(&run::target().join("criterion"), start, &mut medians);
    if medians.is_empty() {
        fail!("criterion left no estimates in {}", run::target().join("criterion").display());
    }
    medians.sort_by(|a, b| (&a.group, &a.parameter, &a.function).cmp(&(&b.group, &b.parameter, &b.function)));
    println!("\n{:<52} {:>10} {:>9} {:>9}", "bench", "median µs", "GB/s", "× memcpy");
    for median in &medians {
        let floor = medians.iter().find(|other| other.is_floor_of(median));
        let name = [&median.group, &median.function, &median.parameter];
        let name = name.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("/");
        let rate = median.bytes.map_or(String::new(), |bytes| format!("{:.2}", bytes / median.ns));
        let ratio = floor.map_or(String::new(), |floor| format!("{:.2}", median.ns / floor.ns));
        println!("{name:<52} {:>10.1} {rate:>9} {ratio:>9}", median.ns / 1e3);
    }
    Ok(())
}

/// Reads every `new/estimates.json` under `folder` that is younger than `start`.
fn collect(folder: &Path, start: SystemTime, medians: &mut Vec<Median>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if !path.is_dir() {
            continue;
        }
        let estimates = path.join("estimates.json");
        let fresh = estimates.metadata().and_then(|data| data.modified()).is_ok_and(|time| time >= start);
        if fresh && entry.file_name() == "new" {
            medians.extend(read(&estimates, &path.join("benchmark.json")));
        } else {
            collect(&path, start, medians);
        }
    }
}

fn read(estimates: &Path, benchmark: &Path) -> Option<Median> {
    let estimates = std::fs::read_to_string(estimates).ok()?;
    let benchmark = std::fs::read_to_string(benchmark).ok()?;
    let median = estimates.split_once("\"median\":")?.1;
    Some(Median {
        group: text(&benchmark, "group_id").unwrap_or_default(),
        function: text(&benchmark, "function_id").unwrap_or_default(),
        parameter: text(&benchmark, "value_str").unwrap_or_default(),
        ns: number(median, "point_estimate")?,
        bytes: number(&benchmark, "Bytes"),
    })
}

/// The string or number under a key of criterion's JSON, which has no escapes in the names that we give.
fn text(json: &str, key: &str) -> Option<String> {
    let value = json.split_once(&format!("\"{key}\":"))?.1.trim_start().strip_prefix('"')?;
    Some(value.split('"').next()?.to_string())
}

fn number(json: &str, key: &str) -> Option<f64> {
    let value = json.split_once(&format!("\"{key}\":"))?.1.trim_start();
    value.split([',', '}', ' ', '\n']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_plain_copy_of_the_same_kind() {
        let median = |function: &str, parameter: &str| Median {
            group: "4K/hot".into(),
            function: function.into(),
            parameter: parameter.into(),
            ns: 1.0,
            bytes: None,
        };
        assert!(median("read/plain", "").is_floor_of(&median("read/rows", "flipped")));
        assert!(!median("write/plain", "").is_floor_of(&median("read/rows", "flipped")));
        assert!(!median("read/loop", "").is_floor_of(&median("read/rows", "flipped")));
        assert!(!median("memcpy", "1080p").is_floor_of(&median("swap", "4K")));
        assert!(median("memcpy", "4K").is_floor_of(&median("swap", "4K")));
    }

    #[test]
    fn criterions_json_is_read() {
        let benchmark =
            r#"{"group_id":"flip","function_id":"copy","value_str":"1080p","throughput":{"Bytes":8294400},"x":1}"#;
        assert_eq!(text(benchmark, "value_str").as_deref(), Some("1080p"));
        assert_eq!(number(benchmark, "Bytes"), Some(8_294_400.0));
        assert_eq!(text(r#"{"function_id":null}"#, "function_id"), None);
        let estimates = r#"{"mean":{"point_estimate":9.0},"median":{"confidence_interval":{"x":1.0},"point_estimate":2.5e3,"standard_error":0.1}}"#;
        assert_eq!(number(estimates.split_once("\"median\":").unwrap().1, "point_estimate"), Some(2500.0));
    }
}
