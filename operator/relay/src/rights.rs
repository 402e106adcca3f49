//! Who may do what at the relay. In: whose JWT it is to be, and facts about him. Out: its text, signed.
//!
//! Every user has a list of what he may say and of what he may hear, and NATS refuses everything else. There is no user without lists: to
//! NATS an empty list is one that allows everything.

use agent_protocol::relay::PodUid;
use api::names::Identity;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    jwt::{Claims, sign},
    limits::{Limits, STREAM},
    nkey::{PublicKey, ServerKey, UserKey},
    root::{Owner, Root, RootError},
};

/// Where servers ask who may come in.
pub const CALLOUT: &str = "$SYS.REQ.USER.AUTH";
/// Where accounts are made known.
pub const REGISTER: &str = "$SYS.REQ.CLAIMS.UPDATE";
/// Below which servers want their answers.
const SERVERS: &str = "$SYS._INBOX.>";
/// Below which each of our own users gets answers.
pub const INBOX: &str = "_INBOX_RELAY";
/// The version of claims.
const VERSION: u8 = 2;

/// What a user may say and hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Subjects.
    pub says: Vec<String>,
    /// Subjects.
    pub hears: Vec<String>,
}

impl Rights {
    fn of(says: &[&str], hears: &[&str]) -> Self {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Self { says: owned(says), hears: owned(hears) }
    }

    /// Those of a pod: what lies below its own UID and no more.
    pub fn of_pod(pod: &PodUid) -> Self {
        Self { says: pod.says(), hears: vec![pod.hears()] }
    }

    /// As NATS writes them. An empty list becomes one that denies all.
    fn written(&self) -> (Value, Value) {
        let list = |subjects: &[String]| {
            if subjects.is_empty() { json!({ "deny": [">"] }) } else { json!({ "allow": subjects }) }
        };
        (list(&self.says), list(&self.hears))
    }
}

/// Signs what servers of NATS trust.
#[derive(Debug)]
pub struct Notary {
    root: Root,
    limits: Limits,
}

/// Nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum NotSigned {
    /// There is no key.
    #[error(transparent)]
    Key(#[from] RootError),
    /// There is no JSON of it.
    #[error("a JWT cannot be written as JSON")]
    Json,
}

type Signed = Result<String, NotSigned>;

impl Notary {
    /// One who has this secret.
    pub fn new(root: Root, limits: Limits) -> Self {
        Self { root, limits }
    }

    /// What a Tenant may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The public key of somebody, by which NATS calls him.
    pub fn called(&self, owner: Owner) -> Result<PublicKey, NotSigned> {
        Ok(self.root.key(owner)?.public())
    }

    fn sign(&self, claims: &Claims<impl Serialize>, by: Owner, now: u64) -> Signed {
        sign(claims, &self.root.key(by)?, now).ok_or(NotSigned::Json)
    }

    /// The operator's, in which the system account is named.
    pub fn operator(&self, now: u64) -> Signed {
        let system = self.called(Owner::SystemAccount)?.to_string();
        let sub = self.called(Owner::Operator)?.to_string();
        let nats = json!({ "system_account": system, "type": "operator", "version": VERSION });
        self.sign(&Claims { name: "steading".to_owned(), sub, nats, ..Claims::default() }, Owner::Operator, now)
    }

    /// That of an account.
    pub fn account(&self, account: Owner, now: u64) -> Signed {
        let sub = self.called(account)?.to_string();
        let ours = json!({ "subs": 64, "data": -1, "payload": 1 << 20, "conn": 64, "leaf": 0 });
        let (name, limits, authorization) = match account {
            Owner::TenantAccount(tenant) => (format!("tenant-{tenant}"), self.limits.of_account(), json!({})),
            Owner::CalloutAccount => {
                let users = [self.called(Owner::Callout)?.to_string()];
                ("callout".to_owned(), ours, json!({ "auth_users": users, "allowed_accounts": ["*"] }))
            }
            _ => ("system".to_owned(), ours, json!({})),
        };
        let nothing = json!({ "deny": [">"] });
        let nats = json!({
            "limits": limits, "authorization": authorization, "default_permissions": { "pub": nothing, "sub": nothing },
            "type": "account", "version": VERSION,
        });
        self.sign(&Claims { name, sub, nats, ..Claims::default() }, Owner::Operator, now)
    }

    /// That of a pod, for the key that the server invented for its connection.
    pub fn pod(&self, tenant: Identity, pod: &PodUid, user: &UserKey, times: Times) -> Signed {
        let claims = Claims {
            aud: None,
            exp: Some(times.expires),
            name: format!("pod-{pod}"),
            sub: user.to_string(),
            nats: user_claims(&Rights::of_pod(pod), false),
        };
        self.sign(&claims, Owner::TenantAccount(tenant), times.now)
    }

    /// That of one of our own users. Whoever holds it is let in, so it goes over TLS only, is made anew for each connection and ends soon.
    pub fn own(&self, user: OwnUser, times: Times) -> Signed {
        let claims = Claims {
            aud: None,
            exp: Some(times.expires),
            name: user.name().to_owned(),
            sub: self.called(user.owner())?.to_string(),
            nats: user_claims(&user.rights(), true),
        };
        self.sign(&claims, user.account(), times.now)
    }

    /// What a connection is given that shows no JWT: it lets nobody in, and makes the server ask.
    pub fn nobody(&self, now: u64) -> Signed {
        let sub = self.called(Owner::Nobody)?.to_string();
        let nats = user_claims(&Rights::of(&[], &[]), true);
        self.sign(&Claims { name: "nobody".to_owned(), sub, nats, ..Claims::default() }, Owner::CalloutAccount, now)
    }

    /// The answer to a server: the JWT of a user, or why there is none.
    pub fn answer(&self, server: &ServerKey, user: &UserKey, outcome: &Result<String, String>, now: u64) -> Signed {
        let (what, text) = match outcome {
            Ok(jwt) => ("jwt", jwt),
            Err(refusal) => ("error", refusal),
        };
        let nats = json!({ what: text, "type": "authorization_response", "version": VERSION });
        let (aud, sub) = (Some(server.to_string()), user.to_string());
        let claims = Claims { aud, exp: None, name: "answer".to_owned(), sub, nats };
        self.sign(&claims, Owner::CalloutAccount, now)
    }
}

fn user_claims(rights: &Rights, bearer: bool) -> Value {
    let (says, hears) = rights.written();
    json!({
        "pub": says, "sub": hears, "subs": -1, "data": -1, "payload": -1,
        "bearer_token": bearer, "allowed_connection_types": ["STANDARD"], "type": "user", "version": VERSION,
    })
}

/// When a JWT was made and until when it holds, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When.
    pub now: u64,
    /// Until when.
    pub expires: u64,
}

/// Who of us signs in to NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnUser {
    /// Answers the servers.
    Callout,
    /// Makes accounts known.
    Registrar,
    /// Makes the stream of a Tenant.
    Keeper(Identity),
}

impl OwnUser {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Callout => "callout",
            Self::Registrar => "registrar",
            Self::Keeper(_) => "keeper",
        }
    }

    fn owner(self) -> Owner {
        match self {
            Self::Callout => Owner::Callout,
            Self::Registrar => Owner::Registrar,
            Self::Keeper(_) => Owner::Keeper,
        }
    }

    fn account(self) -> Owner {
        match self {
            Self::Callout => Owner::CalloutAccount,
            Self::Registrar => Owner::SystemAccount,
            Self::Keeper(tenant) => Owner::TenantAccount(tenant),
        }
    }

    fn rights(self) -> Rights {
        let inbox = format!("{INBOX}.>");
        match self {
            Self::Callout => Rights::of(&[SERVERS], &[CALLOUT]),
            Self::Registrar => Rights::of(&[REGISTER], &[&inbox]),
            Self::Keeper(_) => {
                let says = ["CREATE", "UPDATE"].map(|verb| format!("$JS.API.STREAM.{verb}.{STREAM}"));
                Rights { says: says.into(), hears: vec![inbox] }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;

    use super::*;
    use crate::{
        limits::tests::limits,
        nkey::{Role, Signer},
        root::tests::{TENANT, root},
    };

    const POD: &str = "0d6f1f0e-5c1b-4a57-9d3c-2f0a6f4f7a10";

    fn notary() -> Notary {
        Notary::new(root(), limits())
    }

    fn read(text: &str) -> Value {
        let content = text.split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64URL_NOPAD.decode(content.as_bytes()).unwrap()).unwrap()
    }

    fn user_key() -> UserKey {
        Signer::new(Role::User, &[1; 32]).unwrap().public().to_string().parse().unwrap()
    }

    #[test]
    fn a_pod_says_and_hears_what_lies_below_its_uid_and_nothing_else() {
        let tenant: Identity = TENANT.parse().unwrap();
        let times = Times { now: 5, expires: 600 };
        let claims = read(&notary().pod(tenant, &POD.parse().unwrap(), &user_key(), times).unwrap());
        let nats = &claims["nats"];
        assert_eq!(nats["sub"], json!({ "allow": [format!("pod.{POD}.in.>")] }));
        let says = nats["pub"]["allow"].as_array().unwrap();
        let below = |subject: &Value| subject.as_str().unwrap().starts_with(&format!("pod.{POD}.out."));
        assert!(says.iter().all(below) && says.len() == 4, "{says:?}");
        assert_eq!(nats["resp"], Value::Null, "no right follows from what a pod was asked");
        assert_eq!((&claims["exp"], &nats["bearer_token"]), (&json!(600), &json!(false)));
        let account = notary().called(Owner::TenantAccount(tenant)).unwrap().to_string();
        assert_eq!(claims["iss"], account);
        assert_eq!(nats["allowed_connection_types"], json!(["STANDARD"]));
    }

    #[test]
    fn no_user_has_an_empty_list_which_would_allow_everything() {
        let times = Times { now: 5, expires: 6 };
        let users = [OwnUser::Callout, OwnUser::Registrar, OwnUser::Keeper(TENANT.parse().unwrap())];
        let all = users.map(|user| notary().own(user, times).unwrap()).into_iter().chain([notary().nobody(5).unwrap()]);
        for claims in all.map(|text| read(&text)) {
            for side in ["pub", "sub"] {
                let lists = claims["nats"][side].as_object().unwrap();
                assert!(lists.values().any(|list| !list.as_array().unwrap().is_empty()), "{claims}");
            }
        }
        assert_eq!(read(&notary().nobody(5).unwrap())["nats"]["pub"], json!({ "deny": [">"] }));
    }

    #[test]
    fn the_callout_may_place_users_in_all_accounts_and_its_own_user_is_not_asked_about() {
        let claims = read(&notary().account(Owner::CalloutAccount, 5).unwrap());
        let authorization = &claims["nats"]["authorization"];
        assert_eq!(authorization["auth_users"], json!([notary().called(Owner::Callout).unwrap().to_string()]));
        assert_eq!(authorization["allowed_accounts"], json!(["*"]));
        assert_eq!(claims["iss"], notary().called(Owner::Operator).unwrap().to_string());
    }

    #[test]
    fn an_account_of_a_tenant_neither_imports_nor_exports_and_gives_no_rights_by_itself() {
        let tenant = Owner::TenantAccount(TENANT.parse().unwrap());
        let nats = &read(&notary().account(tenant, 5).unwrap())["nats"];
        assert_eq!((&nats["limits"]["imports"], &nats["limits"]["exports"]), (&json!(0), &json!(0)));
        assert_eq!(nats["limits"]["leaf"], 0);
        assert_eq!(nats["default_permissions"]["pub"], json!({ "deny": [">"] }));
        assert_eq!(nats["authorization"], json!({}));
    }

    #[test]
    fn an_answer_is_for_one_server_and_one_connection_and_is_either_yes_or_no() {
        let server: ServerKey = Signer::new(Role::Server, &[2; 32]).unwrap().public().to_string().parse().unwrap();
        let yes = read(&notary().answer(&server, &user_key(), &Ok("jwt".to_owned()), 5).unwrap());
        assert_eq!((&yes["aud"], &yes["sub"]), (&json!(server.to_string()), &json!(user_key().to_string())));
        assert_eq!((&yes["nats"]["jwt"], &yes["nats"]["error"]), (&json!("jwt"), &Value::Null));
        let no = read(&notary().answer(&server, &user_key(), &Err("why".to_owned()), 5).unwrap());
        assert_eq!((&no["nats"]["jwt"], &no["nats"]["error"]), (&Value::Null, &json!("why")));
    }
}
