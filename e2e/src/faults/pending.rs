//! Cases that cannot be shown yet, because a part of them is not there. Also in `docs/reliability.md`: a test compares the two.

/// Each in words.
pub const PENDING: [&str; 2] = [
    "resets, lost answers and throttling between the operator and a real OpenBao, KES or S3",
    "deletion in order with pods and a database in the stack",
];
