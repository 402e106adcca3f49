//! The relay's doorkeeper: says who may speak at NATS, and where. In: questions of its servers, what the API server knows. Out: a JWT for
//! a pod that showed a good token, with the rights on its own subjects; for everybody else a reason.
//!
//! | Pure, without I/O | What it decides |
//! |---|---|
//! | [`nkey`], [`jwt`], [`root`] | keys and statements as NATS has them, all from one secret |
//! | [`limits`], [`rights`] | who may say and hear what, and how much |
//! | [`request`], [`shown`], [`admit`] | who asks, what was shown, and which pod of whom it is |
//! | [`server_config`] | what a server of NATS is told |
//! | [`reason`] | the words for every refusal |
//!
//! What cannot be read, proven or found is refused. `docs/relay.md` says what holds and what is not promised.

pub mod accounts;
pub mod admit;
pub mod budget;
pub mod callout;
pub mod clock;
pub mod cluster;
pub mod connection;
pub mod endpoints;
pub mod jwt;
pub mod limits;
pub mod metrics;
pub mod nkey;
pub mod reason;
pub mod request;
pub mod rights;
pub mod root;
pub mod run;
pub mod server_config;
pub mod settings;
pub mod shown;
pub mod telemetry;
