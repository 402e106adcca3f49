//! Who is let in as what. In: what the API server says of a token, of its namespace and of a Tenant. Out: which pod of whom, or why not.
//!
//! Names prove nothing here: a pod is known by the UID to which its token is bound, a stack by the label that nobody but Steading can set
//! (the fence), a Tenant by its identity.

use std::collections::BTreeMap;

use agent_protocol::relay::{AUDIENCE, PodUid};
use api::{
    labels,
    names::{Identity, TenantName},
};

use crate::reason::Reason;

/// The longest that a connection lasts before its pod has to show a token again, in seconds.
const LONGEST: u64 = 600;
/// Where the API server says to which pod a token is bound.
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// What a TokenReview says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Whether the token is good.
    pub authenticated: bool,
    /// For whom of those whom we named it is.
    pub audiences: Vec<String>,
    /// `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    /// Further facts, such as the pod's UID.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// A pod that showed a token of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: PodUid,
}

/// Which pod showed the token, if it is one that runs as `account`.
pub fn pod(review: &Review, account: &str) -> Result<Pod, Reason> {
    if !review.authenticated {
        return Err(Reason::TokenRejected);
    }
    // A server that knows nothing of audiences says nothing about them.
    if review.audiences != [AUDIENCE] {
        return Err(Reason::OtherAudience);
    }
    let who = review.user.strip_prefix("system:serviceaccount:").and_then(|who| who.split_once(':'));
    let (namespace, name) = who.filter(|(namespace, _)| !namespace.is_empty()).ok_or(Reason::NotAPod)?;
    let uid = match review.extra.get(POD_UID).map(Vec::as_slice) {
        Some([uid]) => uid.parse().map_err(|_| Reason::NotAPod)?,
        _ => return Err(Reason::NotAPod),
    };
    if name == account { Ok(Pod { namespace: namespace.to_owned(), uid }) } else { Err(Reason::OtherServiceAccount) }
}

/// Whose stack a namespace with these labels is.
pub fn tenant(labels: &BTreeMap<String, String>) -> Result<TenantName, Reason> {
    if labels.get(labels::STACK).is_none_or(|stack| stack.parse::<Identity>().is_err()) {
        return Err(Reason::NotAStack);
    }
    labels.get(labels::TENANT).and_then(|name| name.parse().ok()).ok_or(Reason::NotAStack)
}

/// Until when a pod is let in whose token ends then.
pub fn until(token_ends: u64, now: u64) -> u64 {
    token_ends.min(now.saturating_add(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0d6f1f0e-5c1b-4a57-9d3c-2f0a6f4f7a10";

    fn review() -> Review {
        Review {
            authenticated: true,
            audiences: vec![AUDIENCE.to_owned()],
            user: "system:serviceaccount:acme-finance-abcdef:agent".to_owned(),
            extra: [(POD_UID.to_owned(), vec![UID.to_owned()])].into(),
        }
    }

    #[test]
    fn a_pod_is_known_by_the_uid_to_which_its_token_is_bound() {
        let pod = pod(&review(), "agent").unwrap();
        assert_eq!((pod.namespace.as_str(), pod.uid.to_string().as_str()), ("acme-finance-abcdef", UID));
    }

    #[test]
    fn a_token_that_the_server_does_not_vouch_for_in_full_is_refused() {
        type Break = (fn(&mut Review), Reason);
        let broken: [Break; 8] = [
            (|review| review.authenticated = false, Reason::TokenRejected),
            (|review| review.audiences.clear(), Reason::OtherAudience),
            (|review| review.audiences.push("kubernetes".to_owned()), Reason::OtherAudience),
            (|review| review.user = "alice".to_owned(), Reason::NotAPod),
            (|review| review.user = "system:serviceaccount::agent".to_owned(), Reason::NotAPod),
            (|review| review.user.push_str("-2"), Reason::OtherServiceAccount),
            (|review| review.extra.clear(), Reason::NotAPod),
            (|review| review.extra.values_mut().for_each(|uids| *uids = vec![">".to_owned()]), Reason::NotAPod),
        ];
        for (break_it, reason) in broken {
            let mut review = review();
            break_it(&mut review);
            assert_eq!(pod(&review, "agent"), Err(reason), "{review:?}");
        }
    }

    #[test]
    fn a_stack_is_known_by_the_fenced_label_and_its_tenant_by_the_one_beside_it() {
        let labels = |list: &[(&str, &str)]| list.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        assert_eq!(tenant(&labels(&[(labels::STACK, UID), (labels::TENANT, "acme")])), Ok("acme".parse().unwrap()));
        for wrong in [
            labels(&[(labels::TENANT, "acme")]),
            labels(&[(labels::STACK, "yes"), (labels::TENANT, "acme")]),
            labels(&[(labels::STACK, UID)]),
            labels(&[(labels::STACK, UID), (labels::TENANT, "../acme")]),
        ] {
            assert_eq!(tenant(&wrong), Err(Reason::NotAStack), "{wrong:?}");
        }
    }

    #[test]
    fn nobody_is_let_in_for_longer_than_ten_minutes_or_than_his_token_holds() {
        assert_eq!(until(1100, 1000), 1100);
        assert_eq!(until(9_999_999, 1000), 1600);
    }
}
