use super::*;

fn server() -> Arc<Server> {
    Server::new(Arc::new(Desktop::new((1280, 800), "unix:path=/nowhere")))
}

async fn outcome(server: &Server, json: &str) -> (Option<String>, Outcome) {
    let message = [&u32::try_from(json.len()).unwrap().to_be_bytes(), json.as_bytes()].concat();
    let bytes = server.answer(&message).await;
    let (answer, _) = Answer::read(&bytes).unwrap();
    (answer.id.map(|id| id.as_str().to_owned()), answer.outcome)
}

async fn code(server: &Server, json: &str) -> Code {
    match outcome(server, json).await.1 {
        Outcome::Error(problem) => problem.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_desktop_that_starts_says_so_and_does_nothing_yet() {
    let server = server();
    server.desktop.waits_for("the window manager");
    let (id, Outcome::Status(status)) = outcome(&server, r#"{"version":1,"id":"a","verb":{"status":{}}}"#).await else {
        panic!("no status")
    };
    assert_eq!((id.as_deref(), status.detail.as_str()), (Some("a"), "waiting: the window manager"));
    assert_eq!(code(&server, r#"{"version":1,"id":"a","verb":{"screenshot":{}}}"#).await, Code::NotReady);
}

#[tokio::test]
async fn what_is_not_understood_is_answered_too() {
    let server = server();
    assert_eq!(code(&server, "nonsense").await, Code::Malformed);
    assert_eq!(code(&server, r#"{"version":9,"id":"a","verb":{"status":{}}}"#).await, Code::Version);
}

#[tokio::test(start_paused = true)]
async fn one_verb_is_done_after_the_other_and_too_many_that_wait_are_refused() {
    let server = server();
    server.desktop.is_ready("now");
    let wait = r#"{"version":1,"id":"a","verb":{"wait":{"milliseconds":1000}}}"#;
    let begun = tokio::time::Instant::now();
    let all = (0..=WAITING).map(|_| outcome(&server, wait));
    let outcomes = futures::future::join_all(all).await;
    let done = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Done(Nothing {})).count();
    assert_eq!(done, WAITING);
    assert!(matches!(&outcomes[WAITING].1, Outcome::Error(problem) if problem.code == Code::Busy));
    assert!(begun.elapsed().as_secs() >= WAITING as u64, "{:?}", begun.elapsed());
}

#[test]
fn an_answer_that_is_too_large_becomes_one_that_says_so() {
    let size = crate::desktop::bounded((1, 1));
    let picture = agent_protocol::Picture {
        format: agent_protocol::PictureFormat::Png,
        bytes: agent_protocol::Whole::nearest(agent_protocol::ANSWER_BYTES),
        size,
        region: verbs::region([0, 0, 1, 1]),
        screen: size,
    };
    let bytes = vec![0; agent_protocol::ANSWER_BYTES];
    let message = written(&Answer::new(None, Outcome::Picture(picture)), &bytes);
    let (answer, _) = Answer::read(&message).unwrap();
    assert!(matches!(answer.outcome, Outcome::Error(problem) if problem.code == Code::TooLarge));
}
