//! What consumers, and those who have taken a certificate from them, must not be able to do, each beside a control that succeeds.

use anyhow::{Context as _, Result, bail, ensure};
use e2e::wait::until;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::visitor::{Visitor, Way};
use super::{ROWS, Shop, host};
use crate::database::PATIENCE;
use crate::world::Customer;

/// What is said where packets do not arrive: it depends on whether the network drops or rejects them.
pub(super) const UNANSWERED: [&str; 3] = ["timeout expired", "Connection refused", "No route to host"];

/// What may come before the answer on a busy machine, and says nothing.
const LATE: [&str; 2] = ["could not translate host name", "timeout expired"];

/// What PostgreSQL says to a certificate with another name than that of the user.
const ANOTHER_NAME: [&str; 1] = ["certificate authentication failed for user"];

impl Shop {
    /// Tries all of it, and says how many ways in there are not.
    pub async fn nobody_else_gets_in(&self, globex: &Customer) -> Result<usize> {
        let (writes, reads) = (self.way_of(&self.billing), self.way_of(&self.reports));
        self.from_billing.is_let_in(&writes).await.context("the control fails")?;
        self.from_reports.is_let_in(&reads).await.context("the control fails")?;
        let by_packet = self.packets(globex).await?;
        let by_name = self.names(&writes).await?;
        let by_statement = self.statements(&writes, &reads).await?;
        self.authorities(globex).await?;
        Ok(by_packet + by_name + by_statement + 1)
    }

    /// Whoever has a certificate gets no packet to the database from a namespace that is not listed, nor to that of another customer.
    async fn packets(&self, globex: &Customer) -> Result<usize> {
        let right = self.way_of(&self.billing).impatiently();
        let elsewhere = right.clone().at(&host("rw", &globex.stack));
        let ways = [
            ("from a namespace that is not listed", &self.from_outside, &right),
            ("from there, to the other customer's database", &self.from_outside, &elsewhere),
            ("from the shop, to the other customer's database", &self.from_billing, &elsewhere),
            ("from the desk, to the other customer's database", &self.from_reports, &elsewhere),
        ];
        for (what, visitor, way) in ways {
            is_refused(what, visitor, way, "SELECT 1", &UNANSWERED).await?;
        }
        Ok(ways.len())
    }

    /// A certificate opens one role, and nothing is opened without.
    async fn names(&self, right: &Way) -> Result<usize> {
        let for_user = |user: &str| right.clone().for_user(user);
        let ways = [
            ("as the owner of the database", for_user("app"), ANOTHER_NAME),
            ("as the other consumer", for_user(&self.reports.role()), ANOTHER_NAME),
            ("as the superuser", for_user("postgres"), ANOTHER_NAME),
            ("as an instance that follows", for_user("streaming_replica"), ANOTHER_NAME),
            ("with the other's certificate", right.clone().with_certificate_of(self.reports.account), ANOTHER_NAME),
            ("without certificate", right.clone().without_certificate(), ["requires a valid client certificate"]),
            ("without TLS", right.clone().without_tls(), ["pg_hba.conf rejects connection"]),
        ];
        for (what, way, reasons) in &ways {
            is_refused(what, &self.from_billing, way, "SELECT 1", reasons).await?;
        }
        Ok(ways.len())
    }

    /// Who reads does not write, and who writes gives nothing away and does not get out of the database.
    async fn statements(&self, writes: &Way, reads: &Way) -> Result<usize> {
        let rows = self.from_reports.sql(reads, ROWS).await.context("the control fails: who may read does not")?;
        ensure!(rows.parse::<u64>().is_ok(), "{rows}");
        let grant = format!("GRANT app TO \"{}\"", self.reports.role());
        let (shop, desk) = (&self.from_billing, &self.from_reports);
        let statements = [
            (desk, reads, "INSERT INTO invoices DEFAULT VALUES", "permission denied for table invoices"),
            (desk, reads, "TRUNCATE invoices", "permission denied for table invoices"),
            (desk, reads, "CREATE TABLE more ()", "permission denied for schema public"),
            (desk, reads, "SET ROLE app", "permission denied to set role"),
            (shop, writes, &grant, "permission denied to grant role"),
            (shop, writes, "CREATE ROLE another LOGIN", "permission denied to create role"),
            (shop, writes, "ALTER SYSTEM SET ssl = off", "ALTER SYSTEM is not allowed"),
            (shop, writes, "COPY (SELECT 1) TO PROGRAM 'sh'", "permission denied to COPY"),
        ];
        for (visitor, way, statement, reason) in statements {
            is_refused(statement, visitor, way, statement, &[reason]).await?;
        }
        Ok(statements.len())
    }

    /// A certificate says nothing at the other customer's database, be it tried from where packets get to it: its own pod.
    async fn authorities(&self, globex: &Customer) -> Result<()> {
        const SCRIPT: &str = "umask 077; printf %s \"$1\" >/dev/shm/tls.crt; printf %s \"$2\" >/dev/shm/tls.key
            psql --no-psqlrc -At --dbname \"$3\" --command 'SELECT 1'; code=$?
            rm /dev/shm/tls.crt /dev/shm/tls.key; exit $code";
        let secrets: Api<Secret> = Api::namespaced(self.admin.clone(), &self.billing.namespace);
        let data = secrets.get(&self.billing.secret(&self.workspace)).await?.data.unwrap_or_default();
        let entry = |name: &str| data.get(name).map(|it| String::from_utf8_lossy(&it.0).into_owned());
        let (certificate, key) = entry("tls.crt").zip(entry("tls.key")).context("the Secret has no certificate")?;
        let target = format!(
            "host=database-rw dbname=app user={} sslmode=require connect_timeout=30 sslcert=/dev/shm/tls.crt sslkey=/dev/shm/tls.key",
            self.billing.role()
        );
        let command = ["sh", "-c", SCRIPT, "sh", &certificate, &key, &target];
        let tried = globex.database.run(&globex.database.primary().await?, &command).await;
        let refused = tried.err().context("one customer's certificate opens the other's database")?.to_string();
        ensure!(refused.contains("unknown ca"), "refused for another reason: {refused}");
        Ok(())
    }
}

/// Waits until it is refused for one of these reasons. Being let in, and any other reason that is not just being late, fails at once.
pub(super) async fn is_refused(
    what: &str,
    visitor: &Visitor,
    way: &Way,
    statement: &str,
    reasons: &[&str],
) -> Result<()> {
    until(&format!("this is refused for a reason: {what}"), PATIENCE, async || {
        let refused = match visitor.sql(way, statement).await {
            Ok(answer) => bail!("{what}: let in, and told {answer:?}"),
            Err(error) => format!("{error:#}"),
        };
        let is_one_of = |known: &[&str]| known.iter().any(|reason| refused.contains(reason));
        ensure!(is_one_of(reasons) || is_one_of(&LATE), "{what}: refused for another reason: {refused}");
        Ok(is_one_of(reasons))
    })
    .await
}
