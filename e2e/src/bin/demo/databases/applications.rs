//! Applications that use a database from namespaces of their own. In: the example at work for each customer. Out: that each is let in by its
//! own certificate, and that whoever holds both customers' certificates gets no further with them.

use anyhow::{Context as _, Result, bail};
use e2e::databases::{ANOTHER_AUTHORITY, ANOTHER_NAME, POSTGRES, UNANSWERED, Visitor, Way, apply, is_refused};
use e2e::story::Platform;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client};
use serde_json::json;

use super::{Customer, PATIENCE};
use crate::scene::Scene;
use crate::show::{Progress, Show};

/// A namespace that no Workspace lists.
const LANE: &str = "lane";

/// What tells as whom one is let in, and that it is for something.
const STATEMENT: &str = "SELECT current_user, count(*) FROM invoices";

/// Somebody with the certificates of both customers, in each namespace from which a database could be tried.
pub(super) struct Visitors {
    pub(super) shop: Visitor,
    pub(super) market: Visitor,
    lane: Visitor,
    /// What acme's application was given.
    pub(super) certificate: Secret,
}

/// How a customer's application connects, with the certificate that a visitor has in the folder of this name.
pub(super) fn way(customer: &Customer) -> Way {
    customer.application.way(&customer.stack).with_certificate_of(customer.name)
}

/// Shows that the applications write, and tries what nobody may.
pub(super) async fn at_work(show: &Show, scene: &Scene, client: &Client, both: [&Customer; 2]) -> Result<Visitors> {
    show.step("applications", "An application of each customer, with a certificate of its own");
    for Customer { application, .. } in both {
        let what = format!("billing in namespace {} writes invoices", application.namespace);
        show.until(&what, PATIENCE, async || {
            let printed = application.printed(client).await?;
            Ok(printed.map_or_else(|| Progress::Still("no invoice yet".to_owned()), Progress::Done))
        })
        .await?;
    }
    for customer in both {
        let Customer { name, application, .. } = customer;
        let command = ["exec", "-n", &application.namespace, "deployment/billing", "--", "psql", "-At", "-c"];
        show.say(&format!("$ kubectl {} \"{STATEMENT}\"", command.join(" ")));
        let answer = scene.kubectl.run(&[&command[..], &[STATEMENT]].concat()).await?;
        show.output(answer.as_ref().unwrap_or_else(|said| said));
        let role = application.role();
        let is_let_in = answer.is_ok_and(|answer| answer.starts_with(&format!("{role}|")));
        show.check(&format!("{name}'s application is let in by its certificate, as {role}"), is_let_in);
    }
    let visitors = show.during("a pod in each namespace with both certificates", placed(client, both)).await?;
    let tried = show.during("each tries what it must not", refusals(&visitors, both)).await?;
    show.say("What whoever holds both customers' certificates is refused:");
    for (what, why, outcome) in tried {
        match outcome {
            Ok(()) => show.check(&format!("{what}: {why}"), true),
            Err(error) => show.check(&format!("{what}: {error:#}"), false),
        }
    }
    Ok(visitors)
}

/// Puts pods with both certificates where applications are, and where none is.
async fn placed(client: &Client, both: [&Customer; 2]) -> Result<Visitors> {
    let mut saved = Vec::new();
    for Customer { name, application, .. } in both {
        let given = application.given(client).await?;
        saved.push((*name, given.with_context(|| format!("the application of {name} has no Secret"))?));
    }
    let [(_, certificate), _] = saved.as_slice() else { bail!("there are not two customers") };
    let certificate = certificate.clone();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": LANE } });
    apply(client, "", namespace).await?;
    let platform = Platform::new(client.clone()).patient(PATIENCE);
    let [acme, globex] = both.map(|customer| customer.application.namespace.as_str());
    let stands = async |namespace: &str| Box::pin(Visitor::stands(&platform, POSTGRES, namespace, &saved)).await;
    let (shop, market, lane) = tokio::try_join!(stands(acme), stands(globex), stands(LANE))?;
    // Only beside what succeeds does a refusal show anything.
    let [to_acme, to_globex] = both.map(way);
    tokio::try_join!(shop.is_let_in(&to_acme), market.is_let_in(&to_globex))?;
    Ok(Visitors { shop, market, lane, certificate })
}

/// What was tried, why it is refused, and whether it was for that reason.
type Refusal = (&'static str, &'static str, Result<()>);

async fn refusals(visitors: &Visitors, [acme, globex]: [&Customer; 2]) -> Result<Vec<Refusal>> {
    let (to_acme, to_globex) = (way(acme), way(globex));
    let Visitors { shop, market, lane, .. } = visitors;
    let packets = "no packet gets there";
    let ways = [
        (
            "shop to acme's database, globex's certificate",
            shop,
            to_acme.clone().but_certificate_of(globex.name),
            "unknown authority",
            &ANOTHER_AUTHORITY[..],
        ),
        (
            "shop to acme's database, as its owner app",
            shop,
            to_acme.clone().for_user("app"),
            "another name in the certificate",
            &ANOTHER_NAME,
        ),
        (
            "shop to acme's database, as superuser",
            shop,
            to_acme.clone().for_user("postgres"),
            "another name in the certificate",
            &ANOTHER_NAME,
        ),
        (
            "shop to acme's database, without certificate",
            shop,
            to_acme.clone().without_certificate(),
            "one is required",
            &["requires a valid client certificate"],
        ),
        ("shop to globex's database, globex's certificate", shop, to_globex.impatiently(), packets, &UNANSWERED),
        ("market to acme's database, acme's certificate", market, to_acme.clone().impatiently(), packets, &UNANSWERED),
        ("a namespace that is not listed, acme's certificate", lane, to_acme.impatiently(), packets, &UNANSWERED),
    ];
    let tries = ways.iter().map(async |(what, visitor, way, why, reasons)| {
        (*what, *why, is_refused(what, visitor, way, "SELECT 1", reasons).await)
    });
    let (mut refused, reached) = tokio::join!(futures::future::join_all(tries), reaches(globex, acme));
    let outcome = if reached? { Err(anyhow::anyhow!("PostgreSQL answers")) } else { Ok(()) };
    refused.push(("globex's database to acme's", packets, outcome));
    Ok(refused)
}

/// Whether a packet gets from the database of one to that of another.
async fn reaches(from: &Customer, to: &Customer) -> Result<bool> {
    let pods: Api<Pod> = Api::namespaced(to.database.client(), &to.stack);
    let primary = pods.get(&to.database.primary().await?).await?;
    let address = primary.status.and_then(|status| status.pod_ip).context("the primary has no address")?;
    from.database.reaches(&address).await
}
