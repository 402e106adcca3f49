//! The ServiceAccount of agents: no right is bound to it, and it hands out no token.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::metadata;
use crate::{agents::ACCOUNT, workspace::Facts};

/// Who the desktops of a stack are. One of their own, so that nothing that a cloud gives to others by the name of an account is theirs.
pub(crate) fn of_agents(facts: &Facts) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(facts, ACCOUNT),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
