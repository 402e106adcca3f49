//! Rights. In: the chart as Helm renders it. Out: every rule of every role, with the reason that stands above it in the
//! chart.

use std::fmt::Write as _;
use std::process::Command;

use e2e::components::Component;
use serde_json::Value;

use crate::cell;

/// The chart with the values that it demands, as Helm renders it.
pub async fn rendered_chart() -> String {
    let helm = Component::Helm.path().await.unwrap();
    let home = std::env::temp_dir().join(e2e::unique("steading-reference"));
    let mut command = Command::new(helm);
    command
        .args(["template", "steading", concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/steading")])
        .args(["--namespace", "steading-system", "--set", "installation=example", "--set", "image.repository=example"])
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"));
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    std::fs::remove_dir_all(&home).ok();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A role of the chart.
struct Role {
    kind: String,
    name: String,
    /// What stands above it in the chart, or what its annotation says.
    purpose: String,
    /// Each rule with the comment above it; a rule without one shares that of the rule before.
    rules: Vec<(Value, String)>,
}

/// The page.
pub fn page(chart: &str) -> String {
    let mut page =
        "# Rights\n\nEvery rule of every role that the chart installs, and why it is there. There is no wildcard \
                    and no cluster-wide verb on Secrets. What RBAC allows, the fence of the chart narrows further: see \
                    [the fence](../concepts.md#the-fence).\n"
            .to_owned();
    for role in roles(chart) {
        writeln!(page, "\n## {} {}\n", role.kind, role.name).unwrap();
        if !role.purpose.is_empty() {
            writeln!(page, "{}\n", role.purpose).unwrap();
        }
        // Where the purpose of the role says it all, no rule has a reason of its own.
        let has_reasons = role.rules.iter().any(|(_, why)| !why.is_empty());
        let mut head = vec!["API group", "Resources", "Only these names", "Verbs"];
        head.extend(has_reasons.then_some("Why"));
        writeln!(page, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len())).unwrap();
        for (rule, why) in &role.rules {
            let list = |key: &str| {
                let items = rule[key].as_array().into_iter().flatten();
                items.map(|item| name_of(item.as_str().unwrap())).collect::<Vec<_>>().join(", ")
            };
            let mut cells = vec![list("apiGroups"), list("resources"), list("resourceNames"), list("verbs")];
            cells.extend(has_reasons.then(|| cell(why)));
            writeln!(page, "| {} |", cells.join(" | ")).unwrap();
        }
    }
    page
}

fn name_of(item: &str) -> String {
    if item.is_empty() { "core".to_owned() } else { format!("`{item}`") }
}

fn roles(chart: &str) -> Vec<Role> {
    chart.split("\n---").filter_map(role).collect()
}

fn role(document: &str) -> Option<Role> {
    let parsed: Value = serde_saphyr::from_str(document).ok()?;
    let kind = parsed["kind"].as_str().filter(|kind| matches!(*kind, "ClusterRole" | "Role"))?;
    let annotation = parsed["metadata"]["annotations"]["steading.dev/purpose"].as_str().unwrap_or_default();
    let (opening, body) = document.split_once("apiVersion:").unwrap();
    let above: Vec<_> = comment_lines(opening).filter(|line| !line.starts_with("Source:")).collect();
    let purpose =
        [annotation, &above.join(" ")].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
    let rules: Vec<Value> = parsed["rules"].as_array().cloned().unwrap_or_default();
    let whys = whys(body);
    assert_eq!(rules.len(), whys.len(), "the rules of {} are not told apart", parsed["metadata"]["name"]);
    Some(Role {
        kind: kind.to_owned(),
        name: parsed["metadata"]["name"].as_str().unwrap().to_owned(),
        purpose,
        rules: rules.into_iter().zip(whys).collect(),
    })
}

fn comment_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix("# "))
}

/// For each rule the comment above it.
fn whys(body: &str) -> Vec<String> {
    let (mut whys, mut comment, mut is_open) = (Vec::new(), String::new(), false);
    for line in body.lines().map(str::trim_start) {
        if let Some(text) = line.strip_prefix("# ") {
            if !is_open {
                comment.clear();
            }
            let gap = if comment.is_empty() { "" } else { " " };
            comment = format!("{comment}{gap}{text}");
            is_open = true;
        } else if line.starts_with("- apiGroups:") {
            whys.push(comment.clone());
            is_open = false;
        }
    }
    whys
}

#[tokio::test]
async fn every_right_of_the_operator_says_why() {
    let roles = roles(&rendered_chart().await);
    let operators: Vec<_> = roles.iter().filter(|role| role.name == "steading-operator").collect();
    assert_eq!(operators.len(), 2, "a ClusterRole and a Role");
    for role in operators {
        for (rule, why) in &role.rules {
            assert!(!why.is_empty(), "{rule} of {} {} says nothing", role.kind, role.name);
        }
    }
}

#[tokio::test]
async fn no_role_of_the_chart_has_a_wildcard() {
    for role in roles(&rendered_chart().await) {
        for (rule, _) in &role.rules {
            assert!(!rule.to_string().contains('*'), "{} {}: {rule}", role.kind, role.name);
            let is_cluster_wide = role.name == "steading-operator" && role.kind == "ClusterRole";
            assert!(!(is_cluster_wide && rule["resources"].to_string().contains("secrets")), "{rule}");
        }
    }
}
