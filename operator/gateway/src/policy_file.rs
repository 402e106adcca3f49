//! The file that describes one pool. In: its bytes. Out: a [`Pool`], or what is wrong and where.
//!
//! The format has a version, every list has a bound, and a field that is not known is an error: nothing is accepted and ignored.

use std::{
    collections::{HashMap, hash_map},
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;

use crate::{
    address::AddressClass,
    allow::{AllowList, ENTRIES, EntryError},
    policy::{Limits, Pool, SessionState},
    token::{PoolUid, SessionUid, TenantUid},
};

/// The version that this gateway reads.
pub const VERSION: u64 = 1;
/// A ConfigMap has at most so many bytes.
pub const BYTES: u64 = 1024 * 1024;
/// A pool lists at most so many ranges.
pub const RANGES: usize = 64;
/// A pool has at most so many sessions in its file.
pub const SESSIONS: usize = 10_000;
/// A namespace, a slash, a name.
const NAME_LENGTH: usize = 127;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Not JSON, or not of this shape.
    #[error("it is not a policy: {0}")]
    Shape(String),
    /// Of a version that is not known.
    #[error("its version is {0}, and this gateway reads {VERSION}; update the gateway first")]
    Version(u64),
    /// Too many of something.
    #[error("{field} has {count} entries, and {most} are allowed")]
    TooMany {
        /// Of what.
        field: &'static str,
        /// How many there are.
        count: usize,
        /// How many may be there.
        most: usize,
    },
    /// An entry of the allow-list.
    #[error("allow[{index}]: {source}")]
    Entry {
        /// Which.
        index: usize,
        /// Why.
        source: EntryError,
    },
    /// A range that cannot be read.
    #[error("addresses[{0}]: a range is written like 10.20.0.0/16 or fd00:20::/32, and one address like 10.20.0.1/32")]
    Range(usize),
    /// A range that opens too much.
    #[error("addresses[{0}]: {1} is wider than /8 (IPv4) or /16 (IPv6)")]
    Wide(usize, IpNet),
    /// A range that nobody may reach.
    #[error("addresses[{0}]: {1} is {2}, which no agent may reach")]
    Never(usize, IpNet, &'static str),
    /// A number outside its bounds.
    #[error("limits.{0} must be from {1} to {2}")]
    Limit(&'static str, u64, u64),
    /// The name of the pool.
    #[error("pool.name must be namespace/name in at most {NAME_LENGTH} lower-case characters")]
    Name,
    /// A session twice.
    #[error("session {0} is there twice")]
    Twice(SessionUid),
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    #[serde(rename = "version")]
    _version: u64,
    pool: PoolOf,
    allow: Vec<String>,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    limits: LimitsOf,
    sessions: Vec<SessionOf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PoolOf {
    uid: PoolUid,
    name: String,
    tenant: TenantUid,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LimitsOf {
    connections: Option<u32>,
    bytes_per_second: Option<u64>,
    bytes_total: Option<u64>,
    first_byte_seconds: Option<u64>,
    idle_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SessionOf {
    uid: SessionUid,
    state: StateOf,
}

#[derive(Deserialize)]
enum StateOf {
    Active,
    Ended,
}

/// Reads the file of one pool.
pub fn read(bytes: &[u8]) -> Result<Pool, FileError> {
    // The version first: a newer file has fields that this gateway does not know, and that is not what is wrong with it.
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|error| shape(&error))?;
    if versioned.version != VERSION {
        return Err(FileError::Version(versioned.version));
    }
    let file: File = serde_json::from_slice(bytes).map_err(|error| shape(&error))?;
    Ok(Pool {
        uid: file.pool.uid,
        name: name(&file.pool.name)?.into(),
        tenant: file.pool.tenant,
        allow: allow(&file.allow)?,
        addresses: addresses(&file.addresses)?,
        limits: limits(&file.limits)?,
        sessions: sessions(&file.sessions)?,
    })
}

/// The place and kind of an error, cut: a value in it may be as long as the file.
fn shape(error: &serde_json::Error) -> FileError {
    FileError::Shape(error.to_string().chars().take(200).collect())
}

fn few(field: &'static str, count: usize, most: usize) -> Result<(), FileError> {
    if count > most { Err(FileError::TooMany { field, count, most }) } else { Ok(()) }
}

fn name(name: &str) -> Result<&str, FileError> {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
    };
    match name.split_once('/') {
        Some((namespace, own)) if part(namespace) && part(own) && name.len() <= NAME_LENGTH => Ok(name),
        _ => Err(FileError::Name),
    }
}

fn allow(entries: &[String]) -> Result<AllowList, FileError> {
    few("allow", entries.len(), ENTRIES)?;
    let read = |(index, entry): (usize, &String)| entry.parse().map_err(|source| FileError::Entry { index, source });
    entries.iter().enumerate().map(read).collect::<Result<_, _>>().map(AllowList::new)
}

fn addresses(texts: &[String]) -> Result<Vec<IpNet>, FileError> {
    few("addresses", texts.len(), RANGES)?;
    let read = |(index, text): (usize, &String)| text.parse().map_err(|_| FileError::Range(index));
    let ranges = texts.iter().enumerate().map(read).collect::<Result<Vec<IpNet>, _>>()?;
    for (index, range) in ranges.iter().enumerate() {
        let widest = if range.addr().is_ipv4() { 8 } else { 16 };
        if range.prefix_len() < widest {
            return Err(FileError::Wide(index, *range));
        }
        let (first, last) = (AddressClass::of(range.network()), AddressClass::of(range.broadcast()));
        if first == last && !first.can_be_listed() {
            return Err(FileError::Never(index, *range, first.as_str()));
        }
    }
    Ok(ranges)
}

fn limits(given: &LimitsOf) -> Result<Limits, FileError> {
    let within = |field, value: Option<u64>, least, most| match value {
        Some(value) if value < least || value > most => Err(FileError::Limit(field, least, most)),
        value => Ok(value),
    };
    let default = Limits::default();
    let seconds = |field, value, most, default| {
        Ok::<_, FileError>(within(field, value, 1, most)?.map_or(default, Duration::from_secs))
    };
    within("connections", given.connections.map(u64::from), 1, 4096)?;
    Ok(Limits {
        connections: given.connections.unwrap_or(default.connections),
        bytes_per_second: within("bytesPerSecond", given.bytes_per_second, 1024, 1 << 40)?,
        bytes_total: within("bytesTotal", given.bytes_total, 1024, 1 << 50)?,
        first_byte: seconds("firstByteSeconds", given.first_byte_seconds, 3600, default.first_byte)?,
        idle: seconds("idleSeconds", given.idle_seconds, 86400, default.idle)?,
    })
}

fn sessions(given: &[SessionOf]) -> Result<HashMap<SessionUid, SessionState>, FileError> {
    few("sessions", given.len(), SESSIONS)?;
    let mut sessions = HashMap::with_capacity(given.len());
    for session in given {
        match sessions.entry(session.uid) {
            hash_map::Entry::Occupied(_) => return Err(FileError::Twice(session.uid)),
            hash_map::Entry::Vacant(free) => {
                free.insert(match session.state {
                    StateOf::Active => SessionState::Active,
                    StateOf::Ended => SessionState::Ended,
                });
            }
        }
    }
    Ok(sessions)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PAGE: &str = include_str!("../../../docs/egress-gateway.md");

    fn file() -> Value {
        json!({
            "version": 1,
            "pool": {
                "uid": "00000000-0000-0000-0000-000000000002",
                "name": "acme/desktops",
                "tenant": "00000000-0000-0000-0000-000000000003",
            },
            "allow": ["api.example.com", "*.acme.example:8443"],
            "addresses": ["10.20.0.0/16"],
            "limits": { "connections": 8, "bytesPerSecond": 1_000_000, "idleSeconds": 60 },
            "sessions": [
                { "uid": "00000000-0000-0000-0000-000000000001", "state": "Active" },
                { "uid": "00000000-0000-0000-0000-000000000009", "state": "Ended" },
            ],
        })
    }

    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut file = file();
        change(&mut file);
        read(file.to_string().as_bytes()).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_file_says_all_about_one_pool() {
        let pool = read(file().to_string().as_bytes()).unwrap();
        assert_eq!(&*pool.name, "acme/desktops");
        assert_eq!(pool.sessions.values().filter(|state| **state == SessionState::Active).count(), 1);
        assert_eq!(pool.limits.connections, 8);
        assert_eq!(pool.limits.idle, Duration::from_mins(1));
        assert_eq!(pool.limits.first_byte, Limits::default().first_byte, "what is left out has a default");
        assert_eq!(pool.limits.bytes_total, None);
    }

    #[test]
    fn the_example_in_the_docs_is_read() {
        let example = PAGE.split("```json").nth(1).unwrap().split("```").next().unwrap();
        read(example.as_bytes()).unwrap();
    }

    #[test]
    fn a_newer_version_is_named_before_its_unknown_fields() {
        let error = refused(|file| {
            file["version"] = 2.into();
            file["futures"] = true.into();
        });
        assert!(error.contains("version is 2"), "{error}");
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_at_every_depth() {
        for place in ["", "/pool", "/limits", "/sessions/0"] {
            let error = refused(|file| file.pointer_mut(place).unwrap()["alow"] = true.into());
            assert!(error.contains("unknown field `alow`"), "{place}: {error}");
        }
        let twice = file().to_string().replacen('{', r#"{"allow":["*.evil.example"],"#, 1);
        assert!(read(twice.as_bytes()).unwrap_err().to_string().contains("duplicate field"));
    }

    #[test]
    fn every_list_and_number_is_bounded() {
        let many = |count: usize, of: fn(usize) -> Value| (0..count).map(of).collect::<Value>();
        assert!(
            refused(|file| file["allow"] = many(257, |n| format!("a{n}.example").into())).contains("allow has 257")
        );
        assert!(
            refused(|file| file["addresses"] = many(65, |n| format!("10.{n}.0.0/16").into()))
                .contains("addresses has 65")
        );
        let session = |n| json!({ "uid": uuid::Uuid::from_u128(n as u128).to_string(), "state": "Active" });
        assert!(refused(|file| file["sessions"] = many(SESSIONS + 1, session)).contains("sessions has 10001"));
        assert!(refused(|file| file["limits"]["connections"] = 0.into()).contains("limits.connections"));
        assert!(refused(|file| file["limits"]["bytesPerSecond"] = 1.into()).contains("limits.bytesPerSecond"));
        assert!(refused(|file| file["limits"]["bytesTotal"] = 1.into()).contains("limits.bytesTotal"));
        assert!(refused(|file| file["limits"]["idleSeconds"] = 0.into()).contains("limits.idleSeconds"));
        assert!(refused(|file| file["limits"]["firstByteSeconds"] = 3601.into()).contains("limits.firstByteSeconds"));
        assert!(refused(|file| file["pool"]["name"] = "acme".into()).contains("pool.name"));
        assert!(
            refused(|file| file["pool"]["name"] = format!("acme/{}", "a".repeat(123)).into()).contains("pool.name")
        );
    }

    #[test]
    fn what_opens_too_much_is_refused_with_its_place() {
        assert!(refused(|file| file["allow"][1] = "*.com".into()).starts_with("allow[1]: a wildcard"));
        assert!(refused(|file| file["addresses"] = json!(["0.0.0.0/0"])).contains("wider than /8"));
        assert!(refused(|file| file["addresses"] = json!(["::/0"])).contains("wider than /8"));
        assert!(refused(|file| file["addresses"] = json!(["169.254.0.0/17"])).contains("link-local"));
        assert!(refused(|file| file["addresses"] = json!(["127.0.0.0/8"])).contains("loopback"));
        assert!(refused(|file| file["sessions"][1] = file["sessions"][0].clone()).contains("there twice"));
        assert!(refused(|file| file["sessions"][0]["state"] = "Paused".into()).contains("Paused"));
        assert!(refused(|file| file["sessions"][0]["uid"] = "user-42".into()).contains("a UID is written like"));
    }
}
