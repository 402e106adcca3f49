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
