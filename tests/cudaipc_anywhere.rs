// SPDX-License-Identifier: MPL-2.0
//! What the CUDA IPC elements are on a machine without a GPU: there, inspectable, and clear about what is missing.
#![cfg(target_os = "linux")]

mod common;

use common::run::Run;
use common::{PATIENCE, init};
use gst::prelude::*;

const ELEMENTS: [&str; 2] = ["tdcudaipcsink", "tdcudaipcsrc"];

#[test]
fn elements_are_there_and_tell_of_both_kinds_of_memory() {
    init();
    for name in ELEMENTS {
        let factory = gst::ElementFactory::find(name).expect("the element is registered");
        assert_eq!(factory.rank(), gst::Rank::NONE);
        let template = factory.static_pad_templates().iter().next().expect("it has a pad").caps();
        let of = |feature: &str| {
            let with = |at: &u32| template.features(*at as usize).is_some_and(|features| features.contains(feature));
            (0..template.size() as u32).filter(with).count()
        };
        assert_eq!((of("memory:CUDAMemory"), of("memory:SystemMemory")), (1, 1), "{template}");
        let element = factory.create().build().expect("it can be made");
        for spec in element.list_properties() {
            assert!(spec.blurb().is_some_and(|blurb| !blurb.is_empty()), "{name}.{}", spec.name());
        }
    }
}

#[test]
fn defaults_are_what_touchdesigner_uses() {
    init();
    let make = |name: &str| gst::ElementFactory::make(name).build().expect("it can be made");
    assert_eq!(make("tdcudaipcsink").property::<String>("shm-name"), "cudalink_ipc_Python>>TD");
    assert_eq!(make("tdcudaipcsrc").property::<String>("shm-name"), "cudalink_ipc_TD>>Python");
    assert_eq!(make("tdcudaipcsink").property::<i32>("slots"), 3);
    let nick = |element: &gst::Element, name: &str| {
        let value = element.property_value(name);
        let (_, value) = gst::glib::EnumValue::from_value(&value).expect("an enum");
        value.nick().to_string()
    };
    assert_eq!(nick(&make("tdcudaipcsink"), "origin"), "bottom-left");
    assert_eq!(nick(&make("tdcudaipcsrc"), "io-mode"), "copy");
    assert_eq!(nick(&make("tdcudaipcsrc"), "channel-order"), "auto");
    let stats = make("tdcudaipcsink").property::<gst::Structure>("stats");
    for field in ["frames", "frames-copied", "frames-zero-copy", "dropped", "clients", "average-rate", "rendered"] {
        assert!(stats.has_field(field), "{field} in {stats}");
    }
    let stats = make("tdcudaipcsrc").property::<gst::Structure>("stats");
    for field in
        ["frames", "repeated", "skipped", "torn", "overwritten", "reattached", "last-frame-age-ms", "latency-ns"]
    {
        assert!(stats.has_field(field), "{field} in {stats}");
    }
}

#[test]
fn a_uri_names_the_ring_and_its_options() {
    init();
    let uri = "tdcudaipc://cudalink_ipc_TD%3E%3EPython?io-mode=import&origin=top-left";
    let source = gst::Element::make_from_uri(gst::URIType::Src, uri, None).expect("the scheme is ours");
    assert_eq!(source.factory().map(|factory| factory.name().to_string()).as_deref(), Some("tdcudaipcsrc"));
    assert_eq!(source.property::<String>("shm-name"), "cudalink_ipc_TD>>Python");
    let handler = source.dynamic_cast::<gst::URIHandler>().expect("it handles URIs");
    assert_eq!(handler.uri().as_deref(), Some(uri));
    let wrong = gst::Element::make_from_uri(gst::URIType::Src, "tdcudaipc://a?slots=3", None);
    assert!(wrong.expect_err("a source has no slots").message().contains("io-mode"));
}

#[test]
fn a_name_that_cannot_be_is_an_error_that_says_so() {
    for pipeline in ["fakesrc ! tdcudaipcsink shm-name=a/b", "tdcudaipcsrc shm-name=a/b ! fakesink"] {
        let run = Run::playing(pipeline);
        let error = run.wait_error(PATIENCE);
        assert!(error.contains("shm-name=\"a/b\""), "{pipeline}: {error}");
    }
}

#[test]
fn without_a_driver_a_start_fails_and_says_what_is_missing() {
    if tdlink_core::cuda::driver().is_ok() {
        eprintln!("not tested: this machine has a CUDA driver");
        return;
    }
    for pipeline in ["videotestsrc ! tdcudaipcsink", "tdcudaipcsrc ! fakesink"] {
        let run = Run::playing(pipeline);
        let error = run.wait_error(PATIENCE);
        assert!(error.contains("no NVIDIA driver") && error.contains("install"), "{pipeline}: {error}");
        run.stop();
    }
}
