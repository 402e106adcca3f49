use super::*;

fn message(json: &str) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap();
    [&length.to_be_bytes(), json.as_bytes()].concat()
}

fn refusal(json: &str) -> (Option<Id>, Code, String) {
    let answer = Request::read(&message(json)).unwrap_err();
    let Outcome::Error(problem) = answer.outcome else { panic!("{answer:?}") };
    (answer.id, problem.code, problem.message.as_str().to_owned())
}

fn read(verb: &str) -> Verb {
    Request::read(&message(&format!(r#"{{"version":1,"id":"a","verb":{verb}}}"#))).unwrap().verb
}

#[test]
fn a_request_comes_back_from_its_bytes() {
    let scroll = Scroll {
        at: Some(Point { x: Whole::of::<3>(), y: Whole::of::<4>(), of: None }),
        direction: Direction::Down,
        notches: Whole::of::<5>(),
        modifiers: List::cut([Modifier::Ctrl]),
    };
    let request = Request::new("a".try_into().unwrap(), Verb::Scroll(scroll));
    assert_eq!(Request::read(&request.write().unwrap()).unwrap(), request);
}

#[test]
fn what_is_not_said_has_a_value() {
    let Verb::Click(click) = read(r#"{"click":{}}"#) else { panic!("no click") };
    assert_eq!((click.at, click.button, click.count.get()), (None, Button::Left, 1));
    let Verb::Tree(tree) = read(r#"{"tree":{}}"#) else { panic!("no tree") };
    assert_eq!((tree.depth.get(), tree.nodes.get()), (24, 500));
}

#[test]
fn what_is_not_known_is_refused_with_the_name_of_the_request() {
    for verb in [
        r#"{"shell":{}}"#,
        r#"{"click":{"at":{"x":1,"y":2,"z":3}}}"#,
        r#"{"status":{"now":true}}"#,
        r#"{"click":{"button":"fourth"}}"#,
        r#"{"launch":{"program":"terminal","address":"about:blank"}}"#,
        r#"{"click":{},"move":{}}"#,
        r#""status""#,
    ] {
        let (id, code, _) = refusal(&format!(r#"{{"version":1,"id":"a","verb":{verb}}}"#));
        assert_eq!((id.unwrap().as_str(), code), ("a", Code::Malformed), "{verb}");
    }
    assert_eq!(refusal(r#"{"version":1,"id":"a","verb":{"status":{}},"token":"x"}"#).1, Code::Malformed);
}

#[test]
fn what_is_outside_its_bounds_is_refused_and_the_bounds_are_named() {
    for (verb, bounds) in [
        (r#"{"click":{"count":4}}"#, "from 1 to 3"),
        (r#"{"move":{"to":{"x":-1,"y":0}}}"#, "from 0 to 16383"),
        (r#"{"screenshot":{"scale":{"percent":0}}}"#, "from 1 to 100"),
        (r#"{"type":{"text":""}}"#, "from 1 to 4096"),
        (r#"{"drag":{"path":[{"x":1,"y":1}]}}"#, "from 2 to 256"),
        (r#"{"wait":{"milliseconds":60001}}"#, "from 0 to 60000"),
    ] {
        let (_, code, text) = refusal(&format!(r#"{{"version":1,"id":"a","verb":{verb}}}"#));
        assert_eq!(code, Code::Malformed, "{verb}");
        assert!(text.contains(bounds), "{verb}: {text}");
    }
}

#[test]
fn another_version_is_called_that_though_its_verbs_are_not_known() {
    let (id, code, text) = refusal(r#"{"version":2,"id":"a","verb":{"fly":{}},"more":[]}"#);
    assert_eq!((id.unwrap().as_str(), code), ("a", Code::Version));
    assert!(text.contains("version 2") && text.contains("send version 1"), "{text}");
    assert_eq!(refusal(r#"{"version":"one","id":"a","verb":{"status":{}}}"#).1, Code::Version);
    assert_eq!(refusal(r#"{"id":"a","verb":{"status":{}}}"#).1, Code::Malformed);
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let code = |message: &[u8]| match Request::read(message).unwrap_err().outcome {
        Outcome::Error(problem) => problem.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(b""), Code::Malformed);
    assert_eq!(code(&[0, 0, 0, 9, b'{', b'}']), Code::Malformed);
    assert_eq!(code(&[0xff; 64]), Code::Malformed);
    assert_eq!(code(&message(&"[".repeat(100_000))), Code::Malformed);
    assert_eq!(code(&vec![b' '; REQUEST_BYTES + 1]), Code::TooLarge);
    let with_more = [message(r#"{"version":1,"id":"a","verb":{"status":{}}}"#), vec![1]].concat();
    assert_eq!(code(&with_more), Code::Malformed);
}

fn picture(bytes: i64) -> Answer {
    let size = Size { width: Whole::of::<2>(), height: Whole::of::<1>() };
    let (x, y) = (Whole::of::<0>(), Whole::of::<0>());
    let region = Region { x, y, width: size.width, height: size.height };
    let bytes = Whole::nearest(bytes);
    let picture = Picture { format: PictureFormat::Png, bytes, size, region, screen: size };
    Answer::new(Some("a".try_into().unwrap()), Outcome::Picture(picture))
}

#[test]
fn a_picture_comes_behind_the_answer_with_as_many_bytes_as_it_says() {
    let answer = picture(3);
    let message = answer.write(&[7, 8, 9]).unwrap();
    assert_eq!(Answer::read(&message).unwrap(), (answer.clone(), &[7, 8, 9][..]));
    assert_eq!(answer.write(&[7]), Err(Broken::Attachment { said: 3, found: 1 }));
    let broken = Answer::read(message.split_last().unwrap().1).unwrap_err();
    assert_eq!(broken, Broken::Attachment { said: 3, found: 2 });
}

#[test]
fn an_answer_that_is_too_large_is_not_sent() {
    let bytes = vec![0; ANSWER_BYTES];
    let answer = picture(i64::try_from(bytes.len()).unwrap());
    assert!(matches!(answer.write(&bytes), Err(Broken::TooLarge { most: ANSWER_BYTES, .. })));
}

#[test]
fn what_is_told_is_rather_cut_than_not_told() {
    assert_eq!(Label::cut(&"ü".repeat(2000)).as_str().chars().count(), 1024);
    assert_eq!(Offset::nearest(-99_999).get(), -32_768);
    assert_eq!(List::<u8, 0, 2>::cut([1, 2, 3]).as_slice(), [1, 2]);
}

#[test]
fn a_verb_is_called_as_in_the_message_and_what_waits_may_take_longer_than_it_waits() {
    for verb in [read(r#"{"wait":{"milliseconds":60000}}"#), read(r#"{"find":{"patience":30000}}"#)] {
        let json = serde_json::to_value(&verb).unwrap();
        assert!(json.get(verb.name()).is_some(), "{json}");
        assert!(verb.limit().as_millis() > 30_000, "{json}");
    }
    assert!(read(r#"{"wait":{"milliseconds":60000}}"#).limit().as_secs() > 60);
}
