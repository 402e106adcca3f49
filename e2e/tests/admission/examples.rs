//! What people copy first. In: every file of `examples/`. Out: that a real API server takes each object of ours in it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::server::Server;

/// Kinds of other projects, whose CRDs are not installed here.
const FOREIGN: [&str; 5] = [
    "argoproj.io",
    "kustomize.toolkit.fluxcd.io",
    "source.toolkit.fluxcd.io",
    "helm.toolkit.fluxcd.io",
    "kustomize.config.k8s.io",
];

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let yaml = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    yaml.chain(folders.iter().flat_map(|folder| yaml_files(folder))).collect()
}

fn documents(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    documents.retain(|document| !document.is_null());
    documents
}

#[tokio::test]
async fn every_example_is_accepted() {
    let server = Server::start().await;
    let files = yaml_files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples")));
    let mut accepted = 0;
    for file in &files {
        for mut document in documents(file) {
            let group = document["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
            if FOREIGN.contains(&group) {
                continue;
            }
            let url = url(&server, &document);
            if document["metadata"]["namespace"].is_string() {
                document["metadata"]["namespace"] = Value::from(server.namespace.as_str());
            }
            let answer = server.call("APPLY", &url, &document).await;
            let kind = document["kind"].as_str().unwrap();
            answer.unwrap_or_else(|status| panic!("{}, {kind}: {}", file.display(), status.message));
            accepted += 1;
        }
    }
    assert!(accepted >= 5, "only {accepted} objects in {} files", files.len());
    println!("files={} accepted={accepted}", files.len());
}

/// Where to send the document: as it stands if it is one of ours, into the test's own namespace, without storing it.
fn url(server: &Server, document: &Value) -> String {
    let name = document["metadata"]["name"].as_str().unwrap();
    let query = "dryRun=All&fieldManager=example&fieldValidation=Strict";
    let namespace = &server.namespace;
    match (document["apiVersion"].as_str().unwrap(), document["kind"].as_str().unwrap()) {
        ("v1", "Namespace") => format!("/api/v1/namespaces/{name}?{query}"),
        ("v1", "Secret") => format!("/api/v1/namespaces/{namespace}/secrets/{name}?{query}"),
        ("v1", "ConfigMap") => format!("/api/v1/namespaces/{namespace}/configmaps/{name}?{query}"),
        ("v1", "ServiceAccount") => format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}?{query}"),
        ("apps/v1", "Deployment") => format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}?{query}"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => {
            format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings/{name}?{query}")
        }
        ("rbac.authorization.k8s.io/v1", kind @ ("ClusterRole" | "ClusterRoleBinding")) => {
            format!("/apis/rbac.authorization.k8s.io/v1/{}s/{name}?{query}", kind.to_lowercase())
        }
        ("steading.dev/v1alpha1", _) => format!("{}?{query}", server.item(document)),
        (version, kind) => panic!("no test knows how to apply {version} {kind}"),
    }
}
