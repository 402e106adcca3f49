//! Checksums. In: bytes. Out: their SHA-256, as layouts and locks write it. By the library of the TLS provider, because what is summed here
//! is large and that library is as fast in a build for tests.

use std::io::{self, Write};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;

/// A sum that can be written to.
pub struct Sum(Context);

impl Default for Sum {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Sum {
    /// In hexadecimal digits.
    pub fn hex(self) -> String {
        HEXLOWER.encode(self.0.finish().as_ref())
    }
}

impl Write for Sum {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.0.update(content);
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The SHA-256 of this content in hexadecimal digits.
pub fn hex(content: &[u8]) -> String {
    HEXLOWER.encode(aws_lc_rs::digest::digest(&SHA256, content).as_ref())
}

/// The digest of this content, as it is written everywhere in a layout.
pub fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(content))
}
