//! Which contents of the files are in force, which were rejected, and whether to read them again: values
//! in, values out.

use std::path::PathBuf;

use crate::reload::files::Snapshot;

/// Why files are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// The reload interval has passed.
    Interval,
    /// A store does not know an access key.
    Store,
    /// The process received SIGHUP.
    Operator,
}

/// The files of the configuration in force, and those of a configuration that was rejected.
#[derive(Debug)]
pub(super) struct WatchedFiles {
    in_force: Snapshot,
    /// Read, invalid, and logged.
    rejected: Option<Snapshot>,
    /// Seen once; a file may still be written.
    unsettled: Option<Snapshot>,
}

impl WatchedFiles {
    pub(super) fn new(in_force: Snapshot) -> Self {
        Self { in_force, rejected: None, unsettled: None }
    }

    pub(super) fn in_force(&self) -> &Snapshot {
        &self.in_force
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        match &self.rejected {
            Some(rejected) => rejected.paths(),
            None => self.in_force.paths(),
        }
    }

    /// Whether the files are those of the configuration in force.
    pub(super) fn is_in_force(&self, seen: &Snapshot) -> bool {
        seen.contains(&self.in_force)
    }

    /// Whether to read these files now. At an interval, changed files are read when they are unchanged at
    /// the next one. Rejected files are read again only after a change. The operator's request always
    /// reads.
    pub(super) fn should_read(&mut self, seen: &Snapshot, trigger: Trigger) -> bool {
        let before = self.unsettled.take();
        if trigger == Trigger::Operator {
            return true;
        }
        if self.is_in_force(seen) {
            self.rejected = None;
            return false;
        }
        if self.rejected.as_ref() == Some(seen) {
            return false;
        }
        if trigger == Trigger::Interval && before.as_ref() != Some(seen) {
            self.unsettled = Some(seen.clone());
            return false;
        }
        true
    }

    /// These files were read and are in force from now on.
    pub(super) fn applied(&mut self, files: Snapshot) {
        *self = Self::new(files);
    }

    /// These files were read and are invalid. A mistake in one file may prevent others from being read;
    /// for those the state `seen` before counts.
    pub(super) fn rejected(&mut self, files: Snapshot, seen: Snapshot) {
        self.rejected = Some(files.merged_with(seen));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Snapshot {
        let paths = pairs.iter().map(|(path, _)| PathBuf::from(path)).collect();
        Snapshot::of(paths, &|path| {
            let found = pairs.iter().find(|(known, _)| Path::new(known) == path);
            Ok(found.map(|(_, text)| (*text).to_owned()).unwrap_or_default())
        })
    }

    #[test]
    fn changed_files_are_read_once_they_stay_unchanged() {
        let mut watched = WatchedFiles::new(files(&[("i", "1")]));
        for (seen, expected) in [
            ("1", false),
            ("2", false),
            ("3", false),
            ("3", true),
            ("3", false),
            ("1", false),
            ("3", false),
            ("3", true),
        ] {
            assert_eq!(
                watched.should_read(&files(&[("i", seen)]), Trigger::Interval),
                expected,
                "{seen}"
            );
        }
        watched.applied(files(&[("i", "3")]));
        assert!(!watched.should_read(&files(&[("i", "3")]), Trigger::Interval));
    }

    #[test]
    fn a_store_and_an_operator_need_not_wait_and_the_operators_request_always_reads() {
        let mut watched = WatchedFiles::new(files(&[("i", "1")]));
        assert!(watched.should_read(&files(&[("i", "2")]), Trigger::Store));
        assert!(!watched.should_read(&files(&[("i", "1")]), Trigger::Store));
        assert!(watched.should_read(&files(&[("i", "1")]), Trigger::Operator));
        watched.rejected(files(&[("i", "bad")]), files(&[("i", "bad")]));
        assert!(!watched.should_read(&files(&[("i", "bad")]), Trigger::Store));
        assert!(watched.should_read(&files(&[("i", "bad")]), Trigger::Operator));
    }

    #[test]
    fn rejected_files_are_read_again_when_any_of_them_changes() {
        let mut watched = WatchedFiles::new(files(&[("i", "1"), ("y", "1")]));
        let bad = files(&[("i", "1"), ("y", "bad")]);
        assert!(!watched.should_read(&bad, Trigger::Interval));
        assert!(watched.should_read(&bad, Trigger::Interval));
        // It names another file, and is so wrong that the first file is not read.
        watched.rejected(files(&[("y", "bad"), ("j", "")]), bad);
        assert_eq!(watched.paths(), ["i", "j", "y"].map(PathBuf::from));
        for _ in 0..3 {
            let seen = files(&[("i", "1"), ("y", "bad"), ("j", "")]);
            assert!(!watched.should_read(&seen, Trigger::Interval));
        }
        let created = files(&[("i", "1"), ("y", "bad"), ("j", "there")]);
        assert!(!watched.should_read(&created, Trigger::Interval));
        assert!(watched.should_read(&created, Trigger::Interval));
        // The previous contents are back; the same mistake is logged again if it returns.
        let back = files(&[("i", "1"), ("y", "1"), ("j", "")]);
        assert!(!watched.should_read(&back, Trigger::Interval));
        assert_eq!(watched.paths(), ["i", "y"].map(PathBuf::from));
    }
}
