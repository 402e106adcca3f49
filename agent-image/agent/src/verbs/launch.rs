//! Starts a program of the list of allowed ones. In: which, and an address. Out: it opens the address. No shell sees it.

use agent_protocol::{Code, Launch, Program};

use crate::desktop::Desktop;
use crate::fault::{Done, Fault};
use crate::parts;

/// What an address may begin with.
const SCHEMES: [&str; 3] = ["http://", "https://", "data:"];
/// What it may be without any of those.
const BLANK: &str = "about:blank";

pub(super) async fn launch(desktop: &Desktop, wanted: &Launch) -> Done {
    let address = allowed(wanted.address.as_str())?;
    match wanted.program {
        Program::Browser => open(desktop, address).await,
    }
}

/// The browser that runs is told by another one, which then ends.
async fn open(desktop: &Desktop, address: &str) -> Done {
    if !desktop.has_browser() {
        let message = "the browser ended and is being started again: ask again in a few seconds";
        return Err(Fault::new(Code::NotReady, message));
    }
    let failed =
        |how: &dyn std::fmt::Display| Fault::failed(format!("the browser was not told to open the address: {how}"));
    let mut teller = parts::browser(&[address.to_owned()]).spawn().map_err(|error| failed(&error))?;
    let status = teller.wait().await.map_err(|error| failed(&error))?;
    if status.success() { Ok(()) } else { Err(failed(&status)) }
}

/// What is not on the list, such as files of the pod and pages that change the browser, is not opened.
fn allowed(address: &str) -> Done<&str> {
    let begins = |scheme: &&str| address.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let plain = !address.chars().any(char::is_control);
    if plain && (address == BLANK || SCHEMES.iter().any(begins)) {
        return Ok(address);
    }
    let message = format!("an address begins with {} or is {BLANK}, and this one does not", SCHEMES.join(", "));
    Err(Fault::new(Code::Refused, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_opened_and_files_switches_and_settings_are_not() {
        for address in ["http://a.test/", "HTTPS://a.test/?q=1", "data:text/html,<p>a", "about:blank"] {
            assert_eq!(allowed(address), Ok(address));
        }
        for address in [
            "file:///etc/passwd",
            "/etc/passwd",
            "chrome://settings",
            "about:version",
            "javascript:alert(1)",
            "--no-sandbox",
            "view-source:http://a.test/",
            "http:/a",
            "",
            " http://a.test/",
            "http://a.test/\n--no-sandbox",
        ] {
            assert_eq!(allowed(address).unwrap_err().code, Code::Refused, "{address:?}");
        }
    }
}
