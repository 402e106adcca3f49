//! The kinds of CloudNativePG on an API server alone. In: what crate `desired` makes of a database. Out: whether their own schemas take
//! it, with no field unknown to them, and whether the server records as ours just what we compute.

use anyhow::{Context as _, Result, ensure};
use api::{
    Amounts, Workspace,
    database::{ClassBackup, ClassDatabase, ClassStorage, DatabaseResources},
};
use desired::consumer::{Consumer, Standing};
use desired::database::Origin;
use desired::{
    canary,
    database::{BackupPlace, Database, objects, server},
    fields::{self, Kind},
    workspace::Facts,
};
use e2e::databases::install_kinds;
use e2e::{Plane, Tier, unique};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams, ValidationDirective};
use kube::{Api, Client};
use serde_json::{Value, json};

fn offered(instances: i32, storage_class: Option<&str>) -> ClassDatabase {
    ClassDatabase {
        image: "registry.example/postgresql:18.4".into(),
        instances,
        storage: ClassStorage { size: "20Gi".into(), storage_class: storage_class.map(str::to_owned) },
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

fn facts() -> Facts {
    Facts {
        tenant: unique("acme").parse().unwrap(),
        workspace: "finance".parse().unwrap(),
        identity: uuid::Uuid::new_v4().to_string().parse().unwrap(),
        owners: Vec::new(),
        members: Vec::new(),
        granted: Amounts::default(),
        database: None,
        agents: None,
    }
}

/// All that is ever applied of the kinds that only databases need.
fn all(facts: &Facts, database: &Database, backups: &BackupPlace) -> Vec<(Kind, Value)> {
    let billing = Consumer { namespace: "shop".parse().unwrap(), service_account: "billing".parse().unwrap() };
    let roles = [Standing::ReadWrite, Standing::Read, Standing::ShutOut]
        .map(|standing| (Kind::DatabaseRole, billing.database_role_object(facts, standing)));
    let time = backups.has_ca.then(|| "2026-11-23T10:15:00Z".parse().unwrap());
    let origin = Origin { place: BackupPlace { bucket: "origin".into(), ..backups.clone() }, time };
    let empty = objects(facts, database, backups, None);
    let begun = objects(facts, database, backups, Some(&origin));
    let image = "registry.example/steading/operator:0.1.0";
    let watched = [
        canary::role(facts),
        canary::deployment(facts, database, image),
        canary::restored(facts, database, backups),
        canary::reader(facts),
        canary::look(facts, database, image),
    ];
    empty.into_iter().chain(begun).chain(roles).chain(watched).collect()
}

fn any_workspace() -> Workspace {
    serde_json::from_value(json!({ "metadata": { "name": "finance" }, "spec": {} })).unwrap()
}

async fn apply(client: &Client, kind: Kind, object: &Value) -> Result<DynamicObject, kube::Error> {
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(kind.group(), kind.version(), kind.name()),
        kind.plural(),
    );
    let namespace = object["metadata"]["namespace"].as_str().unwrap();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let parameters = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(api::labels::MANAGER_WORKSPACE).force()
    };
    api.patch(object["metadata"]["name"].as_str().unwrap(), &parameters, &Patch::Apply(object)).await
}

#[tokio::test]
async fn every_object_of_a_database_fits_the_kinds_of_cloud_native_pg_and_its_fields_are_recorded_as_computed()
-> Result<()> {
    let plane = Plane::shared(Tier::One).await?;
    install_kinds(plane).await?;
    let client = plane.admin()?;
    for (instances, storage_class, has_ca) in [(1, None, false), (2, Some("fast"), true), (3, Some("fast"), true)] {
        let facts = facts();
        let namespace: Namespace =
            serde_json::from_value(json!({ "metadata": { "name": facts.namespace().as_str() } }))?;
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        let database = Database::of(&offered(instances, storage_class), &any_workspace(), None)?;
        let backups = BackupPlace {
            bucket: "backups".into(),
            server: server("uid"),
            endpoint: "https://192.0.2.7:9000".into(),
            has_ca,
        };
        for (kind, object) in all(&facts, &database, &backups) {
            let answer = apply(&client, kind, &object).await.with_context(|| format!("{object:#}"))?;
            let entries = answer.metadata.managed_fields.unwrap_or_default();
            let recorded: Vec<_> =
                entries.iter().filter_map(|entry| entry.fields_v1.as_ref()).map(|it| &it.0).collect();
            let computed = fields::owned(kind, &object);
            ensure!(recorded == [&computed], "{kind:?}: the server recorded {recorded:?}, not {computed}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_misspelt_field_of_a_database_is_refused_by_the_kinds_of_cloud_native_pg() -> Result<()> {
    let plane = Plane::shared(Tier::One).await?;
    install_kinds(plane).await?;
    let client = plane.admin()?;
    let database = Database::of(&offered(1, None), &any_workspace(), None)?;
    let backups = BackupPlace {
        bucket: "backups".into(),
        server: server("uid"),
        endpoint: "https://192.0.2.7:9000".into(),
        has_ca: true,
    };
    for (kind, mut object) in all(&facts(), &database, &backups) {
        object["metadata"]["namespace"] = json!("default");
        object["spec"]["instancse"] = json!(1);
        let refused =
            apply(&client, kind, &object).await.err().context("a field that there is not was taken")?.to_string();
        ensure!(refused.contains("instancse"), "{refused}");
    }
    Ok(())
}
