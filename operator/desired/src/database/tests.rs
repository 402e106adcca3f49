//! Tests of databases: what is read off specs, what it takes, and the objects as reviewed.

use std::path::Path;

use api::{
    database::{ClassBackup, ClassStorage, Database as Asked, DatabaseResources, DatabaseStorage},
    tenant_class::SecretReference,
    workspace::WorkspaceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;

use super::*;
use crate::canary;
use crate::fields;
use crate::fixtures::{acme_finance_with_database, amounts};

fn offered() -> ClassDatabase {
    ClassDatabase {
        image: "registry.example/postgresql:18.4".into(),
        instances: 3,
        storage: ClassStorage { size: "20Gi".into(), storage_class: Some("fast".into()) },
        resources: DatabaseResources { cpu: "1".into(), memory: "2Gi".into() },
        rpo: "15m".parse().unwrap(),
        rto: "1h".parse().unwrap(),
        backup: ClassBackup {
            full_every: "2h".parse().unwrap(),
            retention: "30d".parse().unwrap(),
            keep_deleted: None,
            archive: None,
        },
        restore_drill: None,
    }
}

fn workspace(database: Option<Asked>) -> Workspace {
    let spec = WorkspaceSpec {
        identity: None,
        quota: None,
        members: Vec::new(),
        bucket: None,
        database,
        consumers: Vec::new(),
        suspended: false,
        paused: false,
    };
    Workspace { metadata: ObjectMeta::default(), spec, status: None }
}

fn place() -> BackupPlace {
    BackupPlace {
        bucket: "steading-backups".into(),
        server: server("9c858901-8a57-4791-81fe-4c455b099bc9"),
        endpoint: "https://192.0.2.7:9000".into(),
        has_ca: true,
    }
}

fn origin(time: Option<&str>) -> Origin {
    let place = BackupPlace { bucket: "steading-origin".into(), server: server("origin"), ..place() };
    Origin { place, time: time.map(|time| time.parse().unwrap()) }
}

fn of(asked: Option<Asked>, have: Option<&str>) -> Result<Database, InvalidDatabase> {
    Database::of(&offered(), &workspace(asked), have)
}

#[test]
fn a_workspace_that_asks_for_nothing_gets_what_the_class_offers() {
    let expected = Database {
        image: "registry.example/postgresql:18.4".into(),
        instances: 3,
        storage: 20 << 30,
        storage_class: Some("fast".into()),
        cpu: 1_000,
        memory: 2 << 30,
        rpo: Duration::from_mins(15),
        full_every: 2,
        retention: 30,
        rto: Duration::from_hours(1),
        drill_every: Duration::from_hours(7 * 24),
        suspended: false,
    };
    assert_eq!(of(None, None).unwrap(), expected);
    assert_eq!(of(Some(Asked::default()), Some("20Gi")).unwrap(), expected);
}

#[test]
fn a_workspace_gets_what_it_asks_for() {
    let asked = Asked {
        disabled: false,
        instances: Some(1),
        storage: Some(DatabaseStorage { size: "1Ti".into() }),
        resources: Some(DatabaseResources { cpu: "250m".into(), memory: "512Mi".into() }),
        restore_from: None,
    };
    let database = of(Some(asked), Some("20Gi")).unwrap();
    assert_eq!((database.instances, database.storage, database.cpu, database.memory), (1, 1 << 40, 250, 512 << 20));
}

#[test]
fn volumes_never_shrink_whoever_makes_them_smaller() {
    let message = of(None, Some("21Gi")).unwrap_err().to_string();
    assert!(message.contains("20Gi") && message.contains("21Gi"), "{message}");
    assert!(of(None, Some("20480Mi")).is_ok(), "the same in other words");
    assert!(of(None, Some("nonsense")).is_ok(), "a status that nobody can read holds nothing up");
}

#[test]
fn what_admission_should_have_refused_is_refused() {
    let period = |text: &str| ClassBackup { full_every: text.parse().unwrap(), ..offered().backup };
    for class in [
        ClassDatabase { instances: 0, ..offered() },
        ClassDatabase { instances: 10, ..offered() },
        ClassDatabase { instances: -1, ..offered() },
        ClassDatabase { backup: period("5h"), ..offered() },
        ClassDatabase { backup: period("30m"), ..offered() },
        ClassDatabase { resources: DatabaseResources { cpu: "0".into(), memory: "1Gi".into() }, ..offered() },
    ] {
        assert!(Database::of(&class, &workspace(None), None).is_err(), "{class:?}");
    }
}

#[test]
fn a_quota_must_hold_all_instances_one_that_is_restored_and_what_runs_beside_them() {
    let database = of(None, None).unwrap();
    assert_eq!(database.needs().to_string(), "cpu 6100m, memory 10368Mi, storage 80Gi");
    assert!(database.fits(Amounts::default()), "what is not limited is enough");
    assert!(database.fits(amounts("6100m", "10368Mi", "80Gi")));
    for (cpu, memory, storage) in [("6099m", "11Gi", "80Gi"), ("7", "10367Mi", "80Gi"), ("7", "11Gi", "79Gi")] {
        assert!(!database.fits(amounts(cpu, memory, storage)), "{cpu} {memory} {storage}");
    }
}

fn s3(endpoint: &str, cidrs: Option<Vec<&str>>) -> S3 {
    S3 {
        region: "site-a".into(),
        endpoint: endpoint.into(),
        cidrs: cidrs.map(|ranges| ranges.into_iter().map(str::to_owned).collect()),
        ca_bundle: None,
        credentials: SecretReference { secret: "s3".into() },
        key_server: None,
        allow_provider_managed_encryption: true,
    }
}

#[test]
fn the_store_is_reached_at_its_address_or_in_the_ranges_that_the_class_names() {
    let cases = [
        ("https://192.0.2.7:9000", None, Some(("192.0.2.7/32", 9000))),
        ("https://192.0.2.7/", None, Some(("192.0.2.7/32", 443))),
        ("https://[2001:db8::7]:9000", None, Some(("2001:db8::7/128", 9000))),
        ("https://[2001:db8::7]", None, Some(("2001:db8::7/128", 443))),
        ("https://s3.example:9000", Some(vec!["192.0.2.0/24"]), Some(("192.0.2.0/24", 9000))),
        ("https://192.0.2.7:9000", Some(vec!["192.0.2.0/24"]), Some(("192.0.2.0/24", 9000))),
        ("https://s3.example:9000", None, None),
    ];
    for (endpoint, cidrs, expected) in cases {
        let expected = expected.map(|(range, port)| (BTreeSet::from([range.to_owned()]), port));
        assert_eq!(store_addresses(&s3(endpoint, cidrs)), expected, "{endpoint}");
    }
}

#[test]
fn nothing_is_let_out_before_the_addresses_of_store_and_api_server_are_known() {
    let class = |endpoint: &str| -> TenantClass {
        let s3 = json!(s3(endpoint, None));
        let spec = json!({
            "residency": { "regions": ["site-a"] }, "keys": {}, "buckets": { "s3": s3 }, "network": { "enforcement": "Assumed" },
        });
        serde_json::from_value(json!({ "metadata": { "name": "onprem" }, "spec": spec })).unwrap()
    };
    let known = BTreeSet::from(["10.0.0.1:6443".parse().unwrap()]);
    let reach = |endpoint: &str, api_server: &BTreeSet<SocketAddr>| {
        Reach::of(&class(endpoint), "cnpg-system", ("steading-system".into(), "steading".into()), api_server.clone())
    };
    assert_eq!(reach("https://192.0.2.7:9000", &known), acme_finance_with_database().database);
    assert_eq!(reach("https://s3.example:9000", &known), None);
    assert_eq!(reach("https://192.0.2.7:9000", &BTreeSet::new()), None);
}

/// The canary and what a drill makes.
fn of_canary(facts: &Facts, database: &Database) -> [(Kind, Value); 5] {
    let image = "registry.example/steading/operator:0.1.0";
    [
        canary::role(facts),
        canary::deployment(facts, database, image),
        canary::restored(facts, database, &place()),
        canary::reader(facts),
        canary::look(facts, database, image),
    ]
}

#[test]
fn the_canary_and_drills_sign_in_by_certificates_alone_and_hold_no_token() {
    let facts = acme_finance_with_database();
    for (kind, object) in of_canary(&facts, &of(None, None).unwrap()) {
        let Some(pod) = object.pointer("/spec/template/spec").filter(|_| kind != Kind::Cluster) else { continue };
        assert_eq!(pod["automountServiceAccountToken"], false, "{kind:?}");
        let entries = |source: &Value| {
            let items = source["secret"]["items"].as_array().unwrap().iter();
            let paths: Vec<_> = items.map(|item| item["key"].as_str().unwrap().to_owned()).collect();
            (source["secret"]["name"].as_str().unwrap().to_owned(), paths)
        };
        let sources: Vec<_> =
            pod["volumes"][0]["projected"]["sources"].as_array().unwrap().iter().map(entries).collect();
        let cluster = if kind == Kind::Job { "database-drill" } else { "database" };
        let role = if kind == Kind::Job { "database-drill" } else { "database-canary" };
        assert_eq!(
            sources,
            [
                (format!("{role}-client-cert"), vec!["tls.crt".to_owned(), "tls.key".to_owned()]),
                (format!("{cluster}-ca"), vec!["ca.crt".to_owned()]),
            ],
            "the key of the authority is for nobody"
        );
    }
}

#[test]
fn a_drill_restores_what_is_archived_last_and_archives_nothing() {
    let (_, cluster) = canary::restored(&acme_finance_with_database(), &of(None, None).unwrap(), &place());
    let spec = &cluster["spec"];
    let from = json!({ "barmanObjectName": "database-backup", "serverName": place().server });
    assert_eq!(spec["externalClusters"][0]["plugin"]["parameters"], from);
    assert_eq!(spec["bootstrap"]["recovery"].get("recoveryTarget"), None);
    assert_eq!((spec.get("plugins"), &spec["instances"]), (None, &json!(1)));
    assert_eq!(spec["inheritedMetadata"]["labels"], json!({ "steading.dev/part": "drill" }), "no consumer reaches it");
}

#[test]
fn the_objects_are_as_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/database/acme-finance.json");
    let facts = acme_finance_with_database();
    let access = crate::workspace::stack(&facts).children().into_iter().skip(9);
    let database = of(None, None).unwrap();
    let objects = objects(&facts, &database, &place(), None);
    let canary = of_canary(&facts, &database);
    let now: Vec<_> = objects.into_iter().chain(access).chain(canary).map(|(_, object)| object).collect();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, format!("{:#}\n", Value::Array(now.clone()))).unwrap();
    }
    let reviewed: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(now, reviewed, "if this is meant, run the test with UPDATE_SNAPSHOTS=1 and review the difference");
}

#[test]
fn of_what_is_suspended_nothing_runs_and_nothing_is_begun() {
    let facts = acme_finance_with_database();
    let annotation = "/metadata/annotations/cnpg.io~1hibernation";
    for (suspended, hibernation, replicas) in [(false, None, 1), (true, Some("on"), 0)] {
        let database = Database { suspended, ..of(None, None).unwrap() };
        let objects = objects(&facts, &database, &place(), None);
        let cluster = objects.iter().find(|(kind, _)| *kind == Kind::Cluster).unwrap();
        assert_eq!(cluster.1.pointer(annotation).and_then(Value::as_str), hibernation);
        let schedule = objects.iter().find(|(kind, _)| *kind == Kind::ScheduledBackup).unwrap();
        assert_eq!(schedule.1.pointer("/spec/suspend"), Some(&json!(suspended)));
        let (_, canary) = canary::deployment(&facts, &database, "registry.example/steading:1.0");
        assert_eq!(canary.pointer("/spec/replicas"), Some(&json!(replicas)));
        let (_, drill) = canary::restored(&facts, &database, &place());
        assert_eq!(drill.pointer(annotation), None, "a drill that is under way ends first");
    }
}

#[test]
fn a_full_backup_out_of_turn_is_like_those_that_are_made_in_their_turn() {
    let (facts, database) = (acme_finance_with_database(), of(None, None).unwrap());
    let backup = another_backup(&facts, "database-backup-again-1");
    let objects = objects(&facts, &database, &place(), None);
    let (_, schedule) = objects.iter().find(|(kind, _)| *kind == Kind::ScheduledBackup).unwrap();
    for field in ["cluster", "method", "pluginConfiguration", "target"] {
        let field = format!("/spec/{field}");
        assert!(backup.pointer(&field).is_some() && backup.pointer(&field) == schedule.pointer(&field), "{field}");
    }
    assert_eq!(backup.pointer("/metadata/labels"), schedule.pointer("/metadata/labels"));
}

#[test]
fn each_object_says_what_it_is_bears_our_marks_and_is_known_by_name() {
    let facts = acme_finance_with_database();
    let access = crate::workspace::stack(&facts).children().into_iter().skip(9);
    let all: Vec<_> =
        objects(&facts, &of(None, None).unwrap(), &place(), Some(&origin(None))).into_iter().chain(access).collect();
    assert_eq!(all.len(), NAMES.len());
    for ((kind, object), (named, name)) in all.into_iter().zip(NAMES) {
        assert_eq!((kind, object["metadata"]["name"].as_str()), (named, Some(name)));
        let told = (object["apiVersion"].as_str(), object["kind"].as_str());
        assert_eq!(told, (Some(&*kind.api_version()), Some(kind.name())));
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "steading");
        assert_eq!(object["metadata"]["namespace"], json!(facts.namespace().as_str()));
        let owned = fields::owned(kind, &object);
        assert!(
            kind == Kind::RoleBinding || owned["f:spec"].as_object().is_some_and(|spec| !spec.is_empty()),
            "{kind:?}"
        );
    }
}

#[test]
fn a_database_begins_with_another_as_it_was_and_archives_elsewhere() {
    let spec_of = |origin: Option<&Origin>| {
        let database = of(None, None).unwrap();
        json!(cluster::cluster(&acme_finance_with_database(), &database, &place(), origin))["spec"].clone()
    };
    let spec = spec_of(Some(&origin(Some("2026-11-23T10:15:00.5Z"))));
    let expected = json!({
        "source": "database-origin", "database": "app", "owner": "app",
        "recoveryTarget": {"targetTime": "2026-11-23T10:15:00.500000Z"},
    });
    assert_eq!(spec["bootstrap"], json!({ "recovery": expected }));
    let read = json!({ "barmanObjectName": "database-origin", "serverName": server("origin") });
    assert_eq!(spec["externalClusters"][0]["plugin"]["parameters"], read);
    let written = json!({ "barmanObjectName": "database-backup", "serverName": place().server });
    assert_eq!(spec["plugins"][0]["parameters"], written);
    assert_eq!(spec_of(Some(&origin(None)))["bootstrap"]["recovery"].get("recoveryTarget"), None);
    assert!(spec_of(None).get("externalClusters").is_none() && spec_of(None)["bootstrap"].get("initdb").is_some());
}

#[test]
fn nothing_of_what_a_database_begins_with_is_deleted_by_it() {
    let facts = acme_finance_with_database();
    let objects = objects(&facts, &of(None, None).unwrap(), &place(), Some(&origin(None)));
    let (_, read) = &objects[0];
    assert_eq!(read["metadata"]["name"], "database-origin");
    assert_eq!(read["spec"].get("retentionPolicy"), None);
    assert_eq!(read["spec"]["configuration"]["destinationPath"], "s3://steading-origin/");
    assert_eq!(read["spec"]["configuration"]["s3Credentials"]["accessKeyId"]["name"], "database-origin");
}

#[test]
fn a_stack_that_is_made_anew_writes_beside_what_was_there() {
    assert_eq!(server("blue"), server("blue"));
    assert_ne!(server("blue"), server("green"));
    assert!(server("blue").len() == "database-01234567".len());
}

#[test]
fn a_write_waits_for_a_second_instance_with_two_while_it_is_there_and_with_three_always() {
    for (instances, waits) in [(1, None), (2, Some("preferred")), (3, Some("required")), (9, Some("required"))] {
        let database = Database { instances, ..of(None, None).unwrap() };
        let cluster = json!(cluster::cluster(&acme_finance_with_database(), &database, &place(), None));
        let durability = cluster.pointer("/spec/postgresql/synchronous/dataDurability").and_then(Value::as_str);
        assert_eq!(durability, waits, "{instances}");
    }
}

proptest! {
    #[test]
    fn backups_are_spread_and_those_of_one_identity_are_always_at_the_same_moment(
        identity in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    ) {
        let identity: Identity = identity.parse().unwrap();
        prop_assert!(spread(&identity, 86_400) < 86_400);
        prop_assert_eq!(spread(&identity, 86_400), spread(&identity, 86_400));
    }
}
