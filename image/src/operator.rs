//! The operator's image: four static programs, the authorities that they trust, and nothing else. No shell, no package, no library.
//!
//! In: the operator, the probe, the canary and the relay's doorkeeper, built for musl. Out: the [`Image`], or why a program cannot be in one.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::program::architecture_of;
use crate::{File, Image, roots};

/// Where TLS looks for authorities on most distributions.
const ROOTS: &str = "etc/ssl/certs/ca-certificates.crt";
const OPERATOR: &str = "operator";
/// What the chart runs on every node, under the same image: it has to be there anyway.
const PROBE: &str = "probe";
/// What the operator runs in each stack with a database, under the same image: whoever mirrors images has one of them.
const CANARY: &str = "canary";
/// What lets agents in to NATS, under the same image for the same reason.
const RELAY: &str = "steading-relay";
/// Whom the chart runs it as: nobody that a distribution knows.
const USER: &str = "65532:65532";

/// The programs of the image.
#[derive(Debug)]
pub struct Programs {
    /// What reconciles.
    pub operator: Vec<u8>,
    /// What tries networks.
    pub probe: Vec<u8>,
    /// What writes into databases and drills.
    pub canary: Vec<u8>,
    /// What lets agents in to NATS.
    pub relay: Vec<u8>,
}

/// An image of these programs under this name, such as `localhost/steading/operator:0.1.0`.
///
/// # Errors
/// If one of them is none for Linux, for a processor that is not known here, or needs libraries that the image has not; or if they are
/// for different processors.
pub fn image(name: &str, Programs { operator, probe, canary, relay }: Programs) -> Result<Image> {
    let architecture = architecture_of(&operator).context(OPERATOR)?.to_owned();
    for (program, content) in [(PROBE, &probe), (CANARY, &canary), (RELAY, &relay)] {
        let other = architecture_of(content).context(program)?;
        ensure!(architecture == other, "the operator is for {architecture}, the {program} for {other}");
    }
    let roots = File { mode: 0o644, content: roots::bundle().into_bytes() };
    let programs = [(OPERATOR, operator), (PROBE, probe), (CANARY, canary), (RELAY, relay)];
    let programs = programs.map(|(name, content)| (name.to_owned(), File { mode: 0o755, content }));
    let files: BTreeMap<_, _> = programs.into_iter().chain([(ROOTS.to_owned(), roots)]).collect();
    let labels = [
        ("org.opencontainers.image.title", "Steading"),
        ("org.opencontainers.image.licenses", env!("CARGO_PKG_LICENSE")),
        ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION")),
    ];
    Ok(Image {
        name: name.to_owned(),
        architecture,
        files,
        entrypoint: vec![format!("/{OPERATOR}")],
        user: USER.to_owned(),
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..Image::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests::program;

    /// These programs, each good.
    fn programs(machine: u16) -> Programs {
        let good = || program(machine, &[1]);
        Programs { operator: good(), probe: good(), canary: good(), relay: good() }
    }

    #[test]
    fn a_static_program_is_taken_for_its_processor() {
        let amd64 = Programs { operator: program(62, &[1, 2]), probe: program(62, &[]), ..programs(62) };
        assert_eq!(image("x:1", amd64).unwrap().architecture, "amd64");
        assert_eq!(image("x:1", programs(183)).unwrap().architecture, "arm64");
    }

    #[test]
    fn what_could_not_start_in_the_image_is_refused() {
        let told = |programs: Programs| format!("{:#}", image("x:1", programs).unwrap_err());
        let refused = |bad: Vec<u8>| {
            let first = told(Programs { operator: bad.clone(), ..programs(62) });
            let second = told(Programs { probe: bad.clone(), ..programs(62) });
            let third = told(Programs { canary: bad.clone(), ..programs(62) });
            let fourth = told(Programs { relay: bad, ..programs(62) });
            assert_eq!(first.strip_prefix("operator: "), second.strip_prefix("probe: "));
            assert_eq!(first.strip_prefix("operator: "), third.strip_prefix("canary: "));
            assert_eq!(first.strip_prefix("operator: "), fourth.strip_prefix("steading-relay: "));
            first
        };
        assert!(refused(program(62, &[1, 3])).contains("needs libraries"));
        let arm64 = || program(183, &[1]);
        let mixed = told(Programs { probe: arm64(), ..programs(62) });
        assert_eq!(mixed, "the operator is for amd64, the probe for arm64");
        let mixed = told(Programs { canary: arm64(), ..programs(62) });
        assert_eq!(mixed, "the operator is for amd64, the canary for arm64");
    }

    #[test]
    fn the_image_runs_as_nobody_and_holds_the_programs_and_their_authorities_alone() {
        let image = image("localhost/steading/operator:0.1.0", programs(62)).unwrap();
        assert_eq!(image.user, "65532:65532");
        assert_eq!(image.files.keys().collect::<Vec<_>>(), [CANARY, ROOTS, OPERATOR, PROBE, RELAY]);
        let roots = String::from_utf8(image.files[ROOTS].content.clone()).unwrap();
        assert!(roots.matches("-----BEGIN CERTIFICATE-----").count() > 100);
        assert!(roots.lines().all(|line| line.len() <= 64), "PEM has lines of 64 characters");
    }

    /// The engine's image is to differ from ours in nothing but what an engine adds.
    #[test]
    fn the_containerfile_ends_with_the_same_contents_user_and_program() {
        let text = include_str!("../Containerfile");
        let (_, last_stage) = text.rsplit_once("FROM ").unwrap();
        let image = image("x:1", programs(62)).unwrap();
        let lines = [
            "scratch".to_owned(),
            "COPY --from=build /contents /".to_owned(),
            format!("USER {}", image.user),
            format!("ENTRYPOINT [{:?}]", image.entrypoint[0]),
        ];
        assert_eq!(last_stage.trim().lines().collect::<Vec<_>>(), lines);
        let rust = format!("rust:{}-alpine", env!("CARGO_PKG_RUST_VERSION"));
        assert!(text.contains(&rust), "the builder is not {rust}");

        let root = std::env::temp_dir().join(format!("steading-contents-{}", std::process::id()));
        image.write_files(&root).unwrap();
        for (path, file) in &image.files {
            assert_eq!(std::fs::read(root.join(path)).unwrap(), file.content, "{path}");
        }
        std::fs::remove_dir_all(root).unwrap();
    }
}
