//! The CEL rules of agents, in AgentPool and TenantClass.

use serde_json::{Value, json};

use crate::objects::{IMAGE, at, full};
use crate::rules::{Case, HOSTILE};
use crate::tenants::{BYTES, CPU, DURATION, name};

const PINNED: &str = "image must be host/path@sha256: and 64 digits, with or without a tag before the @: a tag alone can \
    become another image";
const RUNTIME_CLASS: &str = "must be the name of a RuntimeClass: lower-case letters, digits, dashes and dots; see kubectl get \
    runtimeclasses";

pub fn cases() -> Vec<Case> {
    let mut cases = class();
    cases.extend(pool());
    cases.extend([image(), rollout()]);
    cases.extend(amounts());
    cases
}

fn of(path: &'static str, message: &'static str) -> Case {
    Case::of("AgentPool", path, message)
}

fn class() -> Vec<Case> {
    let there = at(&mut full("TenantClass"), "spec.agents").clone();
    let removed = "agents cannot be removed: Workspaces have pools of them; create a new TenantClass without it";
    vec![
        Case::of("TenantClass", "spec", removed)
            .refuses_change(there.clone(), Value::Null)
            .at("spec.agents")
            .takes_change(Value::Null, there)
            .at("spec.agents"),
        Case::of("TenantClass", "spec.agents.runtimeClass", RUNTIME_CLASS)
            .refuses_all(HOSTILE)
            .refuses_all(["gVisor", "-a", "a-", ".a", "a_b"])
            .takes_all(["gvisor", "kata-qemu", "runsc.v2", "0"])
            .takes_change("gvisor", "gvisor-2"),
    ]
}

fn pool() -> Vec<Case> {
    let workspace = "must be the name of a Workspace of the same Tenant: lower-case letters, digits and dashes; see kubectl \
        get workspaces";
    vec![
        name("AgentPool"),
        of("spec.workspace", workspace)
            .refuses_all(HOSTILE)
            .refuses_all(["Finance", "finance.a", "-a", "a-", "a_b", "other/finance"])
            .takes_all(["finance", "f", "0"]),
        of("spec.workspace", "workspace is immutable: create a new object to use another")
            .refuses_change("finance", "research"),
        of("spec.protectClaimed", DURATION)
            .refuses_all(["0h", "01h", "90", "1w", "h1", "1 h"])
            .takes_all(["1m", "90m"]),
        of("spec.protectClaimed", "protectClaimed must be 1m to 24h, in minutes or hours, such as 8h")
            .refuses_all(["1d", "25h", "1441m"])
            .takes_all(["24h", "1440m"])
            .takes(Value::Null),
    ]
}

fn image() -> Case {
    let digest = "0123456789abcdef".repeat(4);
    let with = |before: &str| format!("{before}@sha256:{digest}");
    let bad = [
        "registry.example/desktop:1.0".to_owned() + &"0".repeat(60),
        with("Registry.example/desktop"),
        with("registry.example/desk top"),
        with("registry.example//desktop"),
        with("registry.example/desktop:"),
        with("/desktop/desktop/desktop"),
        format!("registry.example/desktop@sha256:{}", digest.to_uppercase()),
        format!("registry.example/desktop@sha256:{}", &digest[..63]),
        format!("registry.example/desktop@sha256:{digest}0"),
        format!("registry.example/desktop@sha512:{digest}"),
        format!("{}\n", with("registry.example/desktop")),
        with("registry.example/$(id)"),
        with("registry.example/desktop;x"),
    ];
    let case = bad.into_iter().fold(of("spec.desktop.image", PINNED), Case::refuses);
    [
        "registry.example/a",
        "registry.example:5000/teams/desktop:1.0",
        "localhost/steading/desktop:0.1.0_x",
        "docker.io/a-b/c.d",
    ]
    .into_iter()
    .fold(case.takes(IMAGE), |case, before| case.takes(with(before)))
}

fn rollout() -> Case {
    let both = "rollout.maxUnavailable and rollout.maxSurge cannot both be 0, or nothing could ever be replaced";
    of("spec.rollout", both)
        .refuses(json!({ "maxUnavailable": 0, "maxSurge": 0 }))
        .takes(json!({ "maxUnavailable": 0 }))
        .takes(json!({ "maxSurge": 0 }))
        .takes(json!({ "maxUnavailable": 0, "maxSurge": 1 }))
        .takes(json!({}))
        .takes(Value::Null)
}

fn amounts() -> Vec<Case> {
    let cpu = ["0", "-1", "1.5", "1e3", "m", "01", "1 ", "2k"];
    let bytes = ["1024", "1G", "0Gi", "1.5Gi", "-1Gi", "Gi", "1gi", "1Ki"];
    vec![
        of("spec.desktop.resources.cpu", CPU).refuses_all(cpu).takes_all(["1", "500m", "64"]),
        of("spec.desktop.resources.memory", BYTES).refuses_all(bytes).takes_all(["256Mi", "2Gi", "1Ti"]),
        of("spec.desktop.resources.memory", "memory of a desktop must be at least 256Mi")
            .refuses_all(["1Mi", "255Mi"])
            .takes_all(["256Mi", "1Gi"]),
        of("spec.desktop.home.size", BYTES).refuses_all(bytes).takes_all(["1Mi", "5Gi", "1Ti"]),
    ]
}
