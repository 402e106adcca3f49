//! The kinds of CloudNativePG on an API server alone, which judges manifests for databases with nobody there to act on them.

use anyhow::{Context as _, Result, ensure};
use e2e::databases::install_kinds;
use e2e::{Plane, Tier};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, ValidationDirective};
use serde_json::{Value, json};

/// What the API server says of such a database.
async fn judged(plane: &Plane, spec: Value) -> Result<(), kube::Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("postgresql.cnpg.io", "v1", "Cluster"));
    let clusters: Api<DynamicObject> = Api::default_namespaced_with(plane.admin().unwrap(), &resource);
    let cluster = json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": { "name": "judged" }, "spec": spec,
    });
    let parameters = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        dry_run: true,
        ..PatchParams::apply("steading-e2e")
    };
    clusters.patch("judged", &parameters, &Patch::Apply(cluster)).await.map(drop)
}

#[tokio::test]
async fn an_api_server_that_has_only_the_kinds_tells_a_good_manifest_from_a_misspelt_one() -> Result<()> {
    let plane = Plane::shared(Tier::One).await?;
    install_kinds(plane).await?;
    judged(plane, json!({ "instances": 2, "storage": { "size": "1Gi" } })).await.context("it is right")?;
    let misspelt = judged(plane, json!({ "instances": 2, "storage": { "sise": "1Gi" } })).await;
    let misspelt = misspelt.err().context("a field that there is not was taken")?.to_string();
    ensure!(misspelt.contains("sise"), "{misspelt}");
    let without = judged(plane, json!({ "instances": 0 })).await;
    let without = without.err().context("a database of no instances was taken")?.to_string();
    ensure!(without.contains("spec.instances"), "{without}");
    Ok(())
}
