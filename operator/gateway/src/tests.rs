//! The gateway as agents meet it: real connections in front, a world of the tests' own behind. Each file tries one kind of way round.

mod changes;
mod limits;
mod plain;
mod stage;
mod tricks;
mod tunnels;
mod upstream;
mod whole;
