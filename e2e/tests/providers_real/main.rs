//! The adapters of `providers` against the servers that users run: OpenBao, MinIO and KES, each with the rights of the operator and
//! no more. In: servers built from source. Out: proof that what an adapter says is what the server does.

mod buckets;
mod identities;
mod keys;
mod world;
