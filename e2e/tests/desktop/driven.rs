//! A desktop that is driven by its agent, as whoever holds a session drives it: a form is found, filled and sent, and what comes of it is read
//! in three ways. What the agent refuses, it refuses by name.

use std::time::{Duration, Instant};

use agent_protocol::{
    Answer, Chord, Click, Code, Element, Key, Launch, List, Nothing, Outcome, Point, Program, ReadText, Request, Scale,
    Screenshot, SetClipboard, Size, TreeOf, Type, Verb, Whole,
};
use anyhow::{Context as _, Result, bail};
use e2e::desktops::{Desktop, Driver, middle, program};
use e2e::lacks_real_nodes;
use e2e::packets::Runtime;

use super::{ALONE, root};

/// A form that tells what it was sent.
const FORM: &str = "data:text/html;charset=utf-8,<title>Accounts</title><body style='font:40px sans-serif;background:white'>\
    <form onsubmit=\"told.textContent='Invoice INV-4711 for '+customer.value;return false\">\
    <label for=customer>Customer</label> <input id=customer style='font:inherit'> <button style='font:inherit'>Send</button>\
    </form><p id=told>";
const CUSTOMER: &str = "Grüße 東京";
const NOTHING: Nothing = Nothing {};
/// Longest wait for a program to do what it was told by keys.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn under_runc_a_form_is_filled_by_verbs_and_what_comes_of_it_is_read() -> Result<()> {
    fills_a_form(Runtime::Runc).await
}

#[tokio::test]
async fn under_gvisor_a_form_is_filled_by_verbs_and_what_comes_of_it_is_read() -> Result<()> {
    fills_a_form(Runtime::Gvisor).await
}

async fn fills_a_form(runtime: Runtime) -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let (root, program) = (root().await?, program().await?);
    let _alone = ALONE.lock().await;
    let mut desktop = Desktop::driven(runtime, root, &program, FORM).await?;
    let (mut driver, ready) = desktop.driver()?;
    e2e::show(&format!("desktop: {}: the agent is ready after {ready:.2?}", runtime.name()));

    nothing_listens_at_a_port(&mut desktop)?;
    the_form_is_filled(&mut driver)?;
    what_comes_of_it_is_read(&mut driver)?;
    a_picture_is_as_large_as_asked(&mut driver)?;
    the_clipboard_goes_both_ways(&mut driver)?;
    what_may_not_be_is_refused_by_name(&mut driver)?;
    a_browser_that_ends_comes_back(&mut desktop, &mut driver)?;
    super::without_its_window_manager_it_ends(&mut desktop)
}

fn click(driver: &mut Driver, element: &Element) -> Result<()> {
    driver.act(Verb::Click(at(middle(element)?)))
}

fn at(point: Point) -> Click {
    Click { at: Some(point), button: agent_protocol::Button::Left, count: Whole::of::<1>(), modifiers: List::default() }
}

fn key(driver: &mut Driver, chord: &str) -> Result<()> {
    let (chord, hold) = (Chord::try_from(chord)?, Whole::of::<10>());
    driver.act(Verb::Key(Key { chord, count: Whole::of::<1>(), hold }))
}

fn write(driver: &mut Driver, text: &str) -> Result<()> {
    driver.act(Verb::Type(Type { text: text.try_into()?, pause: Whole::of::<5>() }))
}

/// The field, once this is written in it: what programs do about keys takes them a while.
fn written(driver: &mut Driver, text: &str) -> Result<Element> {
    until(|| {
        let field = driver.find("entry", "Customer")?;
        Ok((field.value.as_ref().map(agent_protocol::Text::as_str) == Some(text)).then_some(field))
    })
    .with_context(|| format!("{text:?} is not in the field"))
}

fn until<T>(mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match look()? {
            Some(found) => return Ok(found),
            None if Instant::now() > end => bail!("it did not come about in {} s", PATIENCE.as_secs()),
            None => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn the_form_is_filled(driver: &mut Driver) -> Result<()> {
    let field = driver.find("entry", "Customer")?;
    click(driver, &field)?;
    write(driver, "somebody else")?;
    key(driver, "ctrl+a")?;
    write(driver, CUSTOMER)?;
    let field = written(driver, CUSTOMER)?;
    assert!(field.states.as_slice().iter().any(|state| state.as_str() == "focused"), "{field:?}");
    let button = driver.find("button", "Send")?;
    click(driver, &button)
}

/// In what the page tells, and in what is drawn.
fn what_comes_of_it_is_read(driver: &mut Driver) -> Result<()> {
    driver.find("static", &format!("Invoice INV-4711 for {CUSTOMER}"))?;
    let (outcome, _) = driver.ask(Verb::Tree(TreeOf { depth: Whole::of::<64>(), nodes: Whole::of::<2000>() }))?;
    let Outcome::Tree(tree) = outcome else { panic!("{outcome:?}") };
    let nodes = tree.nodes.as_slice();
    let told = nodes.iter().find(|node| node.element.name.as_str().contains(CUSTOMER)).expect("it is not in the tree");
    let within = told.parent.and_then(|parent| nodes.get(usize::try_from(parent.get()).ok()?));
    assert!(within.is_some() && !tree.more, "{told:?}");

    let read = ReadText { region: None, containing: Some("INV-4711".try_into()?), patience: Whole::of::<30_000>() };
    let (outcome, _) = driver.ask(Verb::ReadText(read))?;
    let Outcome::Words(words) = outcome else { panic!("{outcome:?}") };
    let drawn = words.words.as_slice().first().context("nothing was read")?.place;
    let place = told.element.place.context("it is not on the screen")?;
    assert!((drawn.y.get() - place.y.get()).abs() < 60, "read at {drawn:?}, told to be at {place:?}");
    Ok(())
}

fn a_picture_is_as_large_as_asked(driver: &mut Driver) -> Result<()> {
    let within = Size { width: Whole::of::<1024>(), height: Whole::of::<768>() };
    let wanted = Screenshot { region: None, scale: Some(Scale::Within(within)) };
    let (outcome, png) = driver.ask(Verb::Screenshot(wanted))?;
    let Outcome::Picture(picture) = outcome else { panic!("{outcome:?}") };
    assert_eq!((picture.size.width.get(), picture.size.height.get()), (1024, 640));
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.ends_with(b"IEND\xaeB`\x82"));
    assert_eq!(png[16..24], [0, 0, 4, 0, 0, 0, 2, 128], "the size in the file");
    Ok(())
}

fn clipboard(driver: &mut Driver) -> Result<Option<String>> {
    match driver.ask(Verb::GetClipboard(NOTHING))?.0 {
        Outcome::Clipboard(text) => Ok(text.map(|text| text.as_str().to_owned())),
        other => panic!("{other:?}"),
    }
}

fn the_clipboard_goes_both_ways(driver: &mut Driver) -> Result<()> {
    let field = driver.find("entry", "Customer")?;
    click(driver, &field)?;
    key(driver, "ctrl+a")?;
    key(driver, "ctrl+c")?;
    until(|| Ok((clipboard(driver)?.as_deref() == Some(CUSTOMER)).then_some(())))?;
    let pasted = "한국어 from the driver";
    driver.act(Verb::SetClipboard(SetClipboard { text: pasted.try_into()? }))?;
    assert_eq!(clipboard(driver)?.as_deref(), Some(pasted));
    key(driver, "ctrl+v")?;
    written(driver, pasted).map(drop)
}

fn what_may_not_be_is_refused_by_name(driver: &mut Driver) -> Result<()> {
    let beyond = Point { x: Whole::of::<1280>(), y: Whole::of::<0>(), of: None };
    let launch =
        |address: &str| Verb::Launch(Launch { program: Program::Browser, address: address.try_into().unwrap() });
    let chord = Key { chord: "ctrl+hyperdrive".try_into()?, count: Whole::of::<1>(), hold: Whole::of::<0>() };
    let window = agent_protocol::Window { window: Whole::of::<1>() };
    for (verb, code) in [
        (Verb::Click(at(beyond)), Code::OffScreen),
        (launch("file:///etc/passwd"), Code::Refused),
        (launch("--no-sandbox"), Code::Refused),
        (Verb::Key(chord), Code::NoSuchKey),
        (Verb::CloseWindow(window), Code::NotFound),
    ] {
        let name = verb.name();
        assert_eq!(refusal(driver.ask(verb)?.0), code, "{name}");
    }
    let mut unknown = Request::new("a".try_into()?, Verb::Status(NOTHING)).write()?;
    let verb = unknown.windows(6).position(|part| part == b"status").context("the verb is not in the message")?;
    unknown[verb] = b'X';
    assert_eq!(refusal(driver.say(&unknown)?.0.outcome), Code::Malformed);
    let (Answer { id, .. }, _) = driver.say(b"nonsense")?;
    assert_eq!(id, None);
    Ok(())
}

fn refusal(outcome: Outcome) -> Code {
    match outcome {
        Outcome::Error(problem) => problem.code,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Of either version of the protocol; in the fourth column 0A says that somebody listens.
fn nothing_listens_at_a_port(desktop: &mut Desktop) -> Result<()> {
    let ports = desktop.shell("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; :")?;
    assert!(ports.contains("local_address"), "{ports}");
    let listening: Vec<_> = ports.lines().filter(|line| line.split_whitespace().nth(3) == Some("0A")).collect();
    assert_eq!(listening, Vec::<&str>::new());
    Ok(())
}

fn a_browser_that_ends_comes_back(desktop: &mut Desktop, driver: &mut Driver) -> Result<()> {
    let script = "for it in /proc/[0-9]*; do case $(tr '\\0' ' ' <$it/cmdline 2>/dev/null) in \
                  */chromium/chromium\\ *--type=*) ;; */chromium/chromium\\ *) kill -9 ${it#/proc/} ;; esac; done; :";
    desktop.shell(script)?;
    // It opens what it opened first, in which nobody has written anything.
    written(driver, "").map(drop)
}
