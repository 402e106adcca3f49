//! Requests to the API server, by whoever has stolen the operator's token and by the customer's own people.

use anyhow::Result;
use kube::Client;
use kube::core::Status;
use serde_json::{Value, json};

use super::{Scene, Way};

const OPERATOR: &str = "the operator's token";
const EDITOR: &str = "an editor";
const ADMINISTRATOR: &str = "the cluster's administrator";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// All of them.
pub async fn tried(scene: &Scene) -> Result<Vec<Way>> {
    let pods = format!("/api/v1/namespaces/{}/pods", scene.stack);
    let item = format!("{pods}/{}", scene.desktop());
    let debugger = json!({ "spec": { "ephemeralContainers": [{ "name": "x", "image": "busybox", "targetContainerName": "desktop" }] } });
    let changed = |pointer: &str, value: Value| {
        let mut pod = another(scene);
        if let Some(present) = pod.pointer_mut(pointer) {
            *present = value;
        } else {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            pod.pointer_mut(parent).unwrap()[key] = value;
        }
        pod
    };
    let with_image = json!({ "spec": { "containers": [{ "name": "desktop", "image": "busybox" }] } });
    let made = [
        ("a desktop without RuntimeClass", changed("/spec/runtimeClassName", Value::Null)),
        ("a desktop among the host's processes", changed("/spec/hostPID", json!(true))),
        ("a desktop on the host's network", changed("/spec/hostNetwork", json!(true))),
        (
            "a privileged desktop",
            changed(
                "/spec/containers/0/securityContext",
                json!({ "privileged": true, "readOnlyRootFilesystem": true }),
            ),
        ),
        (
            "a desktop with a folder of the host",
            changed("/spec/volumes/0", json!({ "name": "tmp", "hostPath": { "path": "/" } })),
        ),
        (
            "a desktop with a kernel setting",
            changed("/spec/securityContext/sysctls", json!([{ "name": "kernel.msgmax", "value": "1" }])),
        ),
        (
            "a desktop with a device claim",
            changed("/spec/resourceClaims", json!([{ "name": "gpu", "resourceClaimName": "gpu" }])),
        ),
    ];
    let mut ways = Vec::new();
    let (operator, editor) = (&scene.operator, &scene.editor()?);
    for (what, pod) in made {
        ways.push(way(OPERATOR, what, send(operator, "POST", &pods, "application/json", &pod).await?));
    }
    for (who, client) in [(OPERATOR, operator), (EDITOR, editor)] {
        let beside = format!("{item}/ephemeralcontainers");
        ways.push(way(
            who,
            "a container beside a desktop",
            send(client, "PATCH", &beside, STRATEGIC, &debugger).await?,
        ));
        ways.push(way(who, "another image for a desktop", send(client, "PATCH", &item, STRATEGIC, &with_image).await?));
    }
    ways.push(way(
        EDITOR,
        "a desktop of his own",
        send(editor, "POST", &pods, "application/json", &another(scene)).await?,
    ));
    let set = format!("/apis/steading.dev/v1alpha1/namespaces/{}/agentsets/desktops", scene.stack);
    let template = json!({ "spec": { "template": { "runtimeClass": "runc" } } });
    ways.push(way(
        EDITOR,
        "another RuntimeClass in the AgentSet",
        send(editor, "PATCH", &set, MERGE, &template).await?,
    ));
    let exec = format!("{item}/exec?command=sh&container=desktop");
    for (who, client) in [(EDITOR, editor), (ADMINISTRATOR, &scene.plane.admin()?)] {
        ways.push(way(who, "a shell in a desktop", send(client, "POST", &exec, "application/json", &json!({})).await?));
    }
    Ok(ways)
}

/// A desktop like the one that stands, under another name.
fn another(scene: &Scene) -> Value {
    let mut pod = serde_json::to_value(&scene.pods[0]).unwrap();
    let mut metadata = json!({ "name": "agent-desktops-x" });
    for field in ["labels", "annotations", "ownerReferences"] {
        metadata[field] = pod["metadata"][field].clone();
    }
    pod["metadata"] = metadata;
    pod.as_object_mut().unwrap().remove("status");
    // What admission has written would be looked at again.
    for field in ["nodeName", "overhead", "tolerations", "priority", "preemptionPolicy"] {
        pod["spec"].as_object_mut().unwrap().remove(field);
    }
    pod
}

async fn send(
    client: &Client,
    method: &str,
    path: &str,
    content: &str,
    body: &Value,
) -> Result<Result<(), Box<Status>>> {
    // Nothing is made even if the way is open: the verdict is the same. A shell cannot be had for a try.
    let path = if path.contains('?') { path.to_owned() } else { format!("{path}?dryRun=All") };
    let request = http::Request::builder().method(method).uri(path).header("content-type", content);
    match client.request_text(request.body(serde_json::to_vec(body)?)?).await {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) => Ok(Err(status)),
        Err(error) => Err(error.into()),
    }
}

/// Barred is what is forbidden; a request that is wrong in itself would prove nothing.
fn way(who: &'static str, what: &'static str, came: Result<(), Box<Status>>) -> Way {
    match came {
        Ok(()) => Way { who, what, came: "was done".to_owned(), is_barred: false },
        Err(status) => {
            let is_barred = status.code == 403 || (status.code == 422 && status.message.contains("steading: "));
            let words: String = status.message.chars().take(160).collect();
            Way { who, what, came: format!("{} {words}", status.code), is_barred }
        }
    }
}
