// SPDX-License-Identifier: MPL-2.0
//! Graphs: work that is noted down once and queued many times. Only what one stream captured, in its order.

use std::sync::Arc;

use super::event::{Event, INTERPROCESS};
use super::kernels::Launch;
use super::pages::Backing;
use super::work::{Copy, Fill, HostCall, Place};
use crate::code::{Code, Outcome};

/// One piece of work before it has a place in a queue.
#[derive(Clone, Debug)]
pub enum Node {
    Copy(Copy),
    Fill(Fill),
    Launch(Launch),
    Call(HostCall),
    Drop(Arc<Backing>),
    /// `external`: a node of its own when captured, not a mark inside the capture.
    Record {
        event: Arc<Event>,
        external: bool,
    },
    Wait {
        event: Arc<Event>,
        external: bool,
    },
}

/// A stream's notes while it is captured.
#[derive(Debug, Default)]
pub struct Capture {
    pub graph: usize,
    nodes: Vec<Node>,
    spoilt: bool,
}

impl Capture {
    pub fn new(graph: usize) -> Capture {
        Capture { graph, ..Capture::default() }
    }

    pub fn add(&mut self, node: Node) -> Outcome {
        let allowed = match &node {
            Node::Record { event, external: false } if event.flags & INTERPROCESS != 0 => {
                Err(Code::CAPTURE_UNSUPPORTED)
            }
            // A mark that only other streams of the capture could wait for.
            Node::Record { external: false, .. } => return Ok(()),
            Node::Wait { external: false, .. } | Node::Drop(_) => Err(Code::CAPTURE_UNSUPPORTED),
            // Its bytes would be taken now and not at the launch.
            Node::Copy(Copy { from: Place::Staged(_), .. }) => Err(Code::CAPTURE_UNSUPPORTED),
            _ => Ok(()),
        };
        self.spoilt |= allowed.is_err();
        allowed.map(|()| self.nodes.push(node))
    }

    pub fn spoil(&mut self) {
        self.spoilt = true;
    }

    pub fn finish(self) -> Outcome<Vec<Node>> {
        if self.spoilt { Err(Code::CAPTURE_INVALIDATED) } else { Ok(self.nodes) }
    }
}

/// What was captured, with the handle of each node.
#[derive(Clone, Debug)]
pub struct Graph {
    pub context: usize,
    pub nodes: Vec<(usize, Node)>,
}
