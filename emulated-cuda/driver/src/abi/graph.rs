// SPDX-License-Identifier: MPL-2.0
//! Graphs that are captured from one stream.

use std::ffi::c_int;
use std::sync::{Arc, PoisonError};

use super::copy::flat;
use super::types::*;
use crate::calls::{entries, get, put, put_if_wanted};
use crate::code::{Code, Outcome};
use crate::machine::context::current;
use crate::machine::event::Event;
use crate::machine::graph::{Capture, Graph, Node};
use crate::machine::state::{State, state};

/// Changes one node of an executable graph.
fn change(executable: Handle, node: Handle, change: impl FnOnce(&State, &mut Node) -> Outcome) -> Outcome {
    current()?;
    let mut state = state();
    let mut graph = state.executables.get(&executable).cloned().ok_or(Code::INVALID_HANDLE)?;
    let (_, found) = graph.nodes.iter_mut().find(|(id, _)| *id == node).ok_or(Code::INVALID_HANDLE)?;
    change(&state, found)?;
    state.executables.insert(executable, graph);
    Ok(())
}

fn event_of(state: &State, handle: Handle) -> Outcome<Arc<Event>> {
    state.event(handle)
}

entries! {
    fn cuStreamBeginCapture_v2(handle: Handle, mode: u32) {
        let context = current()?;
        let mut state = state();
        let stream = state.stream_of(&context, handle)?;
        if mode > 2 {
            return Err(Code::INVALID_VALUE);
        }
        if stream.id == 0 {
            return Err(Code::CAPTURE_UNSUPPORTED);
        }
        let graph = state.handle();
        let mut capture = stream.capture.lock().unwrap_or_else(PoisonError::into_inner);
        if capture.is_some() {
            return Err(Code::ILLEGAL_STATE);
        }
        *capture = Some(Capture::new(graph));
        Ok(())
    }

    fn cuStreamEndCapture(handle: Handle, graph: *mut Handle) {
        let context = current()?;
        let mut state = state();
        let stream = state.stream_of(&context, handle)?;
        put!(graph, 0);
        let capture = stream.capture.lock().unwrap_or_else(PoisonError::into_inner).take();
        let capture = capture.ok_or(Code::ILLEGAL_STATE)?;
        let id = capture.graph;
        let nodes = capture.finish()?.into_iter().map(|node| (state.handle(), node)).collect();
        state.graphs.insert(id, Graph { context: context.id, nodes });
        put!(graph, id);
        Ok(())
    }

    fn cuStreamIsCapturing(handle: Handle, status: *mut u32) {
        let context = current()?;
        let stream = state().stream_of(&context, handle)?;
        put!(status, u32::from(stream.capture.lock().unwrap_or_else(PoisonError::into_inner).is_some()));
        Ok(())
    }

    fn cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) {
        let state = state();
        let graph = state.graphs.get(&graph).ok_or(Code::INVALID_HANDLE)?;
        if !nodes.is_null() {
            let room = get!(count);
            for (at, (id, _)) in graph.nodes.iter().enumerate().take(room) {
                // The caller says that it has room for so many.
                put!(nodes.wrapping_add(at), *id);
            }
        }
        put!(count, graph.nodes.len());
        Ok(())
    }

    fn cuGraphNodeGetType(node: Handle, kind: *mut c_int) {
        let state = state();
        let nodes = state.graphs.values().flat_map(|graph| &graph.nodes);
        let (_, found) = nodes.into_iter().find(|(id, _)| *id == node).ok_or(Code::INVALID_HANDLE)?;
        put!(kind, match found {
            Node::Launch(_) => 0,
            Node::Copy(_) => 1,
            Node::Fill(_) => 2,
            Node::Call(_) => 3,
            Node::Wait { .. } => 6,
            Node::Record { .. } => 7,
            Node::Drop(_) => 11,
        });
        Ok(())
    }

    fn cuGraphInstantiateWithFlags(executable: *mut Handle, graph: Handle, _flags: u64) {
        current()?;
        let mut state = state();
        let graph = state.graphs.get(&graph).cloned().ok_or(Code::INVALID_HANDLE)?;
        let id = state.handle();
        state.executables.insert(id, graph);
        put_if_wanted!(executable, id);
        Ok(())
    }

    fn cuGraphLaunch(executable: Handle, handle: Handle) {
        let context = current()?;
        let (graph, stream) = {
            let state = state();
            let graph = state.executables.get(&executable).cloned().ok_or(Code::INVALID_HANDLE)?;
            (graph, state.stream_of(&context, handle)?)
        };
        if stream.capture.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Err(Code::CAPTURE_UNSUPPORTED);
        }
        graph.nodes.iter().try_for_each(|(_, node)| context.perform(&stream, node).map(drop))
    }

    fn cuGraphDestroy(graph: Handle) {
        state().graphs.remove(&graph).map(drop).ok_or(Code::INVALID_HANDLE)
    }

    fn cuGraphExecDestroy(executable: Handle) {
        state().executables.remove(&executable).map(drop).ok_or(Code::INVALID_HANDLE)
    }

    fn cuGraphExecMemcpyNodeSetParams(executable: Handle, node: Handle, copy: *const Copy3d, _context: Handle) {
        let copy = flat(&get!(copy))?;
        change(executable, node, |_, found| match found {
            Node::Copy(old) => {
                *old = copy;
                Ok(())
            }
            _ => Err(Code::INVALID_VALUE),
        })
    }

    fn cuGraphExecEventRecordNodeSetEvent(executable: Handle, node: Handle, handle: Handle) {
        change(executable, node, |state, found| match found {
            Node::Record { event, .. } => {
                *event = event_of(state, handle)?;
                Ok(())
            }
            _ => Err(Code::INVALID_VALUE),
        })
    }

    fn cuGraphExecEventWaitNodeSetEvent(executable: Handle, node: Handle, handle: Handle) {
        change(executable, node, |state, found| match found {
            Node::Wait { event, .. } => {
                *event = event_of(state, handle)?;
                Ok(())
            }
            _ => Err(Code::INVALID_VALUE),
        })
    }
}
