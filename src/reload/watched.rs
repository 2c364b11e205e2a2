//! Which contents of the files are in force, which were refused, and which are to be read: values in,
//! values out.

use std::path::PathBuf;

use crate::reload::files::Contents;

/// Why files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It is time.
    Due,
    /// A store knows a key no more.
    Store,
    /// Somebody has sent SIGHUP.
    Operator,
}

/// The files that are watched: those that what is in force was read from, and those that what was
/// refused names.
#[derive(Debug)]
pub(super) struct Watched {
    in_force: Contents,
    /// Read and no good; it has been told.
    refused: Option<Contents>,
    /// Seen once; it may still be being written.
    unsettled: Option<Contents>,
}

impl Watched {
    pub(super) fn new(in_force: Contents) -> Self {
        Self { in_force, refused: None, unsettled: None }
    }

    pub(super) fn in_force(&self) -> &Contents {
        &self.in_force
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        match &self.refused {
            Some(refused) => refused.paths(),
            None => self.in_force.paths(),
        }
    }

    /// Whether nothing has changed since what is in force was read, or all of it back.
    pub(super) fn is_in_force(&self, seen: &Contents) -> bool {
        seen.holds(&self.in_force)
    }

    /// Whether what was seen is to be read now. What has changed is when it is seen a second time, or when
    /// somebody asks; what was refused is not read again before it changes, unless the operator says so.
    pub(super) fn is_to_be_read(&mut self, seen: &Contents, why: Why) -> bool {
        let before = self.unsettled.take();
        if why == Why::Operator {
            return true;
        }
        if self.is_in_force(seen) {
            self.refused = None;
            return false;
        }
        if self.refused.as_ref() == Some(seen) {
            return false;
        }
        if why == Why::Due && before.as_ref() != Some(seen) {
            self.unsettled = Some(seen.clone());
            return false;
        }
        true
    }

    /// This was read, and is in force from now on.
    pub(super) fn took_over(&mut self, read: Contents) {
        *self = Self::new(read);
    }

    /// This was read and is no good. A mistake in one file may keep others from being read, for which
    /// counts what was seen before.
    pub(super) fn refused(&mut self, read: Contents, seen: Contents) {
        self.refused = Some(read.and(seen));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Contents {
        let paths = pairs.iter().map(|(path, _)| PathBuf::from(path)).collect();
        Contents::of(paths, &|path| {
            let found = pairs.iter().find(|(known, _)| Path::new(known) == path);
            Ok(found.map(|(_, text)| (*text).to_owned()).unwrap_or_default())
        })
    }

    #[test]
    fn what_has_changed_is_read_when_it_stands_still() {
        let mut watched = Watched::new(files(&[("i", "1")]));
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
            assert_eq!(watched.is_to_be_read(&files(&[("i", seen)]), Why::Due), expected, "{seen}");
        }
        watched.took_over(files(&[("i", "3")]));
        assert!(!watched.is_to_be_read(&files(&[("i", "3")]), Why::Due));
    }

    #[test]
    fn a_store_and_an_operator_need_not_wait_and_the_operator_is_always_heard() {
        let mut watched = Watched::new(files(&[("i", "1")]));
        assert!(watched.is_to_be_read(&files(&[("i", "2")]), Why::Store));
        assert!(!watched.is_to_be_read(&files(&[("i", "1")]), Why::Store));
        assert!(watched.is_to_be_read(&files(&[("i", "1")]), Why::Operator));
        watched.refused(files(&[("i", "bad")]), files(&[("i", "bad")]));
        assert!(!watched.is_to_be_read(&files(&[("i", "bad")]), Why::Store));
        assert!(watched.is_to_be_read(&files(&[("i", "bad")]), Why::Operator));
    }

    #[test]
    fn what_was_refused_is_read_again_when_any_file_it_depends_on_changes() {
        let mut watched = Watched::new(files(&[("i", "1"), ("y", "1")]));
        let bad = files(&[("i", "1"), ("y", "bad")]);
        assert!(!watched.is_to_be_read(&bad, Why::Due));
        assert!(watched.is_to_be_read(&bad, Why::Due));
        // It names another file, and is so wrong that the first is not looked for.
        watched.refused(files(&[("y", "bad"), ("j", "")]), bad);
        assert_eq!(watched.paths(), ["i", "j", "y"].map(PathBuf::from));
        for _ in 0..3 {
            let seen = files(&[("i", "1"), ("y", "bad"), ("j", "")]);
            assert!(!watched.is_to_be_read(&seen, Why::Due));
        }
        let came = files(&[("i", "1"), ("y", "bad"), ("j", "there")]);
        assert!(!watched.is_to_be_read(&came, Why::Due));
        assert!(watched.is_to_be_read(&came, Why::Due));
        // Back as before: mended, and a later return of the mistake is told again.
        let back = files(&[("i", "1"), ("y", "1"), ("j", "")]);
        assert!(!watched.is_to_be_read(&back, Why::Due));
        assert_eq!(watched.paths(), ["i", "y"].map(PathBuf::from));
    }
}
