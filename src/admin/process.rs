//! Metrics of the process, with the names that the Prometheus client libraries use:
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use procfs::process::{LimitValue, Process};

/// Resource usage of this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProcessBasics {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_files: u64,
    /// `None` if there is no limit.
    pub(super) max_files: Option<u64>,
    /// Since the Unix epoch.
    pub(super) started_seconds: f64,
    pub(super) threads: u64,
}

/// Reads `/proc/self`; `None` if that fails.
pub(super) fn basics() -> Option<ProcessBasics> {
    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let ticks = procfs::ticks_per_second();
    let seconds = |ticks_passed: u64| -> f64 {
        // Whole seconds and the remainder separately, so that no precision is lost.
        let whole = u32::try_from(ticks_passed / ticks).unwrap_or(u32::MAX);
        let rest = u32::try_from(ticks_passed % ticks).unwrap_or(0);
        f64::from(whole) + f64::from(rest) / f64::from(u32::try_from(ticks).unwrap_or(1))
    };
    let booted = u32::try_from(procfs::boot_time_secs().ok()?).ok()?;
    let limit = process.limits().ok()?.max_open_files.soft_limit;
    Some(ProcessBasics {
        cpu_seconds: seconds(stat.utime + stat.stime),
        resident_bytes: stat.rss * procfs::page_size(),
        virtual_bytes: stat.vsize,
        open_files: u64::try_from(process.fd_count().ok()?).ok()?,
        max_files: match limit {
            LimitValue::Unlimited => None,
            LimitValue::Value(files) => Some(files),
        },
        started_seconds: f64::from(booted) + seconds(stat.starttime),
        threads: u64::try_from(stat.num_threads).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_basics_are_those_of_this_process() {
        let basics = basics().expect("a system with /proc");
        assert!(basics.resident_bytes > 1 << 20 && basics.virtual_bytes >= basics.resident_bytes);
        assert!(basics.open_files >= 3 && basics.max_files.is_none_or(|limit| limit >= 3));
        assert!(basics.threads >= 1 && basics.cpu_seconds >= 0.0);
        // After 2020.
        assert!(basics.started_seconds > 1.6e9, "{basics:?}");
    }
}
