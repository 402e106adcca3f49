//! `examples/consumer/documents.yaml`, run as it stands. In: what its Secret says, a token, both in files as a kubelet lays them out. Out: what
//! it prints.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use e2e::nursery::Nursery;
use e2e::servers::OpenBao;
use e2e::wait::until;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::chain::PATIENCE;

const EXAMPLE: &str = include_str!("../../../examples/consumer/documents.yaml");

/// Whom it asks about.
pub const PEOPLE: [&str; 2] = ["user:anna", "user:ben"];

/// The example as a process.
pub struct Documents {
    log: PathBuf,
    token: PathBuf,
    /// How much of its log was looked at.
    heard: usize,
    /// Drops last: then process and files are gone.
    _nursery: Nursery,
}

/// One object of the example.
fn object(kind: &str) -> Result<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(EXAMPLE).context("the example is no YAML")?;
    objects.into_iter().find(|object| object["kind"] == kind).with_context(|| format!("the example has no {kind}"))
}

/// The objects of a list by their names.
fn by_name(list: &Value) -> BTreeMap<&str, &Value> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|it| Some((it["name"].as_str()?, it))).collect()
}

/// A folder as a kubelet mounts it: `..data` leads to what is there now, and is exchanged in one step.
fn mount(folder: &Path, files: &BTreeMap<&str, String>) -> Result<()> {
    let now = format!("..{}", e2e::unique("now"));
    fs::create_dir_all(folder.join(&now))?;
    symlink(&now, folder.join("..data_tmp"))?;
    for (name, content) in files {
        fs::write(folder.join(&now).join(name), content)?;
        symlink(Path::new("..data").join(name), folder.join(name)).ok();
    }
    fs::rename(folder.join("..data_tmp"), folder.join("..data"))?;
    Ok(())
}

impl Documents {
    /// Runs it with these files; `None` on a machine that has no Python.
    pub fn start(openbao: &OpenBao, told: &BTreeMap<&str, String>, token: &SecretString) -> Result<Option<Self>> {
        if !Command::new("python3").arg("--version").output().is_ok_and(|told| told.status.success()) {
            e2e::show("e2e: there is no python3, so examples/consumer/documents.yaml is not run");
            return Ok(None);
        }
        let mut nursery = Nursery::new("documents")?;
        let (settings, deployment) = (object("ConfigMap")?, object("Deployment")?);
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let (mounts, volumes) = (by_name(&container["volumeMounts"]), by_name(&pod["volumes"]));
        let projected = &volumes["token"]["projected"]["sources"][0]["serviceAccountToken"];
        ensure!(projected["audience"] == openbao.audience() && projected["path"] == "token", "{projected}");
        ensure!(volumes["store"]["secret"]["secretName"].is_string(), "{}", volumes["store"]);
        ensure!(volumes["settings"]["configMap"]["name"] == settings["metadata"]["name"], "{}", volumes["settings"]);

        // What is a path in the pod is one in the nursery.
        let places = mounts.values().filter_map(|mount| mount["mountPath"].as_str());
        let places: Vec<(&str, PathBuf)> =
            places.map(|path| (path, nursery.directory().join(path.trim_start_matches('/')))).collect();
        let here = |text: &str| {
            let of = places.iter().find_map(|(path, here)| Some((here, text.strip_prefix(path)?)));
            of.map_or_else(|| text.to_owned(), |(here, rest)| format!("{}{rest}", here.display()))
        };
        let place = |name: &str| PathBuf::from(here(mounts[name]["mountPath"].as_str().unwrap_or_default()));
        let texts = settings["data"].as_object().context("no settings")?.iter();
        let texts = texts.filter_map(|(name, text)| Some((name.as_str(), text.as_str()?.to_owned())));
        mount(&place("settings"), &texts.collect())?;
        mount(&place("store"), told)?;

        let words = container["command"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let [program, arguments @ ..] = &words.map(here).collect::<Vec<_>>()[..] else { panic!("{container}") };
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, value) in by_name(&container["env"]) {
            let value = match name {
                "OPENBAO" => openbao.address(),
                "PEOPLE" => PEOPLE.join(" "),
                "PAUSE" => "0.2".to_owned(),
                _ => here(value["value"].as_str().unwrap_or_default()),
            };
            command.env(name, value);
        }
        let renewing = place("token");
        mount(&renewing, &BTreeMap::from([("token", token.expose_secret().to_owned())]))?;
        let log = nursery.spawn("documents", &mut command)?.log().to_owned();
        Ok(Some(Self { log, token: renewing, heard: 0, _nursery: nursery }))
    }

    /// Renews its token, as a kubelet does.
    pub fn renew(&self, token: &SecretString) -> Result<()> {
        mount(&self.token, &BTreeMap::from([("token", token.expose_secret().to_owned())]))
    }

    /// Waits until it prints lines that begin so, after all that it was heard to print before.
    pub async fn prints(&mut self, lines: &[String]) -> Result<()> {
        let heard = self.heard;
        let printed = || Ok::<_, anyhow::Error>(fs::read_to_string(&self.log)?.split_off(heard));
        let waited = until(&format!("the example prints {lines:?}"), PATIENCE, async || {
            let printed = printed()?;
            Ok(lines.iter().all(|line| printed.lines().any(|it| it.starts_with(line))))
        })
        .await;
        waited.with_context(|| printed().unwrap_or_default())?;
        self.heard = fs::read_to_string(&self.log)?.len();
        Ok(())
    }

    /// Fails if anything secret was printed: one of these, or any token at all, which all begin alike.
    pub fn told_nothing_of(&self, tokens: &[&SecretString]) -> Result<()> {
        let printed = fs::read_to_string(&self.log)?;
        ensure!(tokens.iter().all(|token| !printed.contains(token.expose_secret())), "a token is in the log");
        ensure!(!printed.contains("eyJ"), "something like a token is in the log");
        Ok(())
    }
}
