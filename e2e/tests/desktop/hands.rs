//! What hands do, told by a page that sees it: each verb of pointer and keyboard, windows, and clipboards that are large.

use std::time::{Duration, Instant};

use agent_protocol::{
    Button, Code, Coordinate, Direction, Drag, Hold, Launch, List, Move, Outcome, Point, Program, Region, Screenshot,
    Scroll, Verb, Wait, Whole, WindowState,
};
use anyhow::{Context as _, Result, bail, ensure};
use e2e::desktops::{Desktop, Driver, middle};
use e2e::lacks_real_nodes;
use e2e::packets::Runtime;

use super::driven::{NOTHING, click, clipboard, key, refusal, until, write};
use super::{ALONE, root};

/// Says what is done over the yard, and what is copied from the pad is as long as the word in it says.
const YARD: &str = "data:text/html;charset=utf-8,<title>Yard</title><body style='margin:0;font:20px sans-serif'>\
    <label for=pad>Pad</label> <input id=pad> <p id=moved>-</p><p id=rolled>-</p><p id=keys>-</p>\
    <div id=yard role=button aria-label=Yard style='width:1000px;height:300px;background:rgb(224,240,255);user-select:none'></div>\
    <script>let from,moves,sum=0;\
    yard.onpointerdown=e=>{from=e;moves=0;yard.setPointerCapture(e.pointerId)};yard.onpointermove=e=>{moves+=1};\
    yard.onpointerup=e=>{moved.textContent='button '+e.button+' by '+Math.round(e.clientX-from.clientX)+','+\
    Math.round(e.clientY-from.clientY)+' in '+moves+' moves;'};\
    yard.oncontextmenu=e=>e.preventDefault();\
    yard.onwheel=e=>{sum+=e.deltaY;rolled.textContent='rolled '+sum+' in all'};\
    onkeydown=e=>{keys.textContent='key '+e.key+' alt '+e.altKey};\
    document.addEventListener('copy',e=>{let n={long:60000,longer:1500000}[pad.value];\
    if(n){e.clipboardData.setData('text/plain','\u{e9}'.repeat(n));e.preventDefault()}})</script>";

#[tokio::test]
async fn under_runc_what_hands_do_is_seen_by_the_page() -> Result<()> {
    all_that_hands_do(Runtime::Runc).await
}

#[tokio::test]
async fn under_gvisor_what_hands_do_is_seen_by_the_page() -> Result<()> {
    all_that_hands_do(Runtime::Gvisor).await
}

async fn all_that_hands_do(runtime: Runtime) -> Result<()> {
    if lacks_real_nodes()? {
        return Ok(());
    }
    let root = root().await?;
    let _alone = ALONE.lock().await;
    let mut desktop = Desktop::start(runtime, root, YARD).await?;
    let driver = &mut desktop.driver()?.0;
    let yard = middle(&driver.find("button", "Yard")?)?;
    // All of them, so that one that fails does not hide the next.
    let done = [
        timed(runtime, "drag", || things_are_dragged(driver, yard)),
        timed(runtime, "press", || a_button_stays_pressed_until_it_is_released(driver, yard)),
        timed(runtime, "scroll", || the_wheel_turns(driver, yard)),
        timed(runtime, "wait", || nothing_happens_for_a_while(driver)),
        timed(runtime, "region", || a_part_of_the_screen_is_as_large_as_asked(driver)),
        timed(runtime, "keys", || keys_of_window_managers_are_the_programs(driver)),
        timed(runtime, "type", || more_characters_are_typed_than_there_are_keys(driver)),
        timed(runtime, "capitals", || capitals_are_what_was_asked_for(driver)),
        timed(runtime, "clipboard", || a_clipboard_is_handed_over_whole_or_not_at_all(driver)),
        timed(runtime, "windows", || windows_are_found_and_closed(driver)),
    ];
    let failed: Vec<_> = done.into_iter().flatten().collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// What went wrong, if anything did.
fn timed(runtime: Runtime, what: &str, work: impl FnOnce() -> Result<()>) -> Option<String> {
    let begun = Instant::now();
    let done = work();
    e2e::show(&format!("desktop: {}: {what} took {:.2?}", runtime.name(), begun.elapsed()));
    done.err().map(|error| format!("{what}: {error:#}"))
}

fn beside(point: Point, x: i64, y: i64) -> Result<Point> {
    let moved = |from: Coordinate, by: i64| Coordinate::try_from(from.get() + by);
    Ok(Point { x: moved(point.x, x)?, y: moved(point.y, y)?, of: None })
}

/// Of what stands behind a word in what the page says, once it says so.
fn said(driver: &mut Driver, text: &str) -> Result<String> {
    let found = driver.find("static", text)?;
    found.name.as_str().split_once(text).map(|(_, rest)| rest.to_owned()).context("it says something else")
}

fn things_are_dragged(driver: &mut Driver, yard: Point) -> Result<()> {
    for (milliseconds, x) in [(300, 200), (0, 150), (2000, -300)] {
        let begun = Instant::now();
        let path = [beside(yard, -x, -100)?, yard, beside(yard, x, 100)?];
        driver.act(Verb::Drag(Drag {
            path: List::cut(path),
            button: Button::Left,
            modifiers: List::default(),
            milliseconds: Whole::try_from(milliseconds)?,
        }))?;
        let took = begun.elapsed();
        let moves = said(driver, &format!("button 0 by {},200 in ", 2 * x))?;
        let moves: u64 = moves.split(' ').next().unwrap_or_default().parse()?;
        // The browser tells one for each picture that it draws.
        ensure!(moves >= if milliseconds > 0 { 4 } else { 1 }, "{moves} moves in {milliseconds} ms");
        let wanted = Duration::from_millis(milliseconds.try_into()?);
        ensure!(took >= wanted && took < wanted + Duration::from_secs(8), "{took:?} for {milliseconds} ms");
    }
    Ok(())
}

fn a_button_stays_pressed_until_it_is_released(driver: &mut Driver, yard: Point) -> Result<()> {
    let to = beside(yard, 77, 33)?;
    driver.act(Verb::Press(Hold { at: Some(yard), button: Button::Right }))?;
    driver.act(Verb::Move(Move { to }))?;
    let (position, _) = driver.ask(Verb::CursorPosition(NOTHING))?;
    let Outcome::Position(position) = position else { bail!("{position:?}") };
    ensure!((position.x.get(), position.y.get()) == (to.x.get(), to.y.get()), "{position:?}, not {to:?}");
    driver.act(Verb::Release(Hold { at: None, button: Button::Right }))?;
    said(driver, "button 2 by 77,33 in ").map(drop)
}

fn the_wheel_turns(driver: &mut Driver, yard: Point) -> Result<()> {
    let mut roll = |direction, notches| -> Result<()> {
        let notches = Whole::try_from(notches)?;
        driver.act(Verb::Scroll(Scroll { at: Some(yard), direction, notches, modifiers: List::default() }))
    };
    roll(Direction::Down, 1)?;
    let one = until(|| {
        // Before the page says it, the words are in its address alone, which the browser tells somewhere.
        let rest = said(driver, "rolled ")?;
        let sum: Option<f64> = rest.split(' ').next().and_then(|sum| sum.parse().ok());
        Ok(sum.filter(|sum| *sum > 0.0))
    })?;
    let mut roll = |direction, notches| -> Result<()> {
        let notches = Whole::try_from(notches)?;
        driver.act(Verb::Scroll(Scroll { at: Some(yard), direction, notches, modifiers: List::default() }))
    };
    roll(Direction::Down, 30)?;
    roll(Direction::Up, 10)?;
    said(driver, &format!("rolled {} in all", one * 21.0)).map(drop)
}

fn nothing_happens_for_a_while(driver: &mut Driver) -> Result<()> {
    let begun = Instant::now();
    driver.act(Verb::Wait(Wait { milliseconds: Whole::of::<700>() }))?;
    ensure!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    Ok(())
}

fn a_part_of_the_screen_is_as_large_as_asked(driver: &mut Driver) -> Result<()> {
    let (x, y) = (Whole::of::<100>(), Whole::of::<200>());
    let region = Region { x, y, width: Whole::of::<301>(), height: Whole::of::<77>() };
    let (outcome, png) = driver.ask(Verb::Screenshot(Screenshot { region: Some(region), scale: None }))?;
    let Outcome::Picture(picture) = outcome else { bail!("{outcome:?}") };
    ensure!(picture.region == region && picture.size.width.get() == 301, "{picture:?}");
    ensure!(png.get(16..24) == Some(&[0, 0, 1, 45, 0, 0, 0, 77][..]), "the file has another size");
    Ok(())
}

fn keys_of_window_managers_are_the_programs(driver: &mut Driver) -> Result<()> {
    let pad = driver.find("entry", "Pad")?;
    click(driver, &pad)?;
    key(driver, "alt+Escape")?;
    said(driver, "key Escape alt true").map(drop)
}

/// Writes this into the pad in place of what is there, and waits until it says so.
fn pad(driver: &mut Driver, text: &str) -> Result<()> {
    let pad = driver.find("entry", "Pad")?;
    click(driver, &pad)?;
    key(driver, "ctrl+a")?;
    write(driver, text)?;
    let mut last = None;
    let written = until(|| {
        last = driver.find("entry", "Pad")?.value;
        Ok((last.as_ref().map(agent_protocol::Text::as_str) == Some(text)).then_some(()))
    });
    written.with_context(|| format!("{:?} is written, not {text:?}", last.map(|last| last.as_str().to_owned())))
}

fn more_characters_are_typed_than_there_are_keys(driver: &mut Driver) -> Result<()> {
    let text: String = (0x4e00..).filter_map(char::from_u32).step_by(7).take(300).collect();
    pad(driver, &text)?;
    pad(driver, "the keyboard is as it was: 東京")
}

fn capitals_are_what_was_asked_for(driver: &mut Driver) -> Result<()> {
    key(driver, "Caps_Lock")?;
    let written = pad(driver, "No Capitals But These");
    key(driver, "Caps_Lock")?;
    written?;
    pad(driver, "Nor Now")
}

fn a_clipboard_is_handed_over_whole_or_not_at_all(driver: &mut Driver) -> Result<()> {
    let copy = |driver: &mut Driver, what: &str| -> Result<()> {
        pad(driver, what)?;
        key(driver, "ctrl+a")?;
        key(driver, "ctrl+c")
    };
    copy(driver, "long")?;
    let mut length = None;
    let long = until(|| {
        let text = clipboard(driver)?;
        length = text.as_ref().map(|text| text.chars().count());
        Ok(text.filter(|text| *text == "é".repeat(60_000)))
    });
    long.with_context(|| format!("{length:?} characters were copied, not 60000"))?;
    copy(driver, "longer")?;
    until(|| match driver.ask(Verb::GetClipboard(NOTHING))?.0 {
        outcome @ Outcome::Error(_) => Ok(Some(refusal(outcome))),
        _ => Ok(None),
    })
    .map(|code| assert_eq!(code, Code::TooLarge))
    .context("what is too large was handed over")?;
    copy(driver, "short")?;
    until(|| Ok(clipboard(driver)?.filter(|text| text == "short"))).map(drop)
}

fn windows(driver: &mut Driver) -> Result<Vec<WindowState>> {
    match driver.ask(Verb::Windows(NOTHING))?.0 {
        Outcome::Windows(windows) => Ok(windows.windows.as_slice().to_vec()),
        other => bail!("{other:?}"),
    }
}

fn windows_are_found_and_closed(driver: &mut Driver) -> Result<()> {
    let address = "data:text/html,<title>Barn</title><button>Open the barn</button>".try_into()?;
    driver.act(Verb::Launch(Launch { program: Program::Browser, address }))?;
    driver.find("button", "Open the barn")?;
    key(driver, "ctrl+n")?;
    let both = until(|| Ok(Some(windows(driver)?).filter(|windows| windows.len() == 2)))?;
    let titled = |title: &str| both.iter().find(|window| window.title.as_str().contains(title));
    let barn = titled("Barn").with_context(|| format!("no window shows the barn: {}", both.len()))?.window;
    let other = both.iter().find(|window| window.window != barn).context("there is one window")?.window;
    for window in [barn, other, barn] {
        driver.act(Verb::FocusWindow(agent_protocol::Window { window }))?;
        let active = windows(driver)?.into_iter().find(|it| it.active).map(|it| it.window);
        ensure!(active == Some(window), "{active:?} gets what is typed, not {window:?}");
    }
    driver.act(Verb::CloseWindow(agent_protocol::Window { window: other }))?;
    let left: Vec<_> = windows(driver)?.into_iter().map(|it| it.window).collect();
    ensure!(left == [barn], "{left:?}");
    Ok(())
}
