//! Reasons. In: the table of crate `api`, and notes written by hand in `docs/notes/`. Out: the reference and the
//! troubleshooting page.

use std::fmt::Write as _;

use api::conditions::{Consequence, REASONS, Reason};

use crate::{cell, docs};

/// The consequences in the order in which one looks for trouble, with what they mean.
const ORDER: [(Consequence, &str, &str); 4] = [
    (
        Consequence::Stalled,
        "Stalled",
        "A person or another system must act. Steading looks again every five minutes and on any change, so it goes on by \
         itself once that is done. `Stalled=True`, `Ready=False`.",
    ),
    (
        Consequence::Waiting,
        "Waiting",
        "Something else has to happen first; Steading comes back by itself. `Reconciling=True`.",
    ),
    (Consequence::Transient, "Transient", "A failure that is retried with growing delay. `Reconciling=True`."),
    (Consequence::Good, "Good", "Nothing to do. The condition is `True`."),
];

fn of(consequence: Consequence) -> impl Iterator<Item = &'static Reason> {
    REASONS.iter().filter(move |reason| reason.consequence == consequence)
}

/// Every reason in tables.
pub fn reference() -> String {
    let mut page = "# Reasons\n\nEvery reason that a condition or event of Steading can have. What to do in detail: \
                    [troubleshooting](../troubleshooting.md).\n"
        .to_owned();
    for (consequence, title, meaning) in ORDER {
        writeln!(page, "\n## {title}\n\n{meaning}\n\n| Reason | Means | Do |\n|---|---|---|").unwrap();
        for reason in of(consequence) {
            let anchor = reason.name.to_lowercase();
            let name = match consequence {
                Consequence::Good => format!("`{}`", reason.name),
                _ => format!("[`{}`](../troubleshooting.md#{anchor})", reason.name),
            };
            writeln!(page, "| {name} | {} | {} |", cell(reason.meaning), cell(reason.remedy)).unwrap();
        }
    }
    page
}

/// What to do, reason by reason: what the table says, and then what the notes say.
pub fn troubleshooting() -> String {
    let mut page = std::fs::read_to_string(docs().join("notes/troubleshooting.md")).expect("the notes have an opening");
    for (consequence, title, meaning) in ORDER.into_iter().filter(|(it, _, _)| *it != Consequence::Good) {
        writeln!(page, "\n## {title}\n\n{meaning}").unwrap();
        for reason in of(consequence) {
            writeln!(page, "\n### {}\n\n{} {}", reason.name, reason.meaning, reason.remedy).unwrap();
            if let Ok(note) = std::fs::read_to_string(docs().join("notes").join(format!("{}.md", reason.name))) {
                writeln!(page, "\n{}", note.trim()).unwrap();
            }
        }
    }
    page
}

#[test]
fn no_note_is_about_a_reason_that_does_not_exist() {
    for entry in std::fs::read_dir(docs().join("notes")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(name == "troubleshooting" || api::conditions::reason(name).is_some(), "{}", file.display());
    }
}
