//! Names and ports of what is asked for. In: text of an agent or of an allow-list. Out: [`Host`], [`Port`] and [`Target`] in the one
//! form in which they are compared: lower case, punycode, without the dot at the end, an address as an address.
//!
//! A text that programs read in different ways is refused, not interpreted: `0x7f.1` and `2130706433` are addresses to some resolvers
//! and names to others.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use idna::AsciiDenyList;

/// A name that DNS allows has at most so many characters.
const NAME_LENGTH: usize = 253;
/// A part of such a name has at most so many characters.
const LABEL_LENGTH: usize = 63;

/// Why a text is no host, port or target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing, or more than DNS allows.
    #[error("it is empty or longer than 253 characters")]
    Length,
    /// A character outside letters, digits, `-` and `_`, or an empty part.
    #[error("it is neither a domain name nor an address in its usual form")]
    Name,
    /// An address in octal, hexadecimal or with parts left out.
    #[error("it ends like an address and is not one in its usual form; write 192.0.2.1 or [2001:db8::1]")]
    Address,
    /// A name without a dot means something else in each search list.
    #[error("it has no dot; write the name in full")]
    NotFull,
    /// No port, or none that exists.
    #[error("a port is a number from 1 to 65535 without leading zeros")]
    Port,
    /// `user@host`, a path, or the like.
    #[error("it is more than a host and a port")]
    More,
}

/// A port that can be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(u16);

impl Port {
    /// HTTPS.
    pub const HTTPS: Self = Self(443);
    /// HTTP.
    pub const HTTP: Self = Self(80);

    /// As a number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl FromStr for Port {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if plain => Ok(Self(number)),
            _ => Err(Unreadable::Port),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A domain name in the form in which names are compared: at least two parts, lower case, punycode, no dot at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a name. Letters beyond ASCII become punycode as browsers do it.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        // Four bytes for each character that could become one of a label, and the dot.
        if text.is_empty() || text.len() > 4 * (NAME_LENGTH + 1) {
            return Err(Unreadable::Length);
        }
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::URL).map_err(|_| Unreadable::Name)?;
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        if name.is_empty() || name.len() > NAME_LENGTH {
            return Err(Unreadable::Length);
        }
        if !name.split('.').all(is_label) {
            return Err(Unreadable::Name);
        }
        let Some((_, last)) = name.rsplit_once('.') else {
            return Err(if ends_as_number(name) { Unreadable::Address } else { Unreadable::NotFull });
        };
        if ends_as_number(last) { Err(Unreadable::Address) } else { Ok(Self(name.to_owned())) }
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    !label.is_empty()
        && label.len() <= LABEL_LENGTH
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What makes resolvers try a text as an address: its last part is a number, in decimal, octal or hexadecimal.
fn ends_as_number(last: &str) -> bool {
    last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Where a connection goes to: a name that has to be resolved, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A domain name.
    Name(Name),
    /// An address, written as one.
    Address(IpAddr),
}

impl Host {
    /// Reads a host as it stands in a request or an allow-list: a name, `192.0.2.1`, or `[2001:db8::1]`.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return address.map(|address| Self::Address(address.into())).ok_or(Unreadable::Address);
        }
        // The standard library takes four decimal numbers without leading zeros and nothing else.
        match text.parse::<Ipv4Addr>() {
            Ok(address) => Ok(Self::Address(address.into())),
            Err(_) => Name::parse(text).map(Self::Name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name.as_str()),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A host and a port: what a session asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Where.
    pub host: Host,
    /// At which port.
    pub port: Port,
}

impl Target {
    /// Reads `host:port`, or `host` where a port is known without being said. In a request every character is ASCII already: a client
    /// that sends others did not do what browsers do, so it is refused.
    pub fn parse(authority: &str, default: Option<Port>) -> Result<Self, Unreadable> {
        if !authority.is_ascii() {
            return Err(Unreadable::Name);
        }
        let (host, port) = split(authority)?;
        let port = match (port, default) {
            (Some(port), _) => port.parse()?,
            (None, Some(default)) => default,
            (None, None) => return Err(Unreadable::Port),
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Takes the port off a text, where there is one.
pub(crate) fn split(authority: &str) -> Result<(&str, Option<&str>), Unreadable> {
    if authority.contains(['@', '/', '?', '#', '\\', '%', ' ']) {
        return Err(Unreadable::More);
    }
    let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = authority.get(after_brackets..).and_then(|rest| rest.find(':')) else {
        return Ok((authority, None));
    };
    let (host, port) = authority.split_at(after_brackets + colon);
    // What follows is read as a port, so a second colon (an IPv6 address without brackets) makes it none.
    Ok((host, port.strip_prefix(':')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(text: &str) -> Result<String, Unreadable> {
        Target::parse(text, None).map(|target| target.to_string())
    }

    #[test]
    fn case_and_the_dot_at_the_end_do_not_matter() {
        assert_eq!(target("API.Example.COM:443").unwrap(), "api.example.com:443");
        assert_eq!(target("api.example.com.:443").unwrap(), "api.example.com:443");
        assert_eq!(target("api.example.com..:443"), Err(Unreadable::Name), "one dot and no more");
        assert_eq!(target(".:443"), Err(Unreadable::Length));
    }

    #[test]
    fn addresses_in_disguise_are_no_names() {
        for text in ["2130706433", "017700000001", "0x7f000001", "127.1", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1."] {
            assert_eq!(Host::parse(text), Err(Unreadable::Address), "{text}");
        }
        // A leading zero is octal to some and decimal to others.
        for text in ["127.0.0.01", "256.1.1.1", "1.2.3.4.5", "a.example.0x"] {
            assert_eq!(Host::parse(text), Err(Unreadable::Address), "{text}");
        }
    }

    #[test]
    fn digits_in_other_scripts_become_plain_and_are_then_no_names_either() {
        // Full-width and circled digits and the ideographic full stop, as browsers read them.
        assert_eq!(Host::parse("\u{ff11}\u{ff12}\u{ff17}.0.0.1"), Err(Unreadable::Address));
        assert_eq!(Host::parse("127\u{3002}0\u{3002}0\u{3002}1"), Err(Unreadable::Address));
        assert_eq!(Host::parse("\u{2460}.1"), Err(Unreadable::Address));
    }

    #[test]
    fn an_address_of_version_six_needs_brackets_and_has_no_zone() {
        assert_eq!(target("[2001:DB8::1]:443").unwrap(), "[2001:db8::1]:443");
        for text in
            ["2001:db8::1:443", "::1", "[fe80::1%25eth0]:443", "[::1", "[::1]x:443", "[127.0.0.1]:443", "[]:443"]
        {
            assert!(target(text).is_err(), "{text}");
        }
    }

    #[test]
    fn whatever_is_more_than_host_and_port_is_refused() {
        for text in ["user@a.example:443", "a.example:443@evil.example:443", "a.example/x:443", "a.example?b:443"] {
            assert_eq!(target(text), Err(Unreadable::More), "{text}");
        }
        for text in ["a.example#b:443", "a.example\\b:443", "a%2eexample:443", "a .example:443"] {
            assert_eq!(target(text), Err(Unreadable::More), "{text}");
        }
        for text in
            ["a.example\t:443", "a.example\0.evil.example:443", "*.example.com:443", "a..example:443", "-a.example:443"]
        {
            assert_eq!(target(text), Err(Unreadable::Name), "{text}");
        }
    }

    #[test]
    fn a_port_is_written_in_one_way() {
        for text in ["a.example", "a.example:", "a.example:0", "a.example:0443", "a.example:65536", "a.example:+443"] {
            assert_eq!(target(text), Err(Unreadable::Port), "{text}");
        }
        assert_eq!(target("a.example:443:443"), Err(Unreadable::Port));
        assert_eq!(Target::parse("a.example", Some(Port::HTTP)).unwrap().to_string(), "a.example:80");
    }

    #[test]
    fn a_name_without_a_dot_is_refused() {
        assert_eq!(Host::parse("kubernetes"), Err(Unreadable::NotFull));
        assert_eq!(Host::parse("localhost."), Err(Unreadable::NotFull));
    }

    #[test]
    fn look_alikes_are_other_names() {
        // The first letter is Cyrillic.
        let look_alike = Host::parse("\u{430}pi.example.com").unwrap();
        assert!(look_alike.to_string().starts_with("xn--"), "{look_alike}");
        assert_ne!(look_alike, Host::parse("api.example.com").unwrap());
        // Punycode that stands for plain letters would be a second way to write a name.
        assert_eq!(Host::parse("xn--api-.example.com"), Err(Unreadable::Name));
        assert_eq!(target("b\u{fc}cher.example:443"), Err(Unreadable::Name), "requests are ASCII");
        assert_eq!(target("xn--bcher-kva.example:443").unwrap(), "xn--bcher-kva.example:443");
    }

    #[test]
    fn names_are_bounded() {
        let label = "a".repeat(LABEL_LENGTH);
        assert!(Name::parse(&format!("{label}.example")).is_ok());
        assert_eq!(Name::parse(&format!("{label}a.example")), Err(Unreadable::Name));
        let long = vec![label; 4].join(".");
        assert_eq!(Name::parse(&long), Err(Unreadable::Length));
    }

    proptest! {
        #[test]
        fn what_was_read_reads_as_itself(text in "\\PC{0,40}") {
            if let Ok(host) = Host::parse(&text) {
                prop_assert_eq!(Host::parse(&host.to_string()), Ok(host.clone()));
                prop_assert!(host.to_string().is_ascii());
            }
        }

        #[test]
        fn a_target_says_all_that_was_asked(text in "[a-zA-Z0-9.:@/%\\[\\]_-]{0,40}") {
            if let Ok(target) = Target::parse(&text, None) {
                let asked = text.to_ascii_lowercase().replace(".:", ":");
                if matches!(target.host, Host::Name(_)) {
                    prop_assert_eq!(target.to_string(), asked);
                }
            }
        }
    }
}
