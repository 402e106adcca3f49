//! Cases that cannot be shown yet, because a part of them is not there. Also in `docs/reliability.md`: a test compares the two.

/// Each in words.
pub const PENDING: [&str; 2] = [
    "an autoscaler that owns the number of an AgentPool's replicas",
    "all points of the story `equip`: they were not yet all seen to hold in one walk",
];
