//! The process that drives a desktop of an agent, from within. In: requests. Out: what a person would have done with screen, pointer and
//! keyboard, and what a person would have seen.

mod deadline;
pub mod desktop;
mod display;
mod fault;
pub mod init;
mod keys;
mod layout;
pub mod local;
pub mod parts;
mod picture;
mod scale;
pub mod serve;
pub mod settings;
pub mod supervise;
mod text;
mod tree;
mod usable;
mod verbs;
