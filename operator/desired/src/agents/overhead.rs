//! What one desktop takes of a quota: what it asks for, and what its sandbox adds.

use api::{
    Amounts,
    amounts::{format_bytes, format_cpu},
};

/// Cores and memory of one desktop, with this overhead as a RuntimeClass writes it. `None` if that is not understood.
#[must_use]
pub fn each(asked: Amounts, cpu: &str, memory: &str) -> Option<(String, String)> {
    let cpu = asked.cpu?.checked_add(thousandths(cpu)?)?;
    let memory = asked.memory?.checked_add(thousandths(memory)?.div_ceil(1000))?;
    Some((format_cpu(cpu), format_bytes(memory)))
}

/// A quantity of Kubernetes in thousandths, rounded up: a whole or decimal number and a suffix.
fn thousandths(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() > 12 || fraction.len() > 6 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let parts = |text: &str| if text.is_empty() { Some(0_u128) } else { text.parse().ok() };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let all = parts(whole)?.checked_mul(scale)?.checked_add(parts(fraction)?)?.checked_mul(factor)?;
    u64::try_from(all.div_ceil(scale)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desktop_takes_what_it_asks_for_and_what_its_sandbox_adds() {
        let asked = crate::fixtures::amounts("1", "2Gi", "1Gi");
        let of = |cpu, memory| each(asked, cpu, memory);
        assert_eq!(of("0", "0"), Some(("1".into(), "2Gi".into())));
        assert_eq!(of("250m", "370Mi"), Some(("1250m".into(), "2418Mi".into())));
        assert_eq!(of("0.05", "1Gi"), Some(("1050m".into(), "3Gi".into())));
        assert_eq!(of("0", "100M"), Some(("1".into(), "2144Mi".into())), "rounded up to whole Mi");
        for nonsense in ["x", "-1", "1.2.3", "1e3", "99999999999999", ""] {
            assert_eq!(of(nonsense, "0"), None, "{nonsense}");
        }
    }
}
