//! Keys as NATS writes them. In: 32 bytes and what they are for. Out: text that NATS takes for a key, and signatures.
//!
//! The text is base32 of one byte for the role, the key, and two bytes of CRC-16, the lower one first.

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use data_encoding::BASE32_NOPAD;

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of the text: role, key, check.
const WHOLE: usize = 1 + KEY + 2;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Signs accounts.
    Operator,
    /// Signs users, and is what its account is called.
    Account,
    /// Signs in.
    User,
    /// A server of NATS.
    Server,
}

impl Role {
    /// The byte in front, which becomes the first letter.
    fn byte(self) -> u8 {
        match self {
            Self::Operator => 14 << 3,
            Self::Account => 0,
            Self::User => 20 << 3,
            Self::Server => 13 << 3,
        }
    }

    fn article(self) -> &'static str {
        match self {
            Self::Operator => "an operator",
            Self::Account => "an account",
            Self::User => "a user",
            Self::Server => "a server",
        }
    }
}

/// The text is no key of this role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not the public key of {}", .0.article())]
pub struct NotKey(pub Role);

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey {
    role: Role,
    bytes: [u8; KEY],
}

impl PublicKey {
    /// Reads the key of somebody in this role.
    pub fn read(text: &str, role: Role) -> Result<Self, NotKey> {
        let refused = NotKey(role);
        let whole = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| refused)?;
        let whole: [u8; WHOLE] = whole.try_into().map_err(|_| refused)?;
        let (said, check) = whole.split_last_chunk::<2>().ok_or(refused)?;
        let (first, bytes) = said.split_first_chunk::<1>().ok_or(refused)?;
        if *first != [role.byte()] || crc(said).to_le_bytes() != *check {
            return Err(refused);
        }
        bytes.try_into().map(|bytes| Self { role, bytes }).map_err(|_| refused)
    }

    /// Whether it signed this.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.bytes).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut whole = Vec::with_capacity(WHOLE);
        whole.push(self.role.byte());
        whole.extend(self.bytes);
        let check = crc(&whole);
        whole.extend(check.to_le_bytes());
        f.write_str(&BASE32_NOPAD.encode(&whole))
    }
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident, $role:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(PublicKey);

        impl FromStr for $name {
            type Err = NotKey;

            fn from_str(text: &str) -> Result<Self, NotKey> {
                PublicKey::read(text, Role::$role).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

keys! {
    /// The key that a server invented for a connection that wants in.
    UserKey, User;
    /// Which server asks.
    ServerKey, Server;
}

/// A key that signs. Neither printed nor written anywhere.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public)
    }
}

impl Signer {
    /// The key that these bytes make. Nothing if the library makes none of them.
    pub fn new(role: Role, seed: &[u8; KEY]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let bytes = pair.public_key().as_ref().try_into().ok()?;
        Some(Self { pair, public: PublicKey { role, bytes } })
    }

    /// What everybody may know of it.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs this.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

/// CRC-16 with the polynomial 0x1021, from zero.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |check, byte| {
        (0..8).fold(check ^ (u16::from(*byte) << 8), |check, _| {
            if check & 0x8000 == 0 { check << 1 } else { (check << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_is_that_of_the_catalogues() {
        assert_eq!(crc(b"123456789"), 0x31c3);
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_begins_with_the_letter_of_its_role() {
        for (role, letter) in [(Role::Operator, 'O'), (Role::Account, 'A'), (Role::User, 'U'), (Role::Server, 'N')] {
            let key = Signer::new(role, &[7; KEY]).unwrap().public();
            let text = key.to_string();
            assert!(text.starts_with(letter) && text.len() == 56, "{text}");
            assert_eq!(PublicKey::read(&text, role), Ok(key));
        }
    }

    #[test]
    fn a_key_of_another_role_or_with_a_changed_letter_is_none() {
        let text = Signer::new(Role::Account, &[7; KEY]).unwrap().public().to_string();
        assert_eq!(PublicKey::read(&text, Role::User), Err(NotKey(Role::User)));
        for place in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'Q' { b'R' } else { b'Q' };
            assert!(PublicKey::read(&String::from_utf8(other).unwrap(), Role::Account).is_err(), "{place}");
        }
        for other in ["", "A", &text[1..], &text.to_lowercase(), &format!("{text}AAAAAAAA")] {
            assert!(PublicKey::read(other, Role::Account).is_err(), "{other}");
        }
    }

    #[test]
    fn what_was_signed_is_known_and_nothing_else() {
        let signer = Signer::new(Role::User, &[3; KEY]).unwrap();
        let signature = signer.sign(b"yes");
        assert!(signer.public().signed(b"yes", &signature));
        assert!(!signer.public().signed(b"no", &signature));
        assert!(!Signer::new(Role::User, &[4; KEY]).unwrap().public().signed(b"yes", &signature));
    }

    #[test]
    fn a_signer_shows_no_more_than_its_public_key() {
        let signer = Signer::new(Role::User, &[3; KEY]).unwrap();
        assert_eq!(format!("{signer:?}"), format!("Signer({})", signer.public()));
    }
}
