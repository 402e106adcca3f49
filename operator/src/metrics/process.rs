//! What the kernel says about this process. In: `/proc/self`. Out: numbers, or nothing where there is no `/proc`.

use std::fs;

/// Ticks per second in `/proc/self/stat`. The kernel scales its own rate to 100 for every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Figures of this process at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Process {
    /// User and system time in seconds.
    pub cpu_seconds: f64,
    /// Resident set in bytes.
    pub resident_bytes: i64,
    /// Open file descriptors.
    pub open_files: i64,
}

impl Process {
    /// Reads them now.
    pub fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let open_files = fs::read_dir("/proc/self/fd").ok()?.count();
        Some(Self {
            cpu_seconds: cpu_seconds(&stat)?,
            resident_bytes: resident_bytes(&status)?,
            open_files: i64::try_from(open_files).ok()?,
        })
    }
}

/// Fields 14 and 15 of `/proc/self/stat`. They are counted after the program's name, which may hold spaces and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

/// The line `VmRSS:  1234 kB` of `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(4.0));
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_bytes("VmPeak:\t  9 kB\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_figures() {
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 1024 * 1024, "{process:?}");
        assert!(process.open_files > 2, "{process:?}");
    }
}
