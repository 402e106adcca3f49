//! Who may do what in a stack. In: the stacks. Out: answers of the API server's own authorizer, and of the fence.

use anyhow::{Context as _, Result};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::objects::{Stack, Stacks};
use crate::scene::Scene;
use crate::show::Show;

/// A request that somebody might make in a namespace.
pub(crate) struct Question {
    pub(crate) verb: &'static str,
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) subresource: &'static str,
    pub(crate) name: &'static str,
}

/// What is asked for each stack, with the heading of its column.
const QUESTIONS: [(&str, Question); 4] = [
    ("look", Question { verb: "list", group: "", resource: "pods", subresource: "", name: "" }),
    ("logs", Question { verb: "get", group: "", resource: "pods", subresource: "log", name: "" }),
    ("secr", Question { verb: "get", group: "", resource: "secrets", subresource: "", name: "" }),
    (
        "open",
        Question {
            verb: "delete",
            group: "networking.k8s.io",
            resource: "networkpolicies",
            subresource: "",
            name: "deny-all",
        },
    ),
];

/// Somebody, and what the YAML gives them: for each stack how many of the questions, from the left, are answered with yes.
struct Person {
    who: &'static str,
    user: &'static str,
    group: &'static str,
    allowed: [usize; 3],
}

const NOTHING: usize = 0;
const LOOK: usize = 1;
const LOOK_AND_LOGS: usize = 2;

/// As the files that were applied say.
const PEOPLE: [Person; 6] = [
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
pub(crate) async fn rights(show: &Show, scene: &Scene, stacks: &Stacks) -> Result<()> {
    show.step("rights", "Who may do what: SubjectAccessReviews, answered by the API server");
    let client = scene.plane.admin()?;
    let names: String = stacks.all().map(|stack| format!("{:<20}", stack.workspace)).concat();
    show.output(&format!("{:16}{names}", ""));
    let columns = QUESTIONS.map(|(short, _)| format!("{short:<5}")).concat();
    show.output(&format!("{:16}{}", "", columns.repeat(stacks.all().len())));
    let mut outcomes = Vec::new();
    for person in &PEOPLE {
        let (cells, is_as_written) = ask(&client, person, stacks).await?;
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
async fn ask(client: &Client, person: &Person, stacks: &Stacks) -> Result<(String, bool)> {
    let mut cells = String::new();
    let mut is_as_written = true;
    for (stack, allowed) in stacks.all().into_iter().zip(person.allowed) {
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
    question: &Question,
) -> Result<bool> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let attributes = ResourceAttributes {
        namespace: some(namespace),
        verb: some(question.verb),
        group: some(question.group),
        resource: some(question.resource),
        subresource: some(question.subresource),
        name: some(question.name),
        ..ResourceAttributes::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: some(user),
            groups: Some(groups.iter().map(|group| (*group).to_owned()).collect()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let status = answer.context("the API server does not answer a SubjectAccessReview")?.status;
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
        let said = answer.as_ref().err().and_then(|said| said.split_once("denied request: ")).map(|(_, why)| why);
        match said.filter(|why| why.starts_with("steading: ")) {
            Some(why) => show.check(&format!("refused: {why}"), true),
            None => show.check(&format!("not refused by the fence: {answer:?}"), false),
        }
    }
    Ok(())
}
