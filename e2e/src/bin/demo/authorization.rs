//! Who may do what, as applications ask it. In: the stacks. Out: a store for each customer, and what it answers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use api::{TenantClass, Workspace, conditions::AUTHORIZATION_READY};
use e2e::servers::REGION;
use e2e::story::condition;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::objects::{self, CUSTOMER, OTHER_CUSTOMER, Stacks};
use crate::people::{LOOK, LOOK_AND_LOGS, PEOPLE};
use crate::scene::Scene;
use crate::show::{Progress, Show};

/// Secret with the operator's key at OpenFGA.
pub(crate) const SECRET: &str = "quickstart-openfga";

/// Adds OpenFGA to the class and asks the stores about everybody.
pub(crate) async fn answers(show: &Show, scene: &Scene, stacks: &Stacks) -> Result<()> {
    show.step("authorization", "Who may do what, for applications: OpenFGA's own answers");
    let client = scene.plane.admin()?;
    let mut place =
        json!({ "authorization": { "openfga": { "region": REGION, "credentials": { "secret": SECRET } } } });
    scene.servers.direct_here(&scene.plane, &mut place);
    let classes: Api<TenantClass> = Api::all(client.clone());
    let patch: Value = json!({ "spec": place });
    classes
        .patch("quickstart", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .context("cannot patch the class")?;
    show.say("The class names an OpenFGA server from now on, so each customer gets a store there.");
    let told = async || {
        let all = Api::<Workspace>::all(client.clone()).list(&ListParams::default()).await?;
        let is_told = |it: &Workspace| condition(it, AUTHORIZATION_READY).is_some_and(|told| told.status == "True");
        let waiting = all.iter().filter(|it| !is_told(it)).count();
        Ok(if waiting == 0 { Progress::Done(()) } else { Progress::Still(format!("{waiting} workspaces to go")) })
    };
    show.until("members of all workspaces stand in the stores", Duration::from_mins(1), told).await?;
    let mut stores = Vec::new();
    for customer in [CUSTOMER, OTHER_CUSTOMER] {
        let status = objects::tenant(&client, customer).await?.status;
        let store = status.and_then(|status| status.authorization?.store_id);
        stores.push(store.with_context(|| format!("Tenant {customer} has no store"))?);
    }
    show.check("each customer has a store of its own", stores.first() != stores.last());
    let [acme, globex] = [stores.first(), stores.last()].map(|store| store.cloned().unwrap_or_default());
    let places = [(&acme, &stacks.finance), (&acme, &stacks.research), (&globex, &stacks.sales)];
    let names = places.map(|(_, stack)| format!("{:<16}", stack.workspace)).concat();
    show.output(&format!("{:16}{names}", ""));
    show.output(&format!("{:16}{}", "", "editor  viewer  ".repeat(places.len())));
    let mut is_as_written = true;
    for person in &PEOPLE {
        let mut cells = String::new();
        for ((store, stack), allowed) in places.into_iter().zip(person.allowed) {
            for (relation, least) in [("editor", LOOK_AND_LOGS), ("viewer", LOOK)] {
                let object = format!("workspace:{}", stack.identity);
                let groups: &[&str] = if person.group.is_empty() { &[] } else { &[person.group] };
                let user = format!("user:{}", person.user);
                let may = scene.servers.openfga.check(store, (&user, groups), relation, &object).await?;
                is_as_written &= may == (allowed >= least);
                cells.push_str(if may { "yes     " } else { "-       " });
            }
        }
        show.output(&format!("{:<16}{cells}", person.who));
    }
    show.check("owners and members as the YAML says, nobody of another customer", is_as_written);
    let object = format!("workspace:{}", stacks.sales.identity);
    let strange = scene.servers.openfga.check(&acme, ("user:gus", &["globex-admins"]), "viewer", &object).await?;
    show.check("acme's store knows nothing of globex's workspace, not even its owner", !strange);
    Ok(())
}
