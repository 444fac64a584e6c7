// SPDX-License-Identifier: MPL-2.0
//! Why a command did not do what it was asked to, and the exit code for that.

use std::io;

use thiserror::Error;

/// Why a command ends. Each text says what was found, what was expected and the way out.
#[derive(Debug, Error)]
pub enum Failure {
    /// What was named is not there: exit code 1.
    #[error("{0}")]
    NotFound(String),
    /// The line is at odds with itself or with what is there: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It was tried and did not work: exit code 3.
    #[error("{0}")]
    Failed(String),
    /// Nothing can be written where our own lines go: exit code 3.
    #[error("writing the answer failed: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 1,
            Self::Usage(_) => 2,
            Self::Failed(_) | Self::Output(_) => 3,
        }
    }

    /// Whether the reader of our lines has gone.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Anything that went wrong on the way.
    pub fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}
