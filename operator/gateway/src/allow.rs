//! Which hosts a pool may reach, at which ports. In: entries of `spec.egress.allow`. Out: [`AllowList`], which answers yes, or which half
//! of the answer is no.
//!
//! | Entry | Lets through |
//! |---|---|
//! | `api.example.com` | that name at port 443 |
//! | `*.example.com` | names with exactly one part more, as certificates have it: neither `example.com` nor `a.b.example.com` |
//! | `api.example.com:8443` | that name at that port alone |
//! | `192.0.2.1`, `[2001:db8::1]:8443` | that address, asked for as an address |

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{
    address::{AddressClass, canonical},
    host::{Host, Name, Port, Target, Unreadable, split},
};

/// A list has at most so many entries.
pub const ENTRIES: usize = 256;

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The host or the port cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// `*.com`, `a.*.com`, `*`.
    #[error("a wildcard stands in front and alone, and at least two parts follow: write *.example.com")]
    Wildcard,
    /// An address that nobody may reach.
    #[error("it is {}, which no agent may reach", .0.as_str())]
    Never(AddressClass),
}

/// Which hosts an entry means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(Host),
    /// Names with exactly one part in front of this one.
    Below(Name),
}

impl HostPattern {
    /// Whether `host` is meant.
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exact(Host::Address(listed)), Host::Address(asked)) => canonical(*listed) == canonical(*asked),
            (Self::Exact(exact), host) => exact == host,
            (Self::Below(parent), Host::Name(name)) => {
                name.as_str().split_once('.').is_some_and(|(_, rest)| rest == parent.as_str())
            }
            (Self::Below(_), Host::Address(_)) => false,
        }
    }
}

impl FromStr for HostPattern {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        let Some(parent) = text.strip_prefix("*.") else {
            return if text.contains('*') { Err(EntryError::Wildcard) } else { exact(text) };
        };
        match Name::parse(parent) {
            Ok(parent) => Ok(Self::Below(parent)),
            Err(Unreadable::NotFull) => Err(EntryError::Wildcard),
            Err(_) if parent.contains('*') => Err(EntryError::Wildcard),
            Err(error) => Err(error.into()),
        }
    }
}

fn exact(text: &str) -> Result<HostPattern, EntryError> {
    let host = Host::parse(text)?;
    match host {
        Host::Address(address) if !AddressClass::of(address).can_be_listed() => {
            Err(EntryError::Never(AddressClass::of(address)))
        }
        host => Ok(HostPattern::Exact(host)),
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Below(parent) => write!(f, "*.{}", parent.as_str()),
        }
    }
}

/// One entry: hosts, and the one port at which they may be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    hosts: HostPattern,
    port: Port,
}

impl FromStr for Entry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        let (hosts, port) = split(text)?;
        let port = port.map_or(Ok(Port::HTTPS), str::parse)?;
        Ok(Self { hosts: hosts.parse()?, port })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hosts, self.port)
    }
}

/// What a list says to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The target is in it.
    Yes,
    /// The host is, at other ports.
    OtherPort,
    /// The host is not.
    No,
}

/// What a pool may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Entry>);

impl AllowList {
    /// A list of these entries.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self(entries)
    }

    /// What it says to `target`.
    pub fn says(&self, target: &Target) -> Listed {
        let mut matching = self.0.iter().filter(|entry| entry.hosts.matches(&target.host)).peekable();
        if matching.peek().is_none() {
            Listed::No
        } else if matching.any(|entry| entry.port == target.port) {
            Listed::Yes
        } else {
            Listed::OtherPort
        }
    }

    /// Whether an address is an entry of its own, at any port. Such an entry also says that the address may be reached.
    pub fn names_address(&self, address: IpAddr) -> bool {
        self.0.iter().any(|entry| entry.hosts.matches(&Host::Address(address)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(entries: &[&str]) -> AllowList {
        AllowList::new(entries.iter().map(|entry| entry.parse().unwrap()).collect())
    }

    fn says(list: &AllowList, target: &str) -> Listed {
        list.says(&Target::parse(target, None).unwrap())
    }

    #[test]
    fn an_entry_without_a_port_means_https() {
        let list = list(&["api.example.com", "plain.example.com:80"]);
        assert_eq!(says(&list, "api.example.com:443"), Listed::Yes);
        assert_eq!(says(&list, "api.example.com:80"), Listed::OtherPort);
        assert_eq!(says(&list, "api.example.com:22"), Listed::OtherPort);
        assert_eq!(says(&list, "plain.example.com:80"), Listed::Yes);
        assert_eq!(says(&list, "plain.example.com:443"), Listed::OtherPort);
        assert_eq!(says(&list, "example.com:443"), Listed::No);
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_part() {
        let list = list(&["*.example.com"]);
        assert_eq!(says(&list, "a.example.com:443"), Listed::Yes);
        for other in ["example.com:443", "a.b.example.com:443", "aexample.com:443", "a.example.com.evil.example:443"] {
            assert_eq!(says(&list, other), Listed::No, "{other}");
        }
    }

    #[test]
    fn case_dots_and_scripts_of_entries_do_not_matter() {
        let list = list(&["API.Example.com.", "*.b\u{fc}cher.example"]);
        assert_eq!(says(&list, "api.example.com:443"), Listed::Yes);
        assert_eq!(says(&list, "shop.xn--bcher-kva.example:443"), Listed::Yes);
    }

    #[test]
    fn an_address_is_let_through_only_where_it_stands_itself() {
        let list = list(&["93.184.215.14", "[2606:2800::1]:8443"]);
        assert_eq!(says(&list, "93.184.215.14:443"), Listed::Yes);
        assert_eq!(says(&list, "[::ffff:93.184.215.14]:443"), Listed::Yes);
        assert_eq!(says(&list, "[2606:2800::1]:8443"), Listed::Yes);
        assert_eq!(says(&list, "93.184.215.15:443"), Listed::No);
    }

    #[test]
    fn an_entry_that_means_too_much_is_refused() {
        for entry in ["*", "*.com", "a.*.example.com", "*a.example.com", "*.*.example.com", "**.example.com"] {
            assert_eq!(entry.parse::<Entry>(), Err(EntryError::Wildcard), "{entry}");
        }
        for entry in ["https://a.example", "a.example/path", "u@a.example", "a.example:*", "", "10.0.0.0/8", "*.1.2.3"]
        {
            assert!(entry.parse::<Entry>().is_err(), "{entry}");
        }
        assert_eq!("169.254.169.254".parse::<Entry>(), Err(EntryError::Never(AddressClass::Metadata)));
        assert_eq!("[::ffff:127.0.0.1]".parse::<Entry>(), Err(EntryError::Never(AddressClass::Loopback)));
    }

    proptest! {
        #[test]
        fn an_entry_reads_as_it_prints(text in "(\\*\\.)?[a-z0-9.-]{1,20}(:[0-9]{1,5})?") {
            if let Ok(entry) = text.parse::<Entry>() {
                prop_assert_eq!(entry.to_string().parse::<Entry>(), Ok(entry));
            }
        }

        #[test]
        fn a_wildcard_never_lets_through_more_parts(front in "[a-z]{1,5}(\\.[a-z]{1,5}){1,3}") {
            let list = list(&["*.example.com"]);
            prop_assert_eq!(says(&list, &format!("{front}.example.com:443")), Listed::No);
        }
    }
}
