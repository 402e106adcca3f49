//! What consumers, and those who have taken a certificate from them, must not be able to do, each beside a control that succeeds.

use anyhow::{Context as _, Result, ensure};
use e2e::databases::{ANOTHER_AUTHORITY, ANOTHER_NAME, ROWS, UNANSWERED, Way, host, is_refused};
use futures::future::try_join_all;

use super::Shop;
use crate::world::Customer;

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
        // Each takes as long as its patience, so all at once.
        let tries = ways.iter().map(|(what, visitor, way)| is_refused(what, visitor, way, "SELECT 1", &UNANSWERED));
        try_join_all(tries).await?;
        Ok(ways.len())
    }

    /// Who has a certificate and no consent is still not reached by an answer, be it from outside or for another customer's database.
    pub async fn strangers_are_shut_out(&self, globex: &Customer) -> Result<()> {
        self.packets(globex).await.map(drop)
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
        let certificate = self.billing.given(&self.admin).await?.context("the Secret is gone")?;
        let tried = globex.database.present(&certificate, &self.billing.role()).await;
        let refused = tried.err().context("one customer's certificate opens the other's database")?.to_string();
        ensure!(
            ANOTHER_AUTHORITY.iter().any(|reason| refused.contains(reason)),
            "refused for another reason: {refused}"
        );
        Ok(())
    }
}
