//! Cases that cannot be shown yet, because a part of them is not there. Also in `docs/reliability.md`: a test compares the two.

/// Each in words.
pub const PENDING: [&str; 1] = ["an autoscaler that owns the number of an AgentPool's replicas"];
