//! Amounts of compute and storage: what a quota is written in and what the ledger counts in.
//!
//! In: the text of spec fields. Out: [`Amounts`], whole millicores and bytes, with arithmetic that cannot wrap.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rules;

/// CPU, memory, storage and desktops as written in a spec or shown in a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceText {
    /// Cores, whole or in millicores: `16`, `500m`. Counts both requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = rules::cpu())]
    pub cpu: Option<String>,
    /// Memory in Mi, Gi or Ti. Counts both requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 8))]
    #[x_kube(validation = rules::bytes())]
    pub memory: Option<String>,
    /// Persistent storage requested by claims, in Mi, Gi or Ti.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 8))]
    #[x_kube(validation = rules::bytes())]
    pub storage: Option<String>,
    /// Desktops of agents, warm and claimed, of all pools, 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub agents: Option<i32>,
}

/// An amount that passed no admission and does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text:?} is not an amount: write {expected}")]
pub struct InvalidAmount {
    /// The field, such as `cpu`.
    pub field: &'static str,
    /// What stood there.
    pub text: String,
    /// What to write instead.
    pub expected: &'static str,
}

/// Parsed amounts: millicores and bytes. `None` means not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Millicores.
    pub cpu: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes.
    pub storage: Option<u64>,
    /// Desktops of agents.
    pub agents: Option<u64>,
}

impl Amounts {
    /// Parses what admission has already checked.
    pub fn parse(text: &ResourceText) -> Result<Self, InvalidAmount> {
        Ok(Self {
            cpu: text.cpu.as_deref().map(parse_cpu).transpose()?,
            memory: text.memory.as_deref().map(|t| parse_bytes("memory", t)).transpose()?,
            storage: text.storage.as_deref().map(|t| parse_bytes("storage", t)).transpose()?,
            agents: text.agents.map(parse_count).transpose()?,
        })
    }

    /// The amounts in the form of a spec. Values that are no whole number of Mi are rounded up, so nothing is understated.
    #[must_use]
    pub fn to_text(self) -> ResourceText {
        ResourceText {
            cpu: self.cpu.map(format_cpu),
            memory: self.memory.map(format_bytes),
            storage: self.storage.map(format_bytes),
            agents: self.agents.map(|count| i32::try_from(count).unwrap_or(i32::MAX)),
        }
    }

    /// Applies `f` to each resource of both.
    #[must_use]
    pub fn zip(self, other: Self, f: impl Fn(Option<u64>, Option<u64>) -> Option<u64>) -> Self {
        Self {
            cpu: f(self.cpu, other.cpu),
            memory: f(self.memory, other.memory),
            storage: f(self.storage, other.storage),
            agents: f(self.agents, other.agents),
        }
    }

    /// Sum of each resource; unlimited counts as nothing.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, |a, b| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        })
    }

    /// The larger of each resource.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, Option::max)
    }

    /// Each resource with its name, in a fixed order.
    #[must_use]
    pub fn named(self) -> [(&'static str, Option<u64>); 4] {
        [("cpu", self.cpu), ("memory", self.memory), ("storage", self.storage), ("agents", self.agents)]
    }
}

fn parse_cpu(text: &str) -> Result<u64, InvalidAmount> {
    let invalid = || InvalidAmount {
        field: "cpu",
        text: text.to_owned(),
        expected: "whole cores or millicores, such as 16 or 500m",
    };
    let (number, factor) = text.strip_suffix('m').map_or((text, 1_000), |number| (number, 1));
    whole(number, 7).map(|n| n * factor).ok_or_else(invalid)
}

fn parse_bytes(field: &'static str, text: &str) -> Result<u64, InvalidAmount> {
    let invalid =
        || InvalidAmount { field, text: text.to_owned(), expected: "a whole number with Mi, Gi or Ti, such as 64Gi" };
    [("Mi", 20), ("Gi", 30), ("Ti", 40)]
        .into_iter()
        .find_map(|(unit, shift)| text.strip_suffix(unit).map(|number| (number, shift)))
        .and_then(|(number, shift)| whole(number, 6).map(|n| n << shift))
        .ok_or_else(invalid)
}

fn parse_count(count: i32) -> Result<u64, InvalidAmount> {
    u64::try_from(count).map_err(|_| InvalidAmount {
        field: "agents",
        text: count.to_string(),
        expected: "a whole number, such as 20",
    })
}

/// An amount of the resource of this name, as [`Amounts::named`] calls it, in the form of a spec.
#[must_use]
pub fn format_named(name: &str, amount: u64) -> String {
    match name {
        "cpu" => format_cpu(amount),
        "agents" => amount.to_string(),
        _ => format_bytes(amount),
    }
}

/// A number above zero of at most `digits` digits without sign or leading zero.
fn whole(text: &str, digits: usize) -> Option<u64> {
    let plain =
        (1..=digits).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

/// `16` or `500m`.
#[must_use]
pub fn format_cpu(millicores: u64) -> String {
    if millicores.is_multiple_of(1_000) { (millicores / 1_000).to_string() } else { format!("{millicores}m") }
}

/// The largest of Ti, Gi, Mi that divides the amount; rounded up to whole Mi.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let mebibytes = bytes.div_ceil(1 << 20);
    for (unit, size) in [("Ti", 1 << 20), ("Gi", 1 << 10)] {
        if mebibytes > 0 && mebibytes.is_multiple_of(size) {
            return format!("{}{unit}", mebibytes / size);
        }
    }
    format!("{mebibytes}Mi")
}

impl fmt::Display for Amounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |(name, amount): (&str, Option<u64>)| amount.map(|it| format!("{name} {}", format_named(name, it)));
        let parts: Vec<String> = self.named().into_iter().filter_map(told).collect();
        f.write_str(if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cpu: &str, memory: &str, storage: &str) -> ResourceText {
        ResourceText {
            cpu: Some(cpu.into()),
            memory: Some(memory.into()),
            storage: Some(storage.into()),
            agents: Some(20),
        }
    }

    #[test]
    fn what_is_told_of_amounts_has_their_units() {
        let told = Amounts::parse(&text("500m", "64Gi", "2Ti")).unwrap().to_string();
        assert_eq!(told, "cpu 500m, memory 64Gi, storage 2Ti, agents 20");
    }

    #[test]
    fn there_is_no_desktop_less_than_none() {
        let of = |agents| Amounts::parse(&ResourceText { agents: Some(agents), ..ResourceText::default() });
        assert_eq!(of(0).unwrap().agents, Some(0));
        assert!(of(-1).unwrap_err().to_string().contains("agents: \"-1\" is not an amount"));
    }

    #[test]
    fn text_survives_a_round_trip() {
        let written = text("500m", "64Gi", "2Ti");
        assert_eq!(Amounts::parse(&written).unwrap().to_text(), written);
    }

    #[test]
    fn units_are_what_kubernetes_means_by_them() {
        let amounts = Amounts::parse(&text("16", "1Mi", "1Ti")).unwrap();
        assert_eq!((amounts.cpu, amounts.memory, amounts.storage), (Some(16_000), Some(1 << 20), Some(1 << 40)));
    }

    #[test]
    fn hostile_amounts_are_refused() {
        for bad in ["", "0", "-1", "1.5", "1e9", "99999999", "1 ", "0x10", "m", "1M", "١"] {
            assert!(
                Amounts::parse(&ResourceText { cpu: Some(bad.into()), ..Default::default() }).is_err(),
                "cpu {bad:?}"
            );
            let memory = ResourceText { memory: Some(format!("{bad}Gi")), ..Default::default() };
            assert!(bad == "1" || Amounts::parse(&memory).is_err(), "memory {bad:?}Gi");
        }
    }

    #[test]
    fn the_largest_amounts_do_not_wrap() {
        let most = Amounts::parse(&text("9999999", "999999Ti", "999999Ti")).unwrap();
        assert_eq!(most.cpu, Some(9_999_999_000));
        assert_eq!(most.memory, Some(999_999 << 40));
        let sum = (0..100).fold(Amounts::default(), |sum, _| sum.plus(most));
        assert_eq!(sum.memory, Some(u64::MAX), "saturates at the top instead of wrapping to a small sum");
    }
}
