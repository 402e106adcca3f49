//! How a message lies in bytes. In: JSON and what comes with it. Out: one run of bytes, and back.
//!
//! Four bytes say how long the JSON is, the highest first; then comes the JSON, and behind it, to the end of the message, the bytes of a
//! picture. A relay that has messages carries it as one of its own. On a stream four more bytes before it say how long the message is.

use serde::Serialize;
use thiserror::Error;

/// Most bytes of a request.
pub const REQUEST_BYTES: usize = 512 * 1024;
/// Most bytes of an answer, with its picture.
pub const ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a length.
pub const LENGTH_BYTES: usize = 4;

/// Why bytes are no message, or a message no bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Broken {
    /// It ends before its JSON does.
    #[error("the message ends before its JSON: its first four bytes say how long that is, the highest first")]
    Short,
    /// It is larger than it may be.
    #[error("the message has {bytes} bytes, and at most {most} are allowed: ask for less at once")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        most: usize,
    },
    /// What is in it is not what it should be.
    #[error("the message is not understood: {0}")]
    Json(String),
    /// It is of another version.
    #[error("the message is of version {0}, which is not spoken here")]
    Version(u16),
    /// Something else comes with it than it says.
    #[error("the message says that {said} bytes come with it, and there are {found}")]
    Attachment {
        /// What it says.
        said: usize,
        /// What is there.
        found: usize,
    },
}

/// One message of a value and of bytes that come with it.
///
/// # Errors
/// If it is larger than it may be.
pub fn join(value: &impl Serialize, attachment: &[u8], most: usize) -> Result<Vec<u8>, Broken> {
    let json = serde_json::to_vec(value).map_err(|error| Broken::Json(error.to_string()))?;
    let bytes = LENGTH_BYTES + json.len() + attachment.len();
    let length = u32::try_from(json.len()).ok().filter(|_| bytes <= most);
    let length = length.ok_or(Broken::TooLarge { bytes, most })?;
    let mut message = Vec::with_capacity(bytes);
    message.extend(length.to_be_bytes());
    message.extend(json);
    message.extend(attachment);
    Ok(message)
}

/// The JSON of a message, and what comes with it.
///
/// # Errors
/// If it ends too soon.
pub fn split(message: &[u8]) -> Result<(&[u8], &[u8]), Broken> {
    let (length, rest) = message.split_first_chunk::<LENGTH_BYTES>().ok_or(Broken::Short)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Broken::Short)?;
    rest.split_at_checked(length).ok_or(Broken::Short)
}
