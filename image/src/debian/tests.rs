//! Locks that are and are not taken.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;

use super::gone::{Gone, judge};
use super::store::Store;
use super::*;

fn lock() -> Lock {
    let package = |name: &str, version: &str| Package {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        size: 12,
        sha256: crate::hex(name.as_bytes()),
        path: format!("debian/pool/main/{name}_{version}_amd64.deb"),
    };
    Lock {
        request: crate::hex(b"release trixie\n"),
        release: "trixie".to_owned(),
        seen: "20261123T155500Z".to_owned(),
        packages: vec![package("cow", "1:2+deb13u1"), package("libfence++6", "0~1")],
    }
}

#[test]
fn a_lock_that_was_written_is_read_as_it_was() {
    assert_eq!(Lock::parse(&lock().to_string()).unwrap(), lock());
}

#[test]
fn a_lock_of_another_request_is_refused() {
    lock().answers("release trixie\n").unwrap();
    let refusal = lock().answers("release trixie\ncow\n").unwrap_err().to_string();
    assert!(refusal.contains("another list of packages"), "{refusal}");
}

#[test]
fn a_lock_that_is_not_understood_is_refused_with_what_is_wrong() {
    let text = lock().to_string();
    let sum = crate::hex(b"cow");
    let cases = [
        ("release trixie\n", "", "no line `release`"),
        ("\nrequest ", "\n#", "no line `request`"),
        ("\nseen", "\nsewn", "\"sewn\", which is not known"),
        ("package libfence++6", "package cow", "has cow twice"),
        (sum.as_str(), "c0ffee", "no SHA-256"),
        (" 12 ", " twelve ", "no number of bytes"),
        (" 12 ", " ", "six words"),
        ("debian/pool/main/cow", "debian/../../etc/cow", "no path"),
        ("debian/pool/main/cow", "/etc/cow", "no path"),
        ("debian/pool/main/cow", "debian/pool'main/cow", "no path"),
    ];
    for (from, to, expected) in cases {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let refusal = format!("{:#}", Lock::parse(&changed).unwrap_err());
        assert!(refusal.contains(expected), "{from:?} to {to:?}: {refusal}");
    }
}

#[test]
fn what_the_archive_changed_is_told_by_package() {
    let mut newer = lock();
    assert!(lock().differences(&newer).is_empty());
    newer.packages[0].version = "1:3".to_owned();
    newer.packages[1].name = "libfence7".to_owned();
    let told = ["cow 1:2+deb13u1 -> 1:3", "libfence++6 0~1 is no longer needed", "libfence7 0~1 is new"];
    assert_eq!(lock().differences(&newer), told);
    let mut forged = lock();
    forged.packages[0].sha256 = crate::hex(b"wolf");
    assert_eq!(lock().differences(&forged), ["cow 1:2+deb13u1: other bytes"]);
}

/// A lock of two packages that have these bytes, and a store of its own; nothing of it is left.
fn with_store(test: impl Fn(&Lock, &Store)) {
    let folder = std::env::temp_dir().join(format!("steading-packages-{:?}", std::thread::current().id()));
    let folder = folder.with_extension(std::process::id().to_string());
    let mut lock = lock();
    for package in &mut lock.packages {
        (package.size, package.sha256) = (bytes(package).len() as u64, crate::hex(bytes(package).as_bytes()));
    }
    test(&lock, &Store::new(&folder));
    std::fs::remove_dir_all(folder).unwrap();
}

fn bytes(package: &Package) -> String {
    format!("the bytes of {}", package.name)
}

/// Downloads these bytes of what lies at addresses of which this is true, and says that the rest is not there.
fn only<'a>(
    is_there: impl Fn(&str) -> bool + 'a,
    bytes: impl Fn(&Package) -> String + 'a,
) -> impl Fn(&[fetch::Wanted<'_>], &Path) -> anyhow::Result<String> + 'a {
    move |wanted, folder| {
        let mut said = String::new();
        for (package, address) in wanted {
            if is_there(address) {
                std::fs::write(folder.join(package.file()), bytes(package))?;
            } else {
                said += "404\n";
            }
        }
        Ok(said)
    }
}

fn nothing(_: &[fetch::Wanted<'_>], _: &Path) -> anyhow::Result<String> {
    panic!("something was downloaded")
}

#[test]
fn a_package_that_was_got_once_is_not_asked_for_again() {
    with_store(|lock, store| {
        let missing = fetch::fetch_by(lock, store, |_| {}, only(|_| true, bytes)).unwrap();
        assert_eq!(missing, fetch::Missing::default());
        assert_eq!(std::fs::read_to_string(store.path(&lock.packages[1])).unwrap(), "the bytes of libfence++6");
        assert_eq!(fetch::fetch_by(lock, store, |_| {}, nothing).unwrap(), missing);
    });
}

#[test]
fn a_kept_package_that_was_damaged_is_told_and_got_anew() {
    with_store(|lock, store| {
        fetch::fetch_by(lock, store, |_| {}, only(|_| true, bytes)).unwrap();
        let path = store.path(&lock.packages[0]);
        std::fs::write(&path, "the BYTES of cow").unwrap();
        let told = std::cell::RefCell::new(String::new());
        fetch::fetch_by(lock, store, |text| told.borrow_mut().push_str(text), only(|_| true, bytes)).unwrap();
        assert!(told.borrow().contains("it was not cow 1:2+deb13u1 of the lock; it is removed"), "{told:?}");
        assert!(told.borrow().contains("getting 1 packages"), "{told:?}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "the bytes of cow");
    });
}

#[test]
fn what_has_other_bytes_than_the_lock_says_is_never_kept() {
    with_store(|lock, store| {
        let missing = fetch::fetch_by(lock, store, |_| {}, only(|_| true, |_| "a wolf".to_owned())).unwrap();
        assert_eq!(missing.packages, lock.packages);
        assert!(lock.packages.iter().all(|package| !store.path(package).exists()));
    });
}

#[test]
fn what_the_archive_dropped_comes_from_its_snapshot_or_is_missing() {
    let snapshot = "http://snapshot.debian.org/archive/debian/20261123T155500Z/pool/main/cow_1:2+deb13u1_amd64.deb";
    with_store(|lock, store| {
        let archive = |address: &str| address.starts_with("http://deb.debian.org/debian/") && !address.contains("cow");
        let missing = fetch::fetch_by(lock, store, |_| {}, only(archive, bytes)).unwrap();
        assert_eq!(missing.packages, lock.packages[..1]);
        assert_eq!(missing.said, "404");
        let missing = fetch::fetch_by(lock, store, |_| {}, only(|address| address == snapshot, bytes)).unwrap();
        assert_eq!(missing, fetch::Missing { said: "404".to_owned(), ..fetch::Missing::default() });
    });
}

#[test]
fn packages_that_the_archive_replaced_are_nobodys_fault_and_others_should_have_come() {
    let mut now = lock();
    now.packages.remove(1);
    now.packages[0].version = "1:3".to_owned();
    let replaced = ["cow 1:2+deb13u1 -> 1:3", "libfence++6 0~1, which nothing needs any more"];
    assert_eq!(judge(&lock().packages, &now), Gone::Replaced(replaced.map(str::to_owned).into()));
    // One that is still there is enough.
    now.packages.push(lock().packages[1].clone());
    assert_eq!(judge(&lock().packages, &now), Gone::Withheld(vec!["libfence++6 0~1".to_owned()]));
    now.packages[1].sha256 = crate::hex(b"wolf");
    let forged = "libfence++6 0~1, which has other bytes in the archive's lists".to_owned();
    assert_eq!(judge(&lock().packages, &now), Gone::Withheld(vec![forged]));
}

#[test]
fn a_request_says_what_is_wanted_and_what_is_left_out() {
    let request = resolve::Request::parse("# a farm\nrelease trixie\n\ncow bull # two\n- wolf\n").unwrap();
    assert_eq!(format!("{request:?}").matches("\"trixie\"").count(), 1);
    for (text, expected) in [("cow\n", "no line `release NAME`"), ("release trixie\n--yes\n", "no name of a package")] {
        let refusal = resolve::Request::parse(text).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}
