//! Locks that are and are not taken.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

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

/// As if they had been downloaded: the archive is not asked for what is there.
#[test]
fn a_package_with_other_bytes_is_refused_and_removed() {
    let folder = std::env::temp_dir().join(format!("steading-packages-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut lock = lock();
    for package in &mut lock.packages {
        std::fs::write(folder.join(package.file()), "twelve bytes").unwrap();
        package.sha256 = crate::hex(b"twelve bytes");
    }
    fetch::fetch(&lock, &folder).unwrap();
    let path = folder.join(lock.packages[1].file());
    std::fs::write(&path, "twelve BYTES").unwrap();
    let refusal = fetch::fetch(&lock, &folder).unwrap_err().to_string();
    assert!(refusal.starts_with("libfence++6 0~1 is not what the lock says"), "{refusal}");
    assert!(!path.exists());
    std::fs::remove_dir_all(folder).unwrap();
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
