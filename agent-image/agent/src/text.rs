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
    let table = table(Command::new(READER).args(ARGUMENTS), &picture.ppm()).await;
    let table = table.map_err(|error| Fault::failed(format!("{READER}: {error}")))?.ok_or_else(too_many)?;
    let mut words = tsv::words(&table, corner);
    if let Some(part) = containing {
        let part = part.to_lowercase();
        words.retain(|word| word.text.as_str().to_lowercase().contains(&part));
    }
    Ok(Words { words: List::try_from(words).map_err(|_| too_many())? })
}

fn too_many() -> Fault {
    Fault::new(Code::TooLarge, "there are more words than an answer holds: read a smaller region")
}

/// What the program says; nothing if that is too much. It ends with whoever waits for it.
async fn table(command: &mut Command, picture: &[u8]) -> std::io::Result<Option<String>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut reader = command.spawn()?;
    let missing = || std::io::Error::other("it has no input or output");
    let mut input = reader.stdin.take().ok_or_else(missing)?;
    let output = reader.stdout.take().ok_or_else(missing)?;
    let write = async {
        // It may have seen enough, or have ended; how it ended is what is told.
        let _early = input.write_all(picture).await;
        drop(input);
    };
    let read = async {
        let mut table = vec![];
        // One more than is allowed, so that more is noticed. Closed behind it: what goes on to write then ends.
        output.take(MOST + 1).read_to_end(&mut table).await.map(|_| table)
    };
    let ((), table) = tokio::join!(write, read);
    let table = table?;
    if u64::try_from(table.len()).is_ok_and(|bytes| bytes > MOST) {
        reader.kill().await?;
        return Ok(None);
    }
    let status = reader.wait().await?;
    if !status.success() {
        return Err(std::io::Error::other(format!("it ended with {status}")));
    }
    Ok(Some(String::from_utf8_lossy(&table).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(script: &str, picture: &[u8]) -> std::io::Result<Option<String>> {
        let said = async { table(Command::new("sh").args(["-c", script]), picture).await };
        tokio::time::timeout(std::time::Duration::from_mins(1), said).await.expect("it does not end")
    }

    #[tokio::test]
    async fn what_says_too_much_is_ended_whether_or_not_it_reads_the_picture() {
        let picture = vec![0; 1024 * 1024];
        assert_eq!(said("exec yes", &picture).await.unwrap(), None);
        assert_eq!(said("cat >/dev/null; exec yes", &picture).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_it_says_is_taken_if_it_succeeds() {
        assert_eq!(said("cat", b"moo").await.unwrap().as_deref(), Some("moo"));
        let refusal = said("cat >/dev/null; exit 3", b"moo").await.unwrap_err().to_string();
        assert!(refusal.contains("exit status: 3"), "{refusal}");
    }
}
