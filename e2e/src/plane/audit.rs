//! The record of calls that the API server itself keeps. In: a [`Mark`] of when to begin. Out: the [`Calls`] since.

use std::fmt;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;

use super::Plane;

/// A moment in the record.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    offset: u64,
}

/// One call as the API server recorded it. Field names are those of `audit.k8s.io/v1` Event.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Names the call; a watch has several entries with the same id, of which one is kept.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// `ResponseStarted` for a watch, else `ResponseComplete` (or `Panic`).
    pub stage: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query, such as `/api/v1/namespaces?limit=500`.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Who called.
    pub user: User,
    /// As whom the call was made, if the caller impersonated somebody.
    pub impersonated_user: Option<User>,
    /// The program that called, as it names itself.
    #[serde(default)]
    pub user_agent: String,
    /// On what; absent for paths such as `/version`.
    pub object_ref: Option<Object>,
    /// The answer.
    pub response_status: Option<Answer>,
    /// Notes of the API server, such as `authorization.k8s.io/decision` and `authorization.k8s.io/reason`, which
    /// names the binding and role that allowed the call.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A caller.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// Such as `system:serviceaccount:steading-system:steading`.
    #[serde(default)]
    pub username: String,
    /// All groups, those given by the API server included.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// What a call was about; fields that do not apply are empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Object {
    /// API group, empty for the core group.
    pub api_group: String,
    /// Plural name of the resource.
    pub resource: String,
    /// Such as `status`.
    pub subresource: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object; empty for lists and watches, and for creates the name in the body.
    pub name: String,
}

/// An answer, as far as it is recorded.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// HTTP status code.
    pub code: u16,
    /// Short machine-readable reason of a refusal.
    pub reason: String,
    /// Message of a refusal.
    pub message: String,
}

impl Entry {
    /// Whether the call asked for a change; a dry run counts, since the API server does the work of a write.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether the call asked for a change that was not to be kept.
    pub fn is_dry_run(&self) -> bool {
        self.request_uri.contains("dryRun=All")
    }

    /// The HTTP status code of the answer; 0 if none is recorded.
    pub fn code(&self) -> u16 {
        self.response_status.as_ref().map_or(0, |answer| answer.code)
    }

    /// Resource with its subresource, such as `tenants/status`; the path for calls that are about no resource.
    pub fn target(&self) -> String {
        match &self.object_ref {
            Some(object) if object.subresource.is_empty() => object.resource.clone(),
            Some(object) => format!("{}/{}", object.resource, object.subresource),
            None => self.request_uri.split('?').next().unwrap_or_default().to_owned(),
        }
    }
}

/// Calls in the order in which they were answered.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    entries: Vec<Entry>,
}

impl Calls {
    /// All entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Those for which `keep` holds.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&Entry) -> bool) -> Self {
        Self { entries: self.entries.iter().filter(|entry| keep(entry)).cloned().collect() }
    }

    /// Those of one user, by full name.
    #[must_use]
    pub fn by_user(&self, username: &str) -> Self {
        self.filter(|entry| entry.user.username == username)
    }

    /// Those of one ServiceAccount.
    #[must_use]
    pub fn by_service_account(&self, namespace: &str, name: &str) -> Self {
        self.by_user(&format!("system:serviceaccount:{namespace}:{name}"))
    }

    /// Those with one verb.
    #[must_use]
    pub fn verb(&self, verb: &str) -> Self {
        self.filter(|entry| entry.verb == verb)
    }

    /// Those on one resource, written as `tenants` or `tenants/status`.
    #[must_use]
    pub fn resource(&self, target: &str) -> Self {
        self.filter(|entry| entry.target() == target)
    }

    /// Those that ask for a change.
    #[must_use]
    pub fn writes(&self) -> Self {
        self.filter(Entry::is_write)
    }

    /// Those that read once: `get` and `list`, not `watch`.
    #[must_use]
    pub fn reads(&self) -> Self {
        self.filter(|entry| matches!(entry.verb.as_str(), "get" | "list"))
    }

    /// Those that were forbidden, by RBAC or by an admission policy.
    #[must_use]
    pub fn refused(&self) -> Self {
        self.filter(|entry| matches!(entry.code(), 401 | 403 | 422))
    }
}

/// One line for each kind of call with its number, so that a failed count shows what was called.
impl fmt::Display for Calls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = BTreeMap::<(String, String, String, u16), usize>::new();
        for entry in &self.entries {
            let key = (entry.user.username.clone(), entry.verb.clone(), entry.target(), entry.code());
            *counts.entry(key).or_default() += 1;
        }
        for ((user, verb, target, code), count) in counts {
            writeln!(formatter, "{count:5} {verb} {target} ({code}) by {user}")?;
        }
        Ok(())
    }
}

impl Plane {
    /// Marks this moment: [`Plane::calls_since`] tells what was answered after it.
    pub async fn mark(&self) -> Result<Mark> {
        Ok(Mark { offset: self.sign_the_record(0).await?.end })
    }

    /// All calls answered between `mark` and now. Calls by which marks are made are left out.
    pub async fn calls_since(&self, mark: Mark) -> Result<Calls> {
        let signed = self.sign_the_record(mark.offset).await?;
        parse(&signed.text)
    }

    /// All calls since the plane was started.
    pub async fn calls(&self) -> Result<Calls> {
        self.calls_since(Mark { offset: 0 }).await
    }

    /// Makes a call that can be recognised and waits until it is in the record: then everything answered before is
    /// there too. Returns the record from `offset` up to that call.
    async fn sign_the_record(&self, offset: u64) -> Result<Signed> {
        let signature = uuid::Uuid::new_v4().to_string();
        let request = http::Request::get(format!("/version?{SIGNATURE}={signature}")).body(Vec::new())?;
        self.admin()?.request_text(request).await.context("the API server does not answer, so its record is open")?;
        let started = Instant::now();
        loop {
            let text = read_from(&self.audit_log, offset)?;
            if let Some(position) = text.find(&signature) {
                let line_end = text.get(position..).and_then(|rest| rest.find('\n'));
                if let Some(length) = line_end {
                    let end = position + length + 1;
                    let text = text.get(..end).unwrap_or_default().to_owned();
                    return Ok(Signed { end: offset + end as u64, text });
                }
            }
            if started.elapsed() > Duration::from_secs(10) {
                bail!("a call did not appear in {} within 10 s", self.audit_log.display());
            }
            tokio::time::sleep(crate::nursery::POLL_EVERY).await;
        }
    }
}

/// Query parameter by which the calls that make marks are recognised.
const SIGNATURE: &str = "steading-mark";

/// A piece of the record and the offset at which it ends.
struct Signed {
    end: u64,
    text: String,
}

fn read_from(path: &std::path::Path, offset: u64) -> Result<String> {
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One entry for each call: a watch is recorded when it starts and again when it ends, and counts when it starts.
fn parse(text: &str) -> Result<Calls> {
    let mut seen = std::collections::HashSet::new();
    let mut entries = Vec::new();
    for line in text.lines() {
        let entry: Entry = serde_json::from_str(line).with_context(|| format!("not an audit entry: {line}"))?;
        let end_of_a_watch = entry.verb == "watch" && entry.stage == "ResponseComplete" && entry.code() < 400;
        if !entry.request_uri.contains(SIGNATURE) && !end_of_a_watch && seen.insert(entry.audit_id.clone()) {
            entries.push(entry);
        }
    }
    Ok(Calls { entries })
}
