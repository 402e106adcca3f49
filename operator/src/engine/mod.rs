//! What all controllers share. It knows no kind by name.
//!
//! In: objects of crate `desired`, outcomes of one round. Out: writes to the API server, status, and when to come back.

