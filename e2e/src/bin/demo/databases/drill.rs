//! The restore drill. In: a customer's database, whose backups were restored beside it meanwhile. Out: what that has shown, beside what the class
//! promises, and that nothing of it is left.

use anyhow::{Context as _, Result, bail};
use api::conditions::RESTORE_PROVEN;
use api::database::ClassDatabase;
use api::drill::RestoreProof;
use api::{TenantClass, Workspace};
use e2e::databases::{CANARY, DRILL, objects};
use e2e::story::condition;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::SignedDuration;
use kube::{Api, Client};

use super::{Customer, PATIENCE};
use crate::objects::CUSTOMER;
use crate::show::{Progress, Show};

/// Waits for the first drill, shows what it measured, and looks for what it left behind.
pub(super) async fn proven(show: &Show, client: &Client, acme: &Customer) -> Result<()> {
    show.step("drill", "The restore drill: the backups are restored, looked at, and measured");
    show.say(&format!(
        "A canary writes a row into each database every third of the rpo ({CANARY}, without a token). A drill restores the \
         backups beside the database and looks which of its rows come back, and whether every table can be read."
    ));
    let workspaces: Api<Workspace> = Api::namespaced(client.clone(), CUSTOMER);
    let proof = show.until("a drill has brought the database of finance back", PATIENCE, async || {
        let workspace = workspaces.get("finance").await?;
        let Some(told) = condition(&workspace, RESTORE_PROVEN) else {
            return Ok(Progress::Still("nothing is told of restores".to_owned()));
        };
        let drill = workspace.status.as_ref().and_then(|status| status.database.as_ref()?.restore_drill.clone());
        let proof = drill.and_then(|drill| drill.last_success);
        Ok(match proof.filter(|_| told.status == "True") {
            Some(proof) => Progress::Done(proof),
            None if told.status == "False" => bail!("{}: {}", told.reason, told.message),
            None => Progress::Still(format!("{}: {}", told.reason, told.message)),
        })
    });
    let proof = proof.await?;
    let class = Api::<TenantClass>::all(client.clone()).get("quickstart").await?;
    let promised = class.spec.database.context("the class offers no databases")?;
    measured(show, &proof, &promised)?;
    removed(show, acme).await
}

fn measured(show: &Show, proof: &RestoreProof, promised: &ClassDatabase) -> Result<()> {
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    show.table(&[
        row(["MEASURED", "FOUND", "PROMISED"]),
        row(["recovery point: age of the newest row", &proof.recovery_point, &promised.rpo.to_string()]),
        row(["recovery time: until the database is there", &proof.recovery_time, &promised.rto.to_string()]),
        row(["size of the database", &proof.size, ""]),
        row(["tables read to their ends", &proof.tables.to_string(), ""]),
        row(["tables that could not be read", &proof.unread.to_string(), ""]),
        row(["rows of the canary, unbroken", &proof.rows.to_string(), ""]),
    ]);
    for (what, found, promised) in [
        ("no more is lost than the class promises", &proof.recovery_point, &promised.rpo),
        ("no more time passes than the class promises", &proof.recovery_time, &promised.rto),
    ] {
        let time: SignedDuration = found.parse().with_context(|| format!("{found:?} is no time"))?;
        let most = SignedDuration::try_from(promised.to_std()?)?;
        show.check(&format!("{what}: {found} of {promised}"), !time.is_negative() && time <= most);
    }
    show.check(
        "rows of the canary came back, and every table was read",
        proof.rows > 0 && proof.tables > 0 && proof.unread == 0,
    );
    Ok(())
}

/// Waits until nothing of it is there.
async fn removed(show: &Show, acme: &Customer) -> Result<()> {
    let client = acme.database.client();
    let of = |kind: &str| objects(&client, &acme.stack, "postgresql.cnpg.io", kind);
    let jobs: Api<Job> = Api::namespaced(client.clone(), &acme.stack);
    show.until("Job, role and database of the drill are gone", PATIENCE, async || {
        let mut left = Vec::new();
        left.extend(jobs.get_opt(DRILL).await?.map(|_| "the Job"));
        left.extend(of("DatabaseRole").get_opt(DRILL).await?.map(|_| "the role"));
        left.extend(of("Cluster").get_opt(DRILL).await?.map(|_| "the database"));
        Ok(if left.is_empty() { Progress::Done(()) } else { Progress::Still(left.join(", ")) })
    })
    .await?;
    show.check("nothing of the drill is left", true);
    Ok(())
}
