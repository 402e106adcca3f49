//! Ways into a database, each tried from where an attacker could stand, each beside a control that succeeds.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::databases::is_late;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;

use crate::database::{Database, PATIENCE};
use crate::world::{Customer, World};

/// Tries all of them, and says how many.
pub async fn nobody_gets_in(world: &World, acme: &Customer, globex: &Customer) -> Result<usize> {
    let by_password = passwords(acme).await?;
    let by_packet = packets(world, acme, globex).await?;
    Ok(by_password + by_packet)
}

/// CloudNativePG makes a password for its first user. It opens nothing, and there is no other without certificate either.
async fn passwords(acme: &Customer) -> Result<usize> {
    let (secrets, database) = (Api::<Secret>::namespaced(acme.database.client(), &acme.stack), &acme.database);
    let secret = secrets.get("database-app").await?;
    let password = secret.data.and_then(|data| data.get("password").cloned()).context("there is no password")?;
    let password = String::from_utf8(password.0)?;
    ensure!(database.sql("SELECT 1").await? == "1", "the control fails: by the pod's own socket it is let in");
    let ways =
        ["app", "postgres", "streaming_replica"].into_iter().flat_map(|user| [(user, "require"), (user, "disable")]);
    let mut tried = 0;
    for (user, mode) in ways {
        let refused = refusal(database, user, &password, mode).await?;
        let known = ["pg_hba.conf rejects", "no pg_hba.conf entry", "requires a valid client certificate"];
        ensure!(
            known.iter().any(|reason| refused.contains(reason)),
            "{user}, sslmode={mode}: refused for another reason: {refused}"
        );
        tried += 1;
    }
    Ok(tried)
}

/// What somebody with this password is told, once it is anything of the database: on a busy machine a name may not be found at once.
async fn refusal(database: &Database, user: &str, password: &str, mode: &str) -> Result<String> {
    let begun = Instant::now();
    loop {
        let answer = database.connect(user, password, mode).await;
        let refused = answer.err().with_context(|| format!("{user} got in by password, sslmode={mode}"))?.to_string();
        if !is_late(&refused) || begun.elapsed() > PATIENCE {
            return Ok(refused);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// From an instance of one customer to that of another: what the network lets through, whatever PostgreSQL would say.
async fn packets(world: &World, acme: &Customer, globex: &Customer) -> Result<usize> {
    let address = async |customer: &Customer, pod: &str| -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(world.client()?, &customer.stack);
        let pod = pods.get(pod).await?;
        pod.status.and_then(|status| status.pod_ip).context("a pod has no address")
    };
    let primary = acme.database.primary().await?;
    let follower = if primary == "database-1" { "database-2" } else { "database-1" };
    ensure!(
        acme.database.reaches(&address(acme, follower).await?).await?,
        "the control fails: no packet gets to its own follower"
    );
    let theirs = address(globex, &globex.database.primary().await?).await?;
    ensure!(!acme.database.reaches(&theirs).await?, "acme's database reaches globex's at {theirs}");
    let ours = address(acme, &primary).await?;
    ensure!(!globex.database.reaches(&ours).await?, "globex's database reaches acme's at {ours}");
    Ok(2)
}
