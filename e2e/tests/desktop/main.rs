//! The image of agents' desktops: what is in it, and that it runs as nobody, without rights and read-only, under either kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "everything here is a test: a panic is how it fails"
)]

mod driven;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;

use anyhow::Result;
use e2e::desktops::{Desktop, Made, Root, VOLUMES};
use e2e::lacks_real_nodes;
use e2e::packets::Runtime;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

/// One after the other: each needs both cores.
static ALONE: Mutex<()> = Mutex::const_new(());
/// Made, and unpacked, once for all.
static MADE: OnceCell<Made> = OnceCell::const_new();
static ROOT: OnceCell<Root> = OnceCell::const_new();

async fn made() -> Result<&'static Made> {
    MADE.get_or_try_init(Made::of_debian).await
}

async fn root() -> Result<&'static Root> {
    ROOT.get_or_try_init(async || Root::unpack(&made().await?.layer)).await
}

/// A page with a colour that nothing else has, and text in many scripts.
const PAGE: &str = "data:text/html;charset=utf-8,<title>Accounts</title><body style='background:rgb(224,240,255);font-size:40px'>\
                    Invoice INV-4711<br>日本語 中文 한국어 हिन्दी العربية ไทย 😀<br><button>Send it</button>";
const COLOUR: [u8; 3] = [224, 240, 255];

/// On this machine and that of whoever chose the packages, or twice here.
#[tokio::test]
async fn the_same_packages_become_the_same_layer() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let made = made().await?;
    let _alone = ALONE.lock().await;
    let [one, other] = tokio::task::spawn_blocking(move || made.made_again()).await??;
    assert_eq!(one, other);
    Ok(())
}

#[tokio::test]
async fn nothing_in_the_layer_lends_rights_or_can_be_written_but_volumes() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let layer = &made().await?.layer;
    let mut archive = tar::Archive::new(BufReader::new(File::open(layer.archive())?));
    let (mut writable, mut programs) = (BTreeSet::new(), 0);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = format!("/{}", entry.path()?.display());
        assert!(entry.pax_extensions()?.is_none(), "{path} has attributes, such as capabilities");
        let header = entry.header();
        let (kind, mode) = (header.entry_type(), header.mode()?);
        assert!(kind.is_file() || kind.is_dir() || kind.is_symlink(), "{path} is a {kind:?}");
        assert_eq!((header.uid()?, header.gid()?, header.mtime()?), (0, 0, 0), "{path}");
        assert_eq!(mode & 0o6000, 0, "{path} runs with the rights of another");
        programs += u32::from(kind.is_file() && mode & 0o111 != 0);
        if !kind.is_symlink() && mode & 0o022 != 0 {
            writable.insert(path.trim_end_matches('/').to_owned());
        }
    }
    assert_eq!(writable, VOLUMES.map(str::to_owned).into());
    assert!(programs > 100, "{programs} programs");
    Ok(())
}

#[tokio::test]
async fn the_document_lists_every_package_of_the_lock_with_its_checksum() -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let document = std::fs::read_to_string(root().await?.path().join(agent_image::SBOM))?;
    let document: Value = serde_json::from_str(&document)?;
    let listed: BTreeSet<_> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| package["checksums"].is_array())
        .map(|package| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&package["name"]), text(&package["versionInfo"]), text(&package["checksums"][0]["checksumValue"]))
        })
        .collect();
    let locked = made().await?.lock.packages.iter();
    let locked = locked.map(|it| (it.name.clone(), it.version.clone(), it.sha256.clone())).collect();
    assert_eq!(listed, locked);
    let told =
        |package: &&Value| package["licenseDeclared"] != "NOASSERTION" || package["licenseComments"] != Value::Null;
    assert!(document["packages"].as_array().unwrap()[1..].iter().all(|package| told(&package)));
    Ok(())
}

#[tokio::test]
async fn under_runc_it_shows_a_page_as_nobody_read_only_and_in_chromiums_own_sandbox() -> Result<()> {
    shows_a_page(Runtime::Runc).await
}

#[tokio::test]
async fn under_gvisor_it_shows_a_page_as_nobody_read_only_and_in_chromiums_own_sandbox() -> Result<()> {
    shows_a_page(Runtime::Gvisor).await
}

async fn shows_a_page(runtime: Runtime) -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let root = root().await?;
    let _alone = ALONE.lock().await;
    let mut desktop = Desktop::start(runtime, root, PAGE).await?;
    let (_, screen) = desktop.wait_for("there is a screen", |_| true)?;
    let (picture, page) = desktop.wait_for("it shows the page", |picture| picture.share_of(COLOUR) > 0.5)?;
    let name = runtime.name();
    e2e::show(&format!("desktop: {name}: screen after {screen:.2?}, page after {page:.2?}"));

    text_is_read(&mut desktop, &picture.ppm())?;
    nobody_has_rights(&mut desktop, runtime)?;
    nothing_else_can_be_written(&mut desktop)?;
    the_page_is_in_the_accessibility_tree(&mut desktop)?;
    let lists = desktop.shell("ls -A /home/agent/.cache")?;
    assert!(!lists.contains("fontconfig"), "fonts are listed anew at each start: {lists}");
    without_its_window_manager_it_ends(&mut desktop)
}

fn without_its_window_manager_it_ends(desktop: &mut Desktop) -> Result<()> {
    let script = "for it in /proc/[0-9]*; do read -r name <$it/comm && [ $name != openbox ] || kill ${it#/proc/}; done";
    // It may end before the script does, which is then killed.
    desktop.run(&["/bin/sh", "-c", script], b"")?;
    let said = desktop.end()?;
    assert!(said.contains("desktop: openbox ended"), "{said}");
    Ok(())
}

/// By the program in the image, with a box around each word.
fn text_is_read(desktop: &mut Desktop, picture: &[u8]) -> Result<()> {
    let (words, succeeded) = desktop.run(&["/usr/bin/tesseract", "stdin", "stdout", "--psm", "11", "tsv"], picture)?;
    assert!(succeeded, "{words}");
    let found =
        words.lines().map(|line| line.split('\t').collect::<Vec<_>>()).find(|row| row.last() == Some(&"INV-4711"));
    let row = found.unwrap_or_else(|| panic!("the number is not read:\n{words}"));
    let of_box: Vec<u32> = row[6..10].iter().map(|number| number.parse().unwrap()).collect();
    assert!(of_box[0] < 400 && of_box[1] < 300 && of_box[2] > 100 && of_box[3] > 15, "it stands elsewhere: {of_box:?}");
    Ok(())
}

/// No process is root's, has a capability outside a namespace of its own, or can come by one; pages are drawn behind a filter of calls.
fn nobody_has_rights(desktop: &mut Desktop, runtime: Runtime) -> Result<()> {
    let processes = desktop.shell(
        "for it in /proc/[0-9]*; do { tr '\\0' ' ' <$it/cmdline && echo && cat $it/status && echo end; } 2>/dev/null; done; :",
    )?;
    let (mut renderers, mut all) = (0, 0);
    for process in processes.split("\nend\n").filter(|process| process.contains("Uid:")) {
        let (command, status) = process.split_once('\n').unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!(field("Uid:").unwrap().split_whitespace().collect::<BTreeSet<_>>(), ["65532"].into(), "{command}");
        assert!(!command.contains("--no-sandbox") && !command.contains("--disable-setuid-sandbox"), "{command}");
        let renders = command.contains("--type=renderer");
        // Chromium's sandbox is a user namespace, in which it has rights over itself.
        if !command.contains("--type=") {
            assert_eq!(field("CapEff:").unwrap(), "0000000000000000", "{command}");
            assert_eq!(field("CapBnd:").unwrap(), "0000000000000000", "{command}");
        }
        if renders {
            assert_eq!(field("Seccomp:").unwrap(), "2", "{command}");
        }
        if let Runtime::Runc = runtime {
            assert_eq!(field("NoNewPrivs:").unwrap(), "1", "{command}");
        }
        (renderers, all) = (renderers + u32::from(renders), all + 1);
    }
    assert!(renderers >= 1 && all >= 10, "{renderers} of {all}:\n{processes}");
    Ok(())
}

fn nothing_else_can_be_written(desktop: &mut Desktop) -> Result<()> {
    for volume in VOLUMES {
        desktop.shell(&format!("echo moo >{volume}/cow && rm {volume}/cow"))?;
    }
    let elsewhere = ["", "/etc", "/usr/bin", "/usr/share/fonts", "/var/tmp", "/var/cache/fontconfig", "/home", "/run"];
    for folder in elsewhere {
        let (said, written) = desktop.run(&["/bin/sh", "-c", &format!("echo moo >{folder}/cow")], b"")?;
        assert!(!written, "{folder}/ can be written: {said}");
    }
    Ok(())
}

fn the_page_is_in_the_accessibility_tree(desktop: &mut Desktop) -> Result<()> {
    let ask = "dbus-send --print-reply=literal --dest=org.a11y.Bus /org/a11y/bus org.a11y.Bus.GetAddress";
    let address = desktop.shell(ask)?.trim().to_owned();
    let programs = desktop.shell(&format!(
        "dbus-send --bus='{address}' --print-reply --dest=org.a11y.atspi.Registry /org/a11y/atspi/accessible/root \
         org.a11y.atspi.Accessible.GetChildren"
    ))?;
    let browser =
        programs.split('"').find(|word| word.starts_with(":1.")).expect("no program is in the tree").to_owned();
    let children = desktop.shell(&format!(
        "dbus-send --bus='{address}' --print-reply --dest={browser} /org/a11y/atspi/accessible/root \
         org.a11y.atspi.Accessible.GetChildren"
    ))?;
    let window =
        children.split('"').find(|word| word.starts_with("/org/a11y/")).expect("the browser has no window").to_owned();
    let name = desktop.shell(&format!(
        "dbus-send --bus='{address}' --print-reply --dest={browser} {window} org.freedesktop.DBus.Properties.Get \
         string:org.a11y.atspi.Accessible string:Name"
    ))?;
    assert!(name.contains("Accounts"), "the window of the page is called otherwise: {name}");
    Ok(())
}
