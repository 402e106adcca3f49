//! Who may do what in a stack. In: the stacks. Out: answers of the API server's own authorizer, and of the fence.

use std::fmt::{Display, Formatter};

use anyhow::{Context as _, Result};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::objects::{Stack, Stacks};
use crate::scene::Scene;
use crate::show::Show;

/// A request that somebody might make in a namespace.
pub(crate) struct Question<'a> {
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    subresource: &'a str,
    name: &'a str,
}

impl<'a> Question<'a> {
    pub(crate) const fn of(verb: &'a str, group: &'a str, resource: &'a str) -> Self {
        Self { verb, group, resource, subresource: "", name: "" }
    }

    pub(crate) const fn named(self, name: &'a str) -> Self {
        Self { name, ..self }
    }

    const fn part(self, subresource: &'a str) -> Self {
        Self { subresource, ..self }
    }

    /// As the API server is asked; no namespace means all of them.
    fn attributes(&self, namespace: &str) -> ResourceAttributes {
        ResourceAttributes {
            namespace: some(namespace),
            verb: some(self.verb),
            group: some(self.group),
            resource: some(self.resource),
            subresource: some(self.subresource),
            name: some(self.name),
            ..ResourceAttributes::default()
        }
    }
}

impl Display for Question<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        let space = if self.name.is_empty() { "" } else { " " };
        write!(f, "{} {}{dot}{}{space}{}", self.verb, self.resource, self.group, self.name)
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// What is asked for each stack, with the heading of its column.
const QUESTIONS: [(&str, Question<'_>); 4] = [
    ("look", Question::of("list", "", "pods")),
    ("logs", Question::of("get", "", "pods").part("log")),
    ("secr", Question::of("get", "", "secrets")),
    ("open", Question::of("delete", "networking.k8s.io", "networkpolicies").named("deny-all")),
];

/// Somebody, and what the YAML gives them: for each stack how many of the questions, from the left, are answered with yes.
pub(crate) struct Person<'a, const STACKS: usize> {
    pub(crate) who: &'a str,
    pub(crate) user: &'a str,
    pub(crate) group: &'a str,
    pub(crate) allowed: [usize; STACKS],
}

pub(crate) const NOTHING: usize = 0;
pub(crate) const LOOK: usize = 1;
pub(crate) const LOOK_AND_LOGS: usize = 2;

/// As the files that were applied say, for finance, research and sales.
pub(crate) const PEOPLE: [Person<'_, 3>; 6] = [
    Person { who: "finance viewer", user: "fay", group: "acme-finance", allowed: [LOOK, NOTHING, NOTHING] },
    Person { who: "research editor", user: "ray", group: "acme-research", allowed: [NOTHING, LOOK_AND_LOGS, NOTHING] },
    Person { who: "research viewer", user: "ada@acme.example", group: "", allowed: [NOTHING, LOOK, NOTHING] },
    Person {
        who: "owner of acme",
        user: "olga",
        group: "acme-admins",
        allowed: [LOOK_AND_LOGS, LOOK_AND_LOGS, NOTHING],
    },
    Person { who: "owner of globex", user: "gus", group: "globex-admins", allowed: [NOTHING, NOTHING, LOOK_AND_LOGS] },
    Person { who: "stranger", user: "mallory", group: "elsewhere", allowed: [NOTHING, NOTHING, NOTHING] },
];

/// Asks the API server who may do what.
pub(crate) async fn rights<const STACKS: usize>(
    show: &Show,
    client: &Client,
    people: &[Person<'_, STACKS>],
    stacks: [&Stack; STACKS],
) -> Result<()> {
    show.step("rights", "Who may do what: SubjectAccessReviews, answered by the API server");
    let names = stacks.map(|stack| format!("{:<20}", stack.workspace)).concat();
    show.output(&format!("{:16}{names}", ""));
    let columns = QUESTIONS.map(|(short, _)| format!("{short:<5}")).concat();
    show.output(&format!("{:16}{}", "", columns.repeat(STACKS)));
    let mut outcomes = Vec::new();
    for person in people {
        let (cells, is_as_written) = ask(client, person, stacks).await?;
        show.output(&format!("{:<16}{cells}", person.who));
        outcomes.push((person.who, is_as_written));
    }
    show.say("look: list pods; logs: read their logs; secr: read Secrets; open: delete deny-all.");
    for (who, is_as_written) in outcomes {
        show.check(&format!("{who}: exactly as the YAML says"), is_as_written);
    }
    Ok(())
}

/// The cells of a person's row, and whether all of them are as they should be.
async fn ask<const STACKS: usize>(
    client: &Client,
    person: &Person<'_, STACKS>,
    stacks: [&Stack; STACKS],
) -> Result<(String, bool)> {
    let mut cells = String::new();
    let mut is_as_written = true;
    for (stack, allowed) in stacks.into_iter().zip(person.allowed) {
        for (index, (_, question)) in QUESTIONS.iter().enumerate() {
            let groups = [person.group, "system:authenticated"];
            let groups: Vec<&str> = groups.into_iter().filter(|group| !group.is_empty()).collect();
            let may = may(client, person.user, &groups, &stack.namespace, question).await?;
            is_as_written &= may == (index < allowed);
            cells.push_str(if may { "yes  " } else { "-    " });
        }
    }
    Ok((cells, is_as_written))
}

/// Whether `user` may do so in `namespace`; no namespace means all of them.
pub(crate) async fn may(
    client: &Client,
    user: &str,
    groups: &[&str],
    namespace: &str,
    question: &Question<'_>,
) -> Result<bool> {
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: some(user),
            groups: Some(groups.iter().map(|group| (*group).to_owned()).collect()),
            resource_attributes: Some(question.attributes(namespace)),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let status = answer.context("the API server does not answer a SubjectAccessReview")?.status;
    Ok(status.is_some_and(|status| status.allowed))
}

/// Whether whoever asks may do so, wherever it is.
pub(crate) async fn may_i(client: &Client, question: &Question<'_>) -> Result<bool> {
    let attributes = Some(question.attributes(""));
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: attributes, non_resource_attributes: None };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let status = answer.context("the API server does not say what you may do")?.status;
    Ok(status.is_some_and(|status| status.allowed))
}

/// Tries as the cluster's administrator what no role would allow, and is refused by the fence.
pub(crate) async fn fence(show: &Show, scene: &Scene, stacks: &Stacks) -> Result<()> {
    show.step("fence", "The fence: even the administrator of the cluster does not open a stack by mistake");
    let Stack { namespace, identity, .. } = &stacks.finance;
    let stranger = "--serviceaccount=default:default";
    let label = format!("steading.dev/stack={identity}");
    let attempts: [&[&str]; 4] = [
        &["delete", "networkpolicy", "deny-all", "-n", namespace],
        &["delete", "resourcequota", "steading", "-n", namespace],
        &["create", "rolebinding", "mine", "--clusterrole=admin", stranger, "-n", namespace],
        &["label", "namespace", "default", &label],
    ];
    for attempt in attempts {
        show.say(&format!("$ kubectl {} --dry-run=server", attempt.join(" ")));
        let answer = scene.kubectl.run(&[attempt, &["--dry-run=server"]].concat()).await?;
        judged(show, &answer.map(drop));
    }
    Ok(())
}

/// Shows whether it was the fence that refused.
pub(crate) fn judged(show: &Show, answer: &Result<(), String>) {
    let said = answer.as_ref().err().and_then(|said| said.split_once("denied request: ")).map(|(_, why)| why);
    match said.filter(|why| why.starts_with("steading: ")) {
        Some(why) => show.check(&format!("refused: {why}"), true),
        None => show.check(&format!("not refused by the fence: {answer:?}"), false),
    }
}
