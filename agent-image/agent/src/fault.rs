//! What goes wrong with a verb. In: what was tried, and what came of it. Out: a code for programs, and for people what is wrong and what to
//! do next.

use std::fmt::Display;

use agent_protocol::{Code, Problem};
use thiserror::Error;

/// Why a verb was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind it is.
    pub code: Code,
    /// In words.
    pub message: String,
}

/// What comes of a step.
pub type Done<T = ()> = Result<T, Fault>;

impl Fault {
    /// One of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A part of the desktop did not do what was asked of it.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }

    /// The X server did not do what was asked of it.
    pub fn x(what: &str, error: impl Display) -> Self {
        Self::failed(format!("the X server did not {what}: {error}; if it stays so, end the session"))
    }

    /// As an answer has it.
    pub fn problem(&self) -> Problem {
        Problem::new(self.code, &self.message)
    }
}
