//! The files a configuration was read from, compared by their contents: a copy in place, a rename, a
//! replaced symbolic link and a mounted secret of Kubernetes are all handled alike.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Digests of the contents of files at one time, or why a file could not be read; never the contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot(BTreeMap<PathBuf, FileState>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum FileState {
    /// The SHA-256 of its contents.
    Read([u8; 32]),
    /// Nothing but white space.
    Blank,
    Unreadable(io::ErrorKind),
}

impl Snapshot {
    /// A snapshot of these files now.
    pub(super) fn of(paths: Vec<PathBuf>, read: &dyn Fn(&Path) -> io::Result<String>) -> Self {
        let states = paths.into_iter().map(|path| {
            let state = state(&read(&path));
            (path, state)
        });
        Self(states.collect())
    }

    /// All files, including those that were not found.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.keys().cloned().collect()
    }

    /// The same, separated by commas.
    pub(super) fn paths_as_text(&self) -> String {
        let paths: Vec<_> = self.0.keys().map(|path| path.display().to_string()).collect();
        paths.join(", ")
    }

    /// Whether every file of `part` has the same state here.
    pub(super) fn contains(&self, part: &Self) -> bool {
        part.0.iter().all(|(path, state)| self.0.get(path) == Some(state))
    }

    /// These files, and those of `others` that are not among them.
    pub(super) fn merged_with(mut self, others: Self) -> Self {
        for (path, state) in others.0 {
            self.0.entry(path).or_insert(state);
        }
        self
    }

    /// The files that are in both and differ.
    pub(super) fn changed<'a>(&'a self, after: &Self) -> Vec<&'a PathBuf> {
        let differs = |(path, state): &(&PathBuf, &FileState)| {
            after.0.get(*path).is_some_and(|after| after != *state)
        };
        self.0.iter().filter(differs).map(|(path, _)| path).collect()
    }

    /// An error for each file that had contents and is missing or empty afterwards: it would remove
    /// profiles and access keys, and is rarely intended.
    pub(super) fn lost(&self, after: &Self) -> Vec<String> {
        let lost = self.0.iter().filter(|(_, before)| matches!(before, FileState::Read(_)));
        let lost = lost.filter_map(|(path, _)| {
            let path_as_text = path.display();
            match after.0.get(path)? {
                FileState::Read(_) => None,
                FileState::Blank => Some(format!(
                    "{path_as_text}: is empty and was not before; to empty it on purpose, leave a \
                     comment line (#) in it"
                )),
                FileState::Unreadable(kind) => {
                    Some(format!("{path_as_text}: cannot be read any more: {kind}"))
                }
            }
        });
        lost.collect()
    }
}

/// Reads files and records their states.
pub(super) struct RecordingReader<'a> {
    read: &'a dyn Fn(&Path) -> io::Result<String>,
    snapshot: RefCell<Snapshot>,
}

impl<'a> RecordingReader<'a> {
    pub(super) fn new(read: &'a dyn Fn(&Path) -> io::Result<String>) -> Self {
        Self { read, snapshot: RefCell::default() }
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<String> {
        let text = (self.read)(path);
        self.snapshot.borrow_mut().0.insert(path.to_owned(), state(&text));
        text
    }

    pub(super) fn snapshot(self) -> Snapshot {
        self.snapshot.into_inner()
    }
}

fn state(result: &io::Result<String>) -> FileState {
    match result {
        Ok(text) if text.trim().is_empty() => FileState::Blank,
        Ok(text) => FileState::Read(Sha256::digest(text.as_bytes()).into()),
        Err(error) => FileState::Unreadable(error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_equal_if_their_contents_are() {
        let text = RefCell::new("one".to_owned());
        let read = |path: &Path| match path.ends_with("missing") {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(text.borrow().clone()),
        };
        let reader = RecordingReader::new(&read);
        assert!(reader.read(Path::new("/etc/file")).is_ok());
        assert!(reader.read(Path::new("/etc/missing")).is_err());
        let before = reader.snapshot();
        let now = || Snapshot::of(before.paths(), &read);
        assert_eq!(now(), before);
        *text.borrow_mut() = "two".to_owned();
        assert_ne!(now(), before);
        assert_eq!(before.changed(&now()), [Path::new("/etc/file")]);
        *text.borrow_mut() = "one".to_owned();
        assert_eq!(now(), before);
        let created = Snapshot::of(before.paths(), &|_| Ok("one".to_owned()));
        assert_ne!(created, before, "a file that was missing exists now");
        assert!(!format!("{before:?}").contains("one"));
    }

    #[test]
    fn a_snapshot_contains_its_parts() {
        let of = |paths: &[&str], text: &str| {
            let paths = paths.iter().map(PathBuf::from).collect();
            Snapshot::of(paths, &|_| Ok(text.to_owned()))
        };
        let both = of(&["a", "b"], "one");
        assert!(both.contains(&of(&["a"], "one")));
        assert!(!both.contains(&of(&["a"], "two")));
        assert!(!both.contains(&of(&["c"], "one")));
        assert_eq!(of(&["a"], "one").merged_with(of(&["b"], "one")), both);
        assert_eq!(of(&["a"], "one").merged_with(of(&["a"], "two")), of(&["a"], "one"));
    }

    #[test]
    fn files_that_are_missing_or_empty_afterwards_are_lost_and_others_are_not() {
        let of = |content: &dyn Fn() -> io::Result<String>| {
            Snapshot::of(vec![PathBuf::from("c.ini")], &|_| content())
        };
        let written = of(&|| Ok("[a]".to_owned()));
        let other = of(&|| Ok("# nothing".to_owned()));
        let blank = of(&|| Ok(" \n".to_owned()));
        let gone = of(&|| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(written.lost(&other), [""; 0]);
        assert_eq!(written.lost(&Snapshot::default()), [""; 0], "it is not read any more");
        for before in [&blank, &gone] {
            for after in [&written, &blank, &gone] {
                assert_eq!(before.lost(after), [""; 0]);
            }
        }
        assert!(written.lost(&blank)[0].starts_with("c.ini: is empty"));
        assert!(written.lost(&gone)[0].starts_with("c.ini: cannot be read any more"));
    }
}
