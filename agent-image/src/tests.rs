//! The inputs of the image agree with each other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

#[test]
fn the_lock_answers_the_request_and_another_request_is_refused() {
    let lock = lock().unwrap();
    let names: Vec<_> = lock.packages.iter().map(|package| package.name.as_str()).collect();
    for name in ["chromium", "openbox", "tigervnc-standalone-server", "tesseract-ocr", "at-spi2-core", "fonts-noto-cjk"]
    {
        assert!(names.contains(&name), "{name} is not in the lock");
    }
    for name in ["chromium-sandbox", "dbus", "login", "passwd", "perl-base", "sudo", "util-linux", "xvfb"] {
        assert!(!names.contains(&name), "{name} is in the lock");
    }
    let refusal = format!("{:#}", read_lock(LOCK, &format!("{REQUEST}\nsudo\n")).unwrap_err());
    assert!(refusal.contains("make agent-image-lock") && refusal.contains("another list"), "{refusal}");
}

#[test]
fn own_files_lend_no_rights_and_belong_where_packages_have_none_or_the_wrong_one() {
    let files = own::files();
    assert!(files.values().all(|file| matches!(file.mode, 0o644 | 0o755)));
    let passwd = String::from_utf8(files["etc/passwd"].content.clone()).unwrap();
    let (user, group) = USER.split_once(':').unwrap();
    assert!(passwd.contains(&format!("agent:x:{user}:{group}::{}:", WRITABLE[0])), "{passwd}");
    assert!(files.contains_key(ENTRY.trim_start_matches('/')));
}

/// Chromium's own sandbox is what keeps a page from the session's secrets.
#[test]
fn nothing_turns_chromiums_sandbox_off() {
    for (path, file) in own::files() {
        let text = String::from_utf8_lossy(&file.content).into_owned();
        assert!(!text.contains("no-sandbox") && !text.contains("NoSandbox"), "{path}");
    }
}

/// The engine's image is to differ from ours in nothing but what an engine adds.
#[test]
fn the_containerfile_ends_with_the_same_contents_environment_user_and_program() {
    let text = include_str!("../Containerfile");
    let (_, last_stage) = text.rsplit_once("FROM ").unwrap();
    let image = started();
    let variables = image.environment.iter().map(|(name, value)| format!("ENV {name}={value}"));
    let lines: Vec<_> = ["scratch".to_owned(), "COPY --from=build /contents /".to_owned()]
        .into_iter()
        .chain(variables)
        .chain([format!("USER {}", image.user), format!("ENTRYPOINT [{:?}]", image.entrypoint[0])])
        .collect();
    assert_eq!(last_stage.trim().lines().collect::<Vec<_>>(), lines);
    let rust = format!("rust:{}-trixie", env!("CARGO_PKG_RUST_VERSION"));
    assert!(text.contains(&rust), "the builder is not {rust}");
}
