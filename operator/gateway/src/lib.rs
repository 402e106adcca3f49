//! The egress gateway: the only way out for agents. In: connections of agents, policies, DNS. Out: connections to hosts that the agent's
//! pool lists, and for everything else a short answer, a metric and an audit line.
//!
//! ```text
//! agent ── CONNECT or http:// ──▶ credentials ▶ policy ▶ route (resolve, check, connect) ▶ hello (SNI) ▶ relay ──▶ host
//! ```
//!
//! | Pure, without I/O | What it decides |
//! |---|---|
//! | [`host`], [`allow`] | which names and ports are meant |
//! | [`address`] | what an address is, and whether it may be reached |
//! | [`token`], [`policy`], [`policy_file`] | who somebody is, and what is allowed to whom |
//! | [`asked`], [`credentials`], [`forward::outgoing`] | what a request says |
//! | [`reason`] | the words for every refusal |
//!
//! Everything fails closed: what cannot be read, resolved, checked or found in a policy is refused. `docs/egress-gateway.md` says what
//! holds and what is not promised.

pub mod address;
pub mod allow;
pub mod answer;
pub mod asked;
pub mod audit;
pub mod clock;
pub mod credentials;
pub mod endpoints;
pub mod forward;
pub mod hello;
pub mod host;
pub mod metrics;
pub mod policy;
pub mod policy_file;
pub mod proxy;
pub mod reach;
pub mod reason;
pub mod relay;
pub mod route;
pub mod run;
pub mod server;
pub mod settings;
pub mod source;
pub mod telemetry;
pub mod token;
pub mod upstream;
pub mod usage;

#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use proxy::Gateway;
