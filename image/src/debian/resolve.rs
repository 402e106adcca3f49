//! Asks Debian's archive which packages a request comes to. In: a release, names of packages, and what is left out of what these depend on.
//! Out: a [`Lock`]. Whoever asks need not run Debian: apt has a configuration, lists and a status of its own here. What the archive says is
//! believed because it is signed by a key that this machine has from its own packages.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Lock, Package};

/// By these keys packages are known to be Debian's.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The archive that everybody reaches. Its name is in no lock.
pub(crate) const ARCHIVE: &str = "http://deb.debian.org";

/// What an image is to have of Debian, as somebody wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    text: String,
    release: String,
    wanted: Vec<String>,
    left_out: Vec<String>,
}

impl Request {
    /// Reads one: a line `release NAME`; lines with the names of packages that are wanted; lines with `-` and the names of those that
    /// are left out though wanted ones depend on them. What stands behind `#` is for readers.
    ///
    /// # Errors
    /// If there is no release, or a word is no name of a package.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut release, mut wanted, mut left_out) = (None, Vec::new(), Vec::new());
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<_> = line.split_whitespace().collect();
            let (list, names) = match words.as_slice() {
                ["release", name] => {
                    release = Some((*name).to_owned());
                    continue;
                }
                ["-", names @ ..] => (&mut left_out, names),
                names => (&mut wanted, names),
            };
            for name in names {
                let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
                let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
                ensure!(first && name.bytes().all(known), "{name:?} is no name of a package");
                list.push((*name).to_owned());
            }
        }
        let release = release.context("no line `release NAME` says of which release the packages are")?;
        Ok(Self { text: text.to_owned(), release, wanted, left_out })
    }

    /// As it was written down.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Asks the archive, with an empty folder to work in. `seen` is the time now, as a lock has it. Returns the lock, and what is left out
    /// though nothing depends on it any more.
    ///
    /// # Errors
    /// If apt is missing or fails.
    pub fn resolve(&self, work: &Path, seen: &str) -> Result<(Lock, Vec<String>)> {
        self.configure(work)?;
        let apt = |program: &str| {
            let mut command = Command::new(program);
            command.env("APT_CONFIG", work.join("apt.conf")).env("LC_ALL", "C").stdin(Stdio::null());
            command
        };
        output(apt("apt-get").args(["-qq", "update"]))?;
        let addresses = output(apt("apt-get").args(["-qq", "--print-uris", "install"]).args(&self.wanted))?;
        let found: Vec<Found> = addresses.lines().map(Found::parse).collect::<Result<_>>()?;
        let idle: Vec<_> =
            self.left_out.iter().filter(|name| found.iter().all(|it| it.name != **name)).cloned().collect();
        let kept: Vec<_> = found.into_iter().filter(|it| !self.left_out.contains(&it.name)).collect();
        let asked = kept.iter().map(|it| format!("{}={}", it.name, it.version));
        let stanzas = output(apt("apt-cache").args(["show", "--"]).args(asked))?;
        let mut packages = kept.iter().map(|it| it.package(&stanzas)).collect::<Result<Vec<_>>>()?;
        packages.sort_by(|one, other| one.name.cmp(&other.name));
        let request = crate::hex(self.text.as_bytes());
        Ok((Lock { request, release: self.release.clone(), seen: seen.to_owned(), packages }, idle))
    }

    fn configure(&self, work: &Path) -> Result<()> {
        ensure!(Path::new(KEYS).is_file(), "{KEYS} is missing: install the package debian-archive-keyring");
        for folder in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(work.join(folder)).with_context(|| format!("cannot create {folder}"))?;
        }
        let release = &self.release;
        let places = [("debian", ""), ("debian", "-updates"), ("debian-security", "-security")];
        let sources =
            places.map(|(name, suffix)| format!("deb [signed-by={KEYS}] {ARCHIVE}/{name} {release}{suffix} main\n"));
        let at = work.display();
        let settings = format!(
            "Dir::State::lists \"{at}/lists\";\nDir::State::status \"{at}/status\";\nDir::Cache \"{at}\";\n\
             Dir::Cache::archives \"{at}/archives\";\nDir::Etc::sourcelist \"{at}/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\nDir::Etc::preferences \"/dev/null\";\n\
             APT::Architecture \"{ARCHITECTURE}\";\nAPT::Architectures {{ \"{ARCHITECTURE}\"; }};\n\
             APT::Sandbox::User \"\";\nAPT::Install-Recommends \"false\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n"
        );
        let files = [("status", String::new()), ("sources.list", sources.concat()), ("apt.conf", settings)];
        for (name, content) in files {
            fs::write(work.join(name), content).with_context(|| format!("cannot write {name} in {at}"))?;
        }
        Ok(())
    }
}

/// The processor for which packages are, as Debian calls it.
pub const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// A package that apt would download.
struct Found {
    name: String,
    version: String,
    /// From the archive's name on.
    path: String,
}

impl Found {
    /// Of a line `'ADDRESS' FILE BYTES CHECKSUM`.
    fn parse(line: &str) -> Result<Self> {
        let not_understood = || format!("apt would download what is not understood: {line}");
        let mut words = line.split(' ');
        let address = words.next().unwrap_or_default().trim_matches('\'');
        let path =
            address.strip_prefix(ARCHIVE).and_then(|path| path.strip_prefix('/')).with_context(not_understood)?;
        let mut parts = words.next().unwrap_or_default().split('_');
        let (Some(name), Some(version)) = (parts.next(), parts.next()) else { bail!(not_understood()) };
        // An epoch's colon is the one thing that names of files have in another way.
        Ok(Self { name: name.to_owned(), version: version.replace("%3a", ":"), path: path.to_owned() })
    }

    /// With what the archive's signed list says of it.
    fn package(&self, stanzas: &str) -> Result<Package> {
        let field = |stanza: &str, key: &str| {
            stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ").map(str::to_owned))
        };
        let path = self.path.replace("%2b", "+").replace("%7e", "~").replace("%3a", ":");
        let of_this = |stanza: &&str| field(stanza, "Filename").is_some_and(|file| path.ends_with(&format!("/{file}")));
        let stanza = stanzas.split("\n\n").find(of_this).with_context(|| format!("apt does not know {}", self.name))?;
        let get = |key| field(stanza, key).with_context(|| format!("{}: the archive says no {key}", self.name));
        let size = get("Size")?.parse().with_context(|| format!("{}: its size is no number", self.name))?;
        let (version, architecture, sha256) = (get("Version")?, get("Architecture")?, get("SHA256")?);
        Ok(Package { name: self.name.clone(), version, architecture, size, sha256, path: self.path.clone() })
    }
}

/// What a program says, or that it failed and why.
fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot start {program}: install the package apt"))?;
    ensure!(
        output.status.success(),
        "{program}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    String::from_utf8(output.stdout).with_context(|| format!("{program} said what is no text"))
}
