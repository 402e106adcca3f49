//! A consumer of a Workspace's database: its names, its objects, and what its Secret says.
//!
//! In: a consumer as read, the facts of the Workspace, certificates. Out: [`Consumer`], which can hold nothing that admission would have
//! refused, and everything that is made for it.

use std::collections::BTreeMap;

use api::{
    ConsumerNamespace, InvalidName, ServiceAccountName,
    consumer::{ConsumerStatus, DatabaseUse},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::database::{CLUSTER, READING_SERVICE, WRITING_SERVICE};
use crate::hash::hexadecimal;
use crate::parts::{database_role, role_binding};
use crate::workspace::Facts;

/// Longest name of a role: PostgreSQL cuts off what is beyond it.
const ROLE_MAX: usize = 63;

/// The Secret of CloudNativePG whose entry `ca.crt` has signed the database's certificates.
pub const DATABASE_CA: &str = "database-ca";

/// A consumer, by whom it is told apart from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumer {
    /// Its namespace.
    pub namespace: ConsumerNamespace,
    /// Its ServiceAccount.
    pub service_account: ServiceAccountName,
}

/// What a consumer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Read.
    Read,
    /// Read and write, and change tables.
    ReadWrite,
    /// Nothing any more.
    ShutOut,
}

impl From<DatabaseUse> for Standing {
    fn from(asked: DatabaseUse) -> Self {
        match asked {
            DatabaseUse::Read => Self::Read,
            DatabaseUse::ReadWrite => Self::ReadWrite,
        }
    }
}

impl Consumer {
    /// The consumer that a spec names.
    ///
    /// # Errors
    /// If a name is none that admission lets through.
    pub fn parse(asked: &api::consumer::Consumer) -> Result<Self, InvalidName> {
        Self::named(&asked.namespace, &asked.service_account)
    }

    /// The consumer that status remembers.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn remembered(known: &ConsumerStatus) -> Result<Self, InvalidName> {
        Self::named(&known.namespace, &known.service_account)
    }

    fn named(namespace: &str, service_account: &str) -> Result<Self, InvalidName> {
        Ok(Self { namespace: namespace.parse()?, service_account: service_account.parse()? })
    }

    /// Its role in the database. The underscore is in no name of Kubernetes, so that two consumers never have the same; a name that is too
    /// long ends with a digest of all of it.
    #[must_use]
    pub fn role(&self) -> String {
        let whole = format!("consumer_{}_{}", self.namespace, self.service_account);
        if whole.len() <= ROLE_MAX {
            return whole;
        }
        let digest = hexadecimal(&Sha256::digest(whole.as_bytes()).into());
        let (start, end) = (whole.chars().take(ROLE_MAX - 11), digest.chars().take(10));
        start.chain(['_']).chain(end).collect()
    }

    /// Name of its `DatabaseRole`. It begins with the name of the Cluster: CloudNativePG writes nothing else in a stack.
    #[must_use]
    pub fn database_role(&self) -> String {
        format!("{CLUSTER}-consumer-{}.{}", self.namespace, self.service_account)
    }

    /// Name of the Secret of the stack in which CloudNativePG puts its certificate (`tls.crt`) and key (`tls.key`).
    #[must_use]
    pub fn certificate_secret(&self) -> String {
        format!("{}-client-cert", self.database_role())
    }

    /// Name of its Secret in its own namespace. Dots, which neither a Tenant's nor a Workspace's name has, keep any two apart.
    #[must_use]
    pub fn secret(&self, facts: &Facts) -> String {
        format!("{}.{}.{}", facts.tenant, facts.workspace, self.service_account)
    }

    /// Its `DatabaseRole`.
    #[must_use]
    pub fn database_role_object(&self, facts: &Facts, standing: Standing) -> Value {
        json!(database_role::of_consumer(facts, self, standing))
    }

    /// The RoleBinding by which Steading may write its Secret.
    #[must_use]
    pub fn binding(&self, facts: &Facts, steading: &(String, String)) -> Value {
        json!(role_binding::in_consumers(facts, &self.namespace, steading))
    }

    /// What its Secret says of where the database is, beside the certificates: the entries that the Service Binding specification for
    /// Kubernetes names for a database, and what libpq calls them.
    #[must_use]
    pub fn connection(&self, facts: &Facts) -> BTreeMap<&'static str, String> {
        let service = |name: &str| format!("{name}.{}.svc", facts.namespace());
        BTreeMap::from([
            ("type", "postgresql".to_owned()),
            ("provider", "steading".to_owned()),
            ("host", service(WRITING_SERVICE)),
            ("host-ro", service(READING_SERVICE)),
            ("port", "5432".to_owned()),
            ("database", "app".to_owned()),
            ("username", self.role()),
            ("sslmode", "verify-full".to_owned()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::acme_finance;

    fn consumer(namespace: &str, service_account: &str) -> Consumer {
        Consumer::named(namespace, service_account).unwrap()
    }

    fn billing() -> Consumer {
        consumer("shop", "billing")
    }

    #[test]
    fn what_is_made_for_a_consumer_is_named_after_it() {
        let (billing, facts) = (billing(), acme_finance());
        assert_eq!(billing.role(), "consumer_shop_billing");
        assert_eq!(billing.database_role(), "database-consumer-shop.billing");
        assert_eq!(billing.certificate_secret(), "database-consumer-shop.billing-client-cert");
        assert_eq!(billing.secret(&facts), "acme.finance.billing");
        let binding = billing.binding(&facts, &("steading-system".into(), "steading".into()));
        assert_eq!(binding.pointer("/metadata/namespace"), Some(&json!("shop")));
        assert_eq!(binding.pointer("/metadata/name"), Some(&json!(facts.namespace().to_string())));
        assert_eq!(binding.pointer("/roleRef/name"), Some(&json!("steading-consumer-operator")));
        let subject = json!([{"kind": "ServiceAccount", "name": "steading", "namespace": "steading-system"}]);
        assert_eq!(binding.pointer("/subjects"), Some(&subject));
    }

    #[test]
    fn roles_of_two_consumers_are_two_however_long_their_names_are() {
        let long = "x".repeat(60);
        let names = [
            consumer("shop", "billing").role(),
            consumer("shop-billing", "a").role(),
            consumer("shop", "billing-a").role(),
            consumer("shop", "billing.a").role(),
            consumer(&long, &long).role(),
            consumer(&format!("{long}y"), &long).role(),
            consumer(&long, &format!("{long}y")).role(),
        ];
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        assert!(names.iter().all(|name| name.len() <= ROLE_MAX && name.starts_with("consumer_")), "{names:?}");
    }

    #[test]
    fn a_hostile_name_makes_no_consumer() {
        for (namespace, service_account) in [
            ("shop/..", "billing"),
            ("shop", "billing\"; DROP"),
            ("shop", ""),
            ("", "billing"),
            ("shop", "a..b"),
            ("Shop", "b"),
        ] {
            assert!(Consumer::named(namespace, service_account).is_err(), "{namespace} {service_account}");
        }
    }

    #[test]
    fn whoever_reads_writes_nothing_and_whoever_is_shut_out_does_nothing() {
        let spec = |standing| billing().database_role_object(&acme_finance(), standing)["spec"].clone();
        assert_eq!(
            spec(Standing::ReadWrite),
            json!({
                "cluster": {"name": "database"}, "name": "consumer_shop_billing", "login": true, "disablePassword": true,
                "inRoles": ["app", "pg_read_all_data", "pg_write_all_data"],
                "clientCertificate": {"enabled": true}, "databaseRoleReclaimPolicy": "retain",
            })
        );
        assert_eq!(spec(Standing::Read)["inRoles"], json!(["pg_read_all_data"]));
        let shut_out = spec(Standing::ShutOut);
        assert_eq!((&shut_out["login"], &shut_out["inRoles"]), (&json!(false), &json!([])));
        assert_eq!(shut_out["clientCertificate"], json!({"enabled": false}));
    }

    #[test]
    fn its_secret_says_where_to_connect_as_whom() {
        let connection = billing().connection(&acme_finance());
        let stack = acme_finance().namespace();
        assert_eq!(connection["host"], format!("database-rw.{stack}.svc"));
        assert_eq!(connection["host-ro"], format!("database-ro.{stack}.svc"));
        assert_eq!(
            (connection["username"].as_str(), connection["sslmode"].as_str()),
            ("consumer_shop_billing", "verify-full")
        );
    }
}
