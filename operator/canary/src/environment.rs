//! The environment of the program. In: the variables that it was started with. Out: the program anew, with those alone that are its own.
//!
//! The client of PostgreSQL takes variables such as `PGOPTIONS` for settings, and trusts the authorities of the system beside the one
//! that it is given. `SSL_CERT_FILE` takes these from it. Within a process variables cannot be changed without unsafe code, so the
//! process starts over: it stays process 1 of its container.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    env,
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    process::Command,
};

use anyhow::{Context as _, Result};

/// How all variables of ours begin.
const OURS: &[u8] = b"STEADING_CANARY_";

/// Names the authorities of the system, and a file that has none.
const NO_AUTHORITIES: (&str, &str) = ("SSL_CERT_FILE", "/dev/null");

/// Returns in an environment that holds nothing but our own settings. Where there was more the process starts over.
///
/// # Errors
/// If it cannot start over.
pub fn seal() -> Result<()> {
    let found: BTreeMap<_, _> = env::vars_os().collect();
    let sealed = sealed(&found);
    if found == sealed { Ok(()) } else { start_over(sealed).map(|never| match never {}) }
}

fn start_over(variables: BTreeMap<OsString, OsString>) -> Result<Infallible> {
    let program = env::current_exe().context("the program does not find its own file")?;
    let error = Command::new(&program).args(env::args_os().skip(1)).env_clear().envs(variables).exec();
    Err(error).with_context(|| format!("cannot start {} again", program.display()))
}

fn sealed(found: &BTreeMap<OsString, OsString>) -> BTreeMap<OsString, OsString> {
    let ours = found.iter().filter(|(name, _)| name.as_bytes().starts_with(OURS));
    let (name, none) = NO_AUTHORITIES;
    ours.map(|(name, value)| (name.as_os_str(), value.as_os_str()))
        .chain([(OsStr::new(name), OsStr::new(none))])
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(all: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
        all.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
    }

    #[test]
    fn our_settings_stay_and_whatever_would_set_the_client_or_trust_more_goes() {
        let found = variables(&[
            ("STEADING_CANARY_HOST", "database-rw"),
            ("PGOPTIONS", "-c search_path=public"),
            ("PGHOSTADDR", "192.0.2.1"),
            ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
            ("SSL_CERT_DIR", "/etc/ssl/certs"),
            ("PATH", "/bin"),
        ]);
        let expected = variables(&[("STEADING_CANARY_HOST", "database-rw"), ("SSL_CERT_FILE", "/dev/null")]);
        assert_eq!(sealed(&found), expected);
        assert_eq!(sealed(&expected), expected, "or it would start over for ever");
    }
}
