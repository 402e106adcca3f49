//! Words on the screen. In: a picture. Out: what the program that reads text (tesseract) saw, each word with its place.

mod tsv;

use std::process::Stdio;

use agent_protocol::{Code, List, Words};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::fault::{Done, Fault};
use crate::picture::Picture;

const READER: &str = "/usr/bin/tesseract";
/// Text anywhere on the picture, in no order (11), as a table. Nothing of a request is among the arguments.
const ARGUMENTS: [&str; 7] = ["stdin", "stdout", "-l", "eng", "--psm", "11", "tsv"];
/// Most bytes of a table. A screen full of small letters has some hundred thousand.
const MOST: u64 = 4 * 1024 * 1024;

/// Reads a picture whose left upper corner is there on the screen. Only words that contain a text, if one is wanted.
///
/// # Errors
/// If it cannot be read, or has more words than an answer holds.
pub async fn read(picture: Picture, corner: (u32, u32), containing: Option<&str>) -> Done<Words> {
    let table = table(&picture.ppm()).await.map_err(|error| Fault::failed(format!("{READER}: {error}")))?;
    let mut words = tsv::words(&table, corner);
    if let Some(part) = containing {
        let part = part.to_lowercase();
        words.retain(|word| word.text.as_str().to_lowercase().contains(&part));
    }
    let too_many = |_| Fault::new(Code::TooLarge, "there are more words than an answer holds: read a smaller region");
    Ok(Words { words: List::try_from(words).map_err(too_many)? })
}

/// Ends with whoever waits for it.
async fn table(picture: &[u8]) -> std::io::Result<String> {
    let mut command = Command::new(READER);
    command.args(ARGUMENTS).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut reader = command.spawn()?;
    let missing = || std::io::Error::other("it has no input or output");
    let mut input = reader.stdin.take().ok_or_else(missing)?;
    let output = reader.stdout.take().ok_or_else(missing)?;
    let write = async {
        // It may have seen enough, or have ended; how it ended is what is told.
        let _early = input.write_all(picture).await;
        drop(input);
    };
    let mut table = vec![];
    let mut bounded = output.take(MOST);
    let ((), read) = tokio::join!(write, bounded.read_to_end(&mut table));
    read?;
    let status = reader.wait().await?;
    if !status.success() {
        return Err(std::io::Error::other(format!("it ended with {status}")));
    }
    Ok(String::from_utf8_lossy(&table).into_owned())
}
