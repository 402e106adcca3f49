//! Where policies come from. In: a directory of `*.json` files, one for each pool, and a file of public keys. Out: [`Policies`] whenever
//! something changed.
//!
//! A mounted ConfigMap is a folder with a link `..data` that is swapped when all of its files are there; it is followed once for each
//! look, so a look sees the files of one moment. A file that cannot be used leaves what it said before in force, is named in the log once
//! and counted until it is mended; a file that is gone takes its pool with it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crate::{
    policy::{Policies, Pool},
    policy_file::{self, BYTES},
    token::TokenKeys,
};

/// So many files are read; more of them make the whole look count as failed.
const FILES: usize = 2000;

/// What distinguishes a file from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    modified: Option<SystemTime>,
    bytes: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Mark {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            modified: found.modified().ok(),
            bytes: found.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&found),
        })
    }
}

/// A file as it was last looked at.
#[derive(Debug)]
struct Seen<T> {
    mark: Option<Mark>,
    /// What it said when it could last be used.
    good: Option<T>,
    /// What is wrong with it now.
    error: Option<String>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self { mark: None, good: None, error: None }
    }
}

impl<T> Seen<T> {
    /// Reads the file at `path` if it is not what it was. Whether anything changed.
    fn look(&mut self, path: &Path, read: impl FnOnce(&[u8]) -> Result<T, String>) -> bool {
        let mark = Mark::of(path).ok();
        if mark.is_some() && mark == self.mark {
            return false;
        }
        let before = self.error.take();
        match bounded(path).and_then(|bytes| read(&bytes)) {
            Ok(value) => {
                self.good = Some(value);
                tracing::info!(file = %path.display(), "read");
            }
            Err(error) => self.error = Some(error),
        }
        self.mark = mark;
        if let Some(error) = self.error.as_ref().filter(|error| before.as_ref() != Some(*error)) {
            let kept = self.good.is_some();
            tracing::error!(file = %path.display(), %error, kept, "it cannot be used; what it said before holds");
        }
        self.error.is_none() || self.error != before
    }
}

fn bounded(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > BYTES { Err(format!("it has more than {BYTES} bytes")) } else { Ok(bytes) }
}

/// How much of what there is can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files in force as they are.
    pub good: usize,
    /// Files, keys or folders that cannot be used as they are now.
    pub broken: usize,
}

/// The folder and the file of keys, as they were last looked at.
#[derive(Debug)]
pub struct Source {
    folder: PathBuf,
    keys_file: PathBuf,
    files: BTreeMap<OsString, Seen<Arc<Pool>>>,
    keys: Seen<TokenKeys>,
    folder_error: Option<String>,
    twice: usize,
}

impl Source {
    /// Nothing was looked at yet.
    pub fn new(folder: PathBuf, keys_file: PathBuf) -> Self {
        let (files, keys) = (BTreeMap::new(), Seen::default());
        Self { folder, keys_file, files, keys, folder_error: None, twice: 0 }
    }

    /// Looks again. The policies, if anything changed since the last look.
    pub fn look(&mut self) -> Option<Policies> {
        let read_keys = |pem: &[u8]| TokenKeys::from_pem(pem).map_err(|error| error.to_string());
        let keys_changed = self.keys.look(&self.keys_file, read_keys);
        let files_changed = match self.look_at_files() {
            Ok(changed) => {
                self.folder_error = None;
                changed
            }
            Err(error) => {
                let error = error.to_string();
                if self.folder_error.as_ref() != Some(&error) {
                    tracing::error!(folder = %self.folder.display(), %error, "policies cannot be listed; those before hold");
                }
                self.folder_error = Some(error);
                false
            }
        };
        (keys_changed || files_changed).then(|| self.policies())
    }

    /// What could be used in the last look.
    pub fn tally(&self) -> Tally {
        let broken_files = self.files.values().filter(|seen| seen.error.is_some()).count();
        let broken = broken_files
            + self.twice
            + usize::from(self.keys.error.is_some())
            + usize::from(self.folder_error.is_some());
        Tally { good: self.files.len().saturating_sub(broken_files + self.twice), broken }
    }

    /// Whether there are keys and the folder was read: until then every request is refused.
    pub fn ready(&self) -> bool {
        self.keys.good.is_some() && (self.folder_error.is_none() || !self.files.is_empty())
    }

    fn look_at_files(&mut self) -> io::Result<bool> {
        let folder = match fs::canonicalize(self.folder.join("..data")) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.folder.clone(),
            Err(error) => return Err(error),
        };
        let mut present = HashSet::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == "json") {
                present.insert(name);
            }
            if present.len() > FILES {
                return Err(io::Error::other(format!("there are more than {FILES} policies")));
            }
        }
        let before = self.files.len();
        self.files.retain(|name, _| present.contains(name));
        let mut changed = self.files.len() != before;
        for name in present {
            let path = folder.join(&name);
            let read = |bytes: &[u8]| policy_file::read(bytes).map(Arc::new).map_err(|error| error.to_string());
            changed |= self.files.entry(name).or_default().look(&path, read);
        }
        Ok(changed)
    }

    /// Of two files with the same pool the first by name counts, whichever came first.
    fn policies(&mut self) -> Policies {
        let mut pools = HashMap::new();
        self.twice = 0;
        for (file, pool) in self.files.iter().filter_map(|(file, seen)| seen.good.as_ref().map(|pool| (file, pool))) {
            match pools.entry(pool.uid) {
                Entry::Vacant(free) => {
                    free.insert(Arc::clone(pool));
                }
                Entry::Occupied(_) => {
                    self.twice += 1;
                    tracing::error!(file = %file.display(), pool = %pool.name, "another file has this pool already; this one is not used");
                }
            }
        }
        Policies { keys: self.keys.good.clone().unwrap_or_default(), pools }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder of its own that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("steading-gateway-{}", uuid::Uuid::new_v4()));
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("keys.pem"), keys()).unwrap();
            Self(path)
        }

        fn source(&self) -> Source {
            Source::new(self.0.clone(), self.0.join("keys.pem"))
        }

        fn write(&self, file: &str, text: &str) {
            // Under another name first, as whoever changes files does; the inode differs then.
            fs::write(self.0.join("new"), text).unwrap();
            fs::rename(self.0.join("new"), self.0.join(file)).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn keys() -> String {
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().public_key_pem()
    }

    fn policy(pool: u128, host: &str) -> String {
        let (uid, tenant) = (uuid::Uuid::from_u128(pool), uuid::Uuid::from_u128(3));
        let pool = serde_json::json!({ "uid": uid.to_string(), "name": "acme/desktops", "tenant": tenant.to_string() });
        serde_json::json!({ "version": 1, "pool": pool, "allow": [host], "sessions": [] }).to_string()
    }

    fn lets(policies: &Policies, pool: u128, host: &str) -> bool {
        let target = crate::host::Target::parse(&format!("{host}:443"), None).unwrap();
        let uid = uuid::Uuid::from_u128(pool).into();
        policies.pools.get(&uid).is_some_and(|pool| pool.lets_ask(&target).is_ok())
    }

    #[test]
    fn only_a_change_makes_new_policies() {
        let folder = Folder::new();
        folder.write("a.json", &policy(1, "a.example"));
        let mut source = folder.source();
        assert!(lets(&source.look().unwrap(), 1, "a.example"));
        assert_eq!(source.look(), None);
        folder.write("a.json", &policy(1, "b.example"));
        let policies = source.look().unwrap();
        assert!(lets(&policies, 1, "b.example") && !lets(&policies, 1, "a.example"));
        fs::remove_file(folder.0.join("a.json")).unwrap();
        assert!(source.look().unwrap().pools.is_empty());
    }

    #[test]
    fn a_broken_file_keeps_what_it_said_and_is_counted_until_it_is_mended() {
        let folder = Folder::new();
        folder.write("a.json", &policy(1, "a.example"));
        let mut source = folder.source();
        source.look();
        assert_eq!(source.tally(), Tally { good: 1, broken: 0 });
        folder.write("a.json", "{");
        assert!(lets(&source.look().unwrap(), 1, "a.example"));
        assert_eq!(source.tally(), Tally { good: 0, broken: 1 });
        folder.write("a.json", &" ".repeat(usize::try_from(BYTES).unwrap() + 1));
        assert!(lets(&source.look().unwrap(), 1, "a.example"));
        folder.write("a.json", &policy(1, "b.example"));
        assert!(lets(&source.look().unwrap(), 1, "b.example"));
        assert_eq!(source.tally(), Tally { good: 1, broken: 0 });
    }

    #[test]
    fn a_file_that_was_never_good_allows_nothing_and_spoils_no_other() {
        let folder = Folder::new();
        folder.write("a.json", "[]");
        folder.write("b.json", &policy(2, "b.example"));
        let mut source = folder.source();
        let policies = source.look().unwrap();
        assert_eq!(policies.pools.len(), 1);
        assert!(lets(&policies, 2, "b.example"));
        assert_eq!(source.tally(), Tally { good: 1, broken: 1 });
    }

    #[test]
    fn of_two_files_with_one_pool_the_first_by_name_counts() {
        let folder = Folder::new();
        folder.write("b.json", &policy(1, "b.example"));
        folder.write("a.json", &policy(1, "a.example"));
        let mut source = folder.source();
        assert!(lets(&source.look().unwrap(), 1, "a.example"));
        assert_eq!(source.tally(), Tally { good: 1, broken: 1 });
    }

    #[test]
    fn the_swap_of_a_mounted_config_map_is_seen_as_one_change() {
        let folder = Folder::new();
        for (version, host) in [("..1", "a.example"), ("..2", "b.example")] {
            fs::create_dir(folder.0.join(version)).unwrap();
            fs::write(folder.0.join(version).join("pool.json"), policy(1, host)).unwrap();
        }
        symlink("..1", folder.0.join("..data")).unwrap();
        symlink("..data/pool.json", folder.0.join("pool.json")).unwrap();
        let mut source = folder.source();
        assert!(lets(&source.look().unwrap(), 1, "a.example"));
        symlink("..2", folder.0.join("..next")).unwrap();
        fs::rename(folder.0.join("..next"), folder.0.join("..data")).unwrap();
        assert!(lets(&source.look().unwrap(), 1, "b.example"));
        assert_eq!(source.look(), None);
    }

    #[test]
    fn without_keys_or_without_the_folder_it_is_not_ready() {
        let folder = Folder::new();
        let mut source = folder.source();
        assert!(!source.ready());
        source.look();
        assert!(source.ready(), "no pool at all is a state that can be asked for");
        let mut without_keys = Source::new(folder.0.clone(), folder.0.join("missing"));
        assert!(without_keys.look().is_some_and(|policies| policies.keys.is_empty()));
        assert!(!without_keys.ready());
        let mut without_folder = Source::new(folder.0.join("missing"), folder.0.join("keys.pem"));
        without_folder.look();
        assert!(!without_folder.ready());
        assert_eq!(without_folder.tally(), Tally { good: 0, broken: 1 });
    }

    #[test]
    fn keys_can_be_replaced_and_broken_ones_leave_the_old_in_force() {
        let folder = Folder::new();
        let mut source = folder.source();
        let old = source.look().unwrap().keys;
        folder.write("keys.pem", "nothing");
        assert_eq!(source.look().unwrap().keys, old);
        assert_eq!(source.tally(), Tally { good: 0, broken: 1 });
        folder.write("keys.pem", &keys());
        assert_ne!(source.look().unwrap().keys, old);
    }
}
