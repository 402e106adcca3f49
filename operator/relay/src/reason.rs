//! Why somebody is not let in. Each reason is a word in metrics, in audit lines and in the server's log; clients learn only that they are not.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident, $next:literal;)*) => {
        /// Why somebody is not let in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])* $name,)*
        }

        impl Reason {
            /// All of them, in the order of the docs.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What is the matter.
            pub fn is(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)*).trim_ascii(),)*
                }
            }

            /// The next step.
            pub fn next(self) -> &'static str {
                match self {
                    $(Self::$name => $next,)*
                }
            }
        }
    };
}

reasons! {
    /// The client shows no token.
    TokenMissing, "send the projected token as auth_token";
    /// What it shows is no token of a ServiceAccount, or too long for one.
    TokenMalformed, "send the projected token as it stands in its file";
    /// The token is for somebody else.
    OtherAudience, "project a token of audience steading-relay";
    /// The token's time is over.
    TokenExpired, "read the token's file again; the kubelet renews it";
    /// The API server does not take it: it is forged, or its pod or ServiceAccount is gone.
    TokenRejected, "start a new pod";
    /// The token is bound to no pod.
    NotAPod, "project the token into the pod";
    /// The pod runs as another ServiceAccount than agents do.
    OtherServiceAccount, "run it as the ServiceAccount that --agent-service-account names";
    /// The pod's namespace is no stack.
    NotAStack, "start agents by an AgentPool";
    /// The Tenant of the stack is not there, or has no identity yet.
    UnknownTenant, "look at the Tenant that the namespace's label steading.dev/tenant names";
    /// The pod signs in more often than it has to.
    TooOften, "wait a minute; an agent that works signs in once in eight";
    /// As many are looked at as can be at once.
    Busy, "try again; add replicas if it stays so";
    /// The API server does not answer, or refuses the question.
    ClusterUnreachable, "look at the API server and at the rights of the relay's ServiceAccount";
    /// The Tenant's account cannot be made known to NATS.
    AccountUnknown, "look at the log of NATS";
    /// No JWT could be signed.
    NotSigned, "look at the log of the relay";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_in_the_docs_as_it_is_here() {
        let page = include_str!("../../../docs/relay.md");
        for reason in Reason::ALL {
            let row = format!("| `{reason}` | {} | {} |", reason.is(), reason.next());
            assert!(page.contains(&row), "docs/relay.md lacks this row:\n{row}");
        }
    }
}
