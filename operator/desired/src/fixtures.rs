//! Facts for tests, with names that show at once if two arguments were swapped.

use std::collections::BTreeSet;

use api::{
    Amounts,
    amounts::ResourceText,
    subject::{Member, Owner, Role, SubjectKind},
};
use serde::Serialize;
use serde_json::Value;

use crate::{database::Reach, workspace::Facts};

/// Identity of the Workspace `acme/finance`.
pub(crate) const IDENTITY: &str = "3f0a4c8e-2b1d-4e5f-8a9b-0c1d2e3f4a5b";

/// The Workspace `finance` of the Tenant `acme`.
pub(crate) fn acme_finance() -> Facts {
    Facts {
        tenant: "acme".parse().unwrap(),
        workspace: "finance".parse().unwrap(),
        identity: IDENTITY.parse().unwrap(),
        owners: vec![Owner { kind: SubjectKind::Group, name: "acme-admins".into() }],
        members: vec![
            Member { kind: SubjectKind::Group, name: "acme-finance-readers".into(), role: Role::Viewer },
            Member { kind: SubjectKind::User, name: "erin@acme.example".into(), role: Role::Editor },
        ],
        granted: amounts("16", "64Gi", "500Gi"),
        database: None,
        agents: None,
    }
}

/// The same with a database.
pub(crate) fn acme_finance_with_database() -> Facts {
    let reach = Reach {
        operator_namespace: "cnpg-system".into(),
        steading: ("steading-system".into(), "steading".into()),
        api_server: BTreeSet::from(["10.0.0.1:6443".parse().unwrap()]),
        store: BTreeSet::from(["192.0.2.7/32".into()]),
        store_port: 9000,
    };
    Facts { database: Some(reach), ..acme_finance() }
}

/// The same with agents.
pub(crate) fn acme_finance_with_agents() -> Facts {
    Facts { agents: Some(("steading-system".into(), "steading".into())), ..acme_finance() }
}

/// Amounts as a spec writes them.
pub(crate) fn amounts(cpu: &str, memory: &str, storage: &str) -> Amounts {
    let (cpu, memory, storage) = (Some(cpu.into()), Some(memory.into()), Some(storage.into()));
    Amounts::parse(&ResourceText { cpu, memory, storage, agents: None }).unwrap()
}

/// An object as it is sent.
pub(crate) fn json_of(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}
