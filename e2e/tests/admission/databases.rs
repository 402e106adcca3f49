//! The CEL rules of databases, in TenantClass and Workspace.

use serde_json::{Value, json};

use crate::objects::{at, full};
use crate::rules::{Case, HOSTILE};
use crate::tenants::{BYTES, CPU, DURATION};

const IMAGE: &str = "database.image must be host/path:tag whose tag begins with the major version, such as \
    registry.example/postgresql:18.4, with or without @sha256: and 64 digits";
const RANGES: &str = "each must be an address range of at least /8 (IPv6: /16), such as 10.20.0.0/24 or 10.20.0.7/32, with no \
    bit set beyond its length, and hold no link-local or metadata addresses";

pub fn cases() -> Vec<Case> {
    let mut cases = whole();
    cases.extend([image(), major_version(), ranges()]);
    cases.extend(class());
    cases.extend(lifecycle());
    cases.extend(amounts());
    cases
}

fn of(path: &'static str, message: &'static str) -> Case {
    Case::of("TenantClass", path, message)
}

/// Databases come and stay.
fn whole() -> Vec<Case> {
    let there = at(&mut full("TenantClass"), "spec.database").clone();
    let s3 = |endpoint: &str, ranges: Value| {
        let mut s3 = at(&mut full("TenantClass"), "spec.buckets.s3").clone();
        s3["endpoint"] = json!(endpoint);
        s3["cidrs"] = ranges;
        if s3["cidrs"].is_null() {
            s3.as_object_mut().unwrap().remove("cidrs");
        }
        s3
    };
    let disabled = || json!({ "disabled": true });
    vec![
        of("spec", "database cannot be removed: Workspaces have databases; create a new TenantClass without it")
            .refuses_change(there.clone(), Value::Null)
            .at("spec.database")
            .takes_change(Value::Null, there)
            .at("spec.database"),
        of(
            "spec",
            "database needs buckets.s3.cidrs, the address ranges of the store: NetworkPolicies know no names, and backups must \
             get out to it",
        )
        .refuses(s3("https://s3.example:9000", Value::Null))
        .at("spec.buckets.s3")
        .refuses(s3("https://192.0.2.7.example", Value::Null))
        .at("spec.buckets.s3")
        .takes(s3("https://192.0.2.7:9000", Value::Null))
        .at("spec.buckets.s3")
        .takes(s3("https://192.0.2.7/", Value::Null))
        .at("spec.buckets.s3")
        .takes(s3("https://[2001:db8::7]:9000", Value::Null))
        .at("spec.buckets.s3")
        .takes(s3("https://s3.example", json!(["192.0.2.0/24"])))
        .at("spec.buckets.s3"),
        Case::of(
            "Workspace",
            "spec",
            "database.disabled cannot be turned on later, because data would be lost: delete the Workspace instead (its \
             Tenant's deletionPolicy decides what remains)",
        )
        .refuses_change(json!({ "disabled": false }), disabled())
        .at("spec.database")
        .refuses_change(json!({}), disabled())
        .at("spec.database")
        .refuses_change(Value::Null, disabled())
        .at("spec.database")
        .takes_change(disabled(), disabled())
        .at("spec.database")
        .takes_change(disabled(), Value::Null)
        .at("spec.database"),
    ]
}

fn image() -> Case {
    let digest = format!("@sha256:{}", "a".repeat(64));
    of("spec.database.image", IMAGE)
        .refuses_all(HOSTILE.map(|text| if text.len() < 4 { "a b c" } else { text }))
        .refuses_all([
            "postgresql:18",
            "registry.example/postgresql",
            "registry.example/postgresql:latest",
            "registry.example/postgresql:v18",
            "registry.example/postgresql:1",
            "registry.example/postgresql:180",
            "https://registry.example/postgresql:18",
            "registry.example/PostgreSQL:18",
            "registry.example/postgresql:18@sha256:abc",
            "registry.example/postgresql@sha256:18",
            "registry.example/postgresql:18 ",
        ])
        .refuses(format!("registry.example/postgresql{digest}"))
        .takes_all([
            "registry.example/postgresql:18",
            "registry.example:5000/team/postgresql:18.4-standard-trixie",
            "localhost/postgresql:17.2",
        ])
        .takes(format!("registry.example/postgresql:18.4{digest}"))
}

fn major_version() -> Case {
    let digest = format!("@sha256:{}", "a".repeat(64));
    let of_major = |tag: &str| format!("registry.example:5000/team/postgresql:{tag}");
    of(
        "spec.database.image",
        "database.image cannot change its major version, because every database of the class would be converted at once: create \
         a new TenantClass for it",
    )
    .refuses_change(of_major("17.2"), of_major("18.4"))
    .refuses_change(of_major("18.4"), format!("{}{digest}", of_major("17")))
    .takes_change(of_major("18.3"), of_major("18.4-trixie"))
    .takes_change(of_major("18"), format!("{}{digest}", of_major("18.4")))
    .takes_change("a.example/other:18", of_major("18.4"))
}

fn ranges() -> Case {
    let hostile = HOSTILE.into_iter().chain([
        "192.0.2.7",
        "0.0.0.0/0",
        "128.0.0.0/1",
        "::/0",
        "192.0.2.7/24",
        "192.0.2.0/33",
        "169.0.0.0/8",
        "2000::/8",
        "169.254.0.0/16",
        "169.254.169.254/32",
        "fe80::/64",
        "fd00::/8",
        "fd00:ec2::/32",
    ]);
    hostile
        .fold(of("spec.buckets.s3.cidrs", RANGES), |case, text| case.refuses(json!(["192.0.2.0/24", text])))
        .takes(json!(["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "2001:db8::7/128"]))
}

fn class() -> Vec<Case> {
    let storage = |class: Value| {
        let mut storage = json!({ "size": "20Gi", "storageClass": class });
        if class.is_null() {
            storage.as_object_mut().unwrap().remove("storageClass");
        }
        storage
    };
    let full_every = "database.backup.fullEvery must be a part of a day: 1h, 2h, 3h, 4h, 6h, 8h, 12h or 24h";
    let retention = "database.backup.retention must be whole days, such as 30d";
    vec![
        of(
            "spec.database.storage",
            "database.storage.storageClass is immutable, because volumes do not move: create a new TenantClass to use another",
        )
        .refuses_change(storage(json!("fast")), storage(json!("slow")))
        .refuses_change(storage(json!("fast")), storage(Value::Null))
        .refuses_change(storage(Value::Null), storage(json!("fast")))
        .takes_change(storage(json!("fast")), storage(json!("fast"))),
        of(
            "spec.database.storage.storageClass",
            "must be the name of a StorageClass: lower-case letters, digits, dashes and dots",
        )
        .refuses_all(HOSTILE)
        .refuses_all(["Fast", "-a", "a-", ".a"])
        .takes_all(["a", "ebs.fast-1"]),
        of("spec.database.rpo", DURATION).refuses_all(["0m", "-1m", "1w", "1.5h", "90", "15M"]),
        of("spec.database.rpo", "database.rpo must be 3m to 24h, in minutes or hours, such as 15m")
            .refuses_all(["2m", "1441m", "25h", "1d", "99999h"])
            .takes_all(["3m", "15m", "1440m", "24h"]),
        of("spec.database.rto", DURATION).refuses_all(["0m", "-1m", "1w", "1.5h", "90", "15M"]),
        of("spec.database.rto", "database.rto must be 5m to 24h, in minutes or hours, such as 15m")
            .refuses_all(["4m", "1441m", "25h", "1d", "99999h"])
            .takes_all(["5m", "1h", "1440m", "24h"]),
        of("spec.database.restoreDrill.every", DURATION).refuses_all(["0h", "-1h", "1w", "1.5h", "90", "15M"]),
        of(
            "spec.database.restoreDrill.every",
            "database.restoreDrill.every must be 1h to 90d, in hours or days, such as 7d",
        )
        .refuses_all(["60m", "2161h", "91d", "99999d"])
        .takes_all(["1h", "7d", "90d", "2160h"]),
        of("spec.database.backup.fullEvery", full_every)
            .refuses_all(["5h", "2m", "1d", "48h", "02h", "0h"])
            .takes_all(["1h", "2h", "24h"]),
        of("spec.database.backup.retention", retention)
            .refuses_all(["30m", "24h", "0d", "1w", "30"])
            .takes_all(["15d", "30d", "9999d"]),
    ]
}

/// What becomes of backups that grow old.
fn lifecycle() -> Vec<Case> {
    let backup = |retention: &str, after: &str| {
        json!({
            "fullEvery": "2h", "retention": retention, "archive": { "after": after, "storageClass": "WARM" },
        })
    };
    vec![
        of("spec.database.backup.keepDeleted", "database.backup.keepDeleted must be whole days, 1d to 365d, such as 7d")
            .refuses_all(["0d", "366d", "1000d", "24h", "60m", "07d", "1w", "30", "-1d"])
            .takes_all(["1d", "7d", "365d"]),
        of("spec.database.backup.archive.after", "database.backup.archive.after must be whole days, such as 14d")
            .refuses_all(["0d", "24h", "60m", "014d", "1w", "14", "-1d"])
            .takes_all(["1d", "29d"]),
        of(
            "spec.database.backup",
            "database.backup.archive.after must be less than database.backup.retention: nothing gets older than that",
        )
        .refuses(backup("30d", "30d"))
        .refuses(backup("30d", "100d"))
        .refuses(backup("9d", "10d"))
        .refuses(backup("1d", "1d"))
        .takes(backup("2d", "1d"))
        .takes(backup("100d", "99d"))
        .takes(json!({ "fullEvery": "2h", "retention": "1d" })),
        of(
            "spec.database.backup.archive.storageClass",
            "database.backup.archive.storageClass must be upper-case letters, digits, _ and -, as the store calls it, such as STANDARD_IA",
        )
        .refuses_all(HOSTILE)
        .refuses_all(["standard_ia", "WARM TIER", "WARM.1", "WARM/1"])
        .takes_all(["WARM", "STANDARD_IA", "GLACIER_IR", "TIER-1", "9"]),
        of(
            "spec.database.backup.archive.storageClass",
            "a restore could not read what is in GLACIER or DEEP_ARCHIVE, because it must be thawed first: use GLACIER_IR, which costs \
             little and can be read at once",
        )
        .refuses_all(["GLACIER", "DEEP_ARCHIVE"])
        .takes_all(["GLACIER_IR", "DEEP_ARCHIVE_2"]),
    ]
}

fn amounts() -> Vec<Case> {
    let small = "memory of a database must be at least 256Mi";
    let bad_bytes = ["0Gi", "-1Gi", "1.5Gi", "1GiB", "01Gi", "1Ki", "1e9", "1000"];
    let mut cases = vec![
        of("spec.database.storage.size", BYTES).refuses_all(bad_bytes).takes_all(["1Mi", "999999Ti"]),
        Case::of("Workspace", "spec.database.storage.size", BYTES)
            .refuses_all(bad_bytes)
            .takes_all(["1Mi", "999999Ti"]),
        Case::of("Workspace", "spec.database.storage.size", "database.storage.size cannot shrink: volumes only grow")
            .refuses_change("20Gi", "19Gi")
            .refuses_change("1Ti", "1023Gi")
            .takes_change("20Gi", "20480Mi")
            .takes_change("20Gi", "1Ti"),
    ];
    for kind in ["TenantClass", "Workspace"] {
        cases.push(
            Case::of(kind, "spec.database.resources.cpu", CPU)
                .refuses_all(["0", "-1", "1.5", "1e9", "m", "1k"])
                .takes_all(["1", "250m"]),
        );
        cases.push(Case::of(kind, "spec.database.resources.memory", BYTES).refuses_all(bad_bytes));
        cases.push(
            Case::of(kind, "spec.database.resources.memory", small)
                .refuses_all(["1Mi", "255Mi"])
                .takes_all(["256Mi", "1Gi"]),
        );
    }
    cases
}
