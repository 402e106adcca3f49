//! Programs that go into images. In: the bytes of one. Out: its processor, or why it cannot start there.

use anyhow::{Result, bail};

/// Program headers that tell the kernel to start an interpreter first, which loads libraries (ELF, `PT_INTERP`).
const INTERPRETER: u32 = 3;

/// The processor of a static ELF program of 64 bits, as Go calls it.
///
/// # Errors
/// If it is none for Linux, for a processor that is not known here, or needs libraries.
pub fn architecture_of(program: &[u8]) -> Result<&'static str> {
    let two = |at: usize| program.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
    let Some(([0x7f, b'E', b'L', b'F', 2, 1], machine)) =
        program.first_chunk::<6>().zip(two(18)).map(|(magic, machine)| (*magic, machine))
    else {
        bail!("the program is none for Linux with 64 bits; build it with --target x86_64-unknown-linux-musl");
    };
    // An object file, a library's or a dump of memory is ELF too: 2 is a program, 3 one that can be anywhere in memory.
    if !matches!(two(16), Some(2 | 3)) {
        bail!("the program is a part of one, which the linker has not made a program yet; build it with `cargo build`");
    }
    let architecture = match machine {
        62 => "amd64",
        183 => "arm64",
        other => bail!("the program is for a processor that is not known here (ELF machine {other})"),
    };
    if needs_libraries(program).unwrap_or(true) {
        bail!(
            "the program needs libraries, which its image does not have; build it with --target x86_64-unknown-linux-musl"
        );
    }
    Ok(architecture)
}

/// Whether a program header names an interpreter. `None` if the headers are cut off.
fn needs_libraries(program: &[u8]) -> Option<bool> {
    let number = |at: usize, length: usize| {
        let bytes = program.get(at..at.checked_add(length)?)?;
        let number = bytes.iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        usize::try_from(number).ok()
    };
    let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let kinds = (0..count).map(|index| number(first.checked_add(index.checked_mul(size)?)?, 4));
    let kinds: Vec<usize> = kinds.collect::<Option<_>>()?;
    Some(kinds.into_iter().any(|kind| u32::try_from(kind) == Ok(INTERPRETER)))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    /// The head of a program for this machine with program headers of these kinds.
    pub(crate) fn program(machine: u16, kinds: &[u32]) -> Vec<u8> {
        let mut program = vec![0; 64];
        program[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        program[16..18].copy_from_slice(&3_u16.to_le_bytes());
        program[18..20].copy_from_slice(&machine.to_le_bytes());
        program[32..40].copy_from_slice(&64_u64.to_le_bytes());
        program[54..56].copy_from_slice(&56_u16.to_le_bytes());
        program[56..58].copy_from_slice(&u16::try_from(kinds.len()).unwrap().to_le_bytes());
        for kind in kinds {
            program.extend(kind.to_le_bytes());
            program.extend([0; 52]);
        }
        program
    }

    fn refusal(program: &[u8]) -> String {
        architecture_of(program).unwrap_err().to_string()
    }

    #[test]
    fn a_static_program_has_its_processor() {
        assert_eq!(architecture_of(&program(62, &[1, 2])).unwrap(), "amd64");
        assert_eq!(architecture_of(&program(183, &[])).unwrap(), "arm64");
    }

    #[test]
    fn what_is_no_program_or_needs_libraries_is_refused_by_what_it_is() {
        assert!(refusal(&program(62, &[1, 3])).contains("needs libraries"));
        assert!(refusal(&program(62, &[1])[..66]).contains("needs libraries"), "cut off");
        assert!(refusal(&program(8, &[1])).contains("processor"));
        assert!(refusal(b"#!/bin/sh\n").contains("none for Linux"));
        for kind in [0_u16, 1, 4] {
            let mut object = program(62, &[1]);
            object[16..18].copy_from_slice(&kind.to_le_bytes());
            assert!(refusal(&object).contains("a part of one"), "{kind}");
        }
        let mut other = program(62, &[1]);
        other[16] = 2;
        architecture_of(&other).unwrap();
    }
}
