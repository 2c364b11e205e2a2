//! The files a configuration was read from, known by their contents: a copy in place, a rename, an
//! exchanged symbolic link and a mounted secret of Kubernetes are all the same to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// What was in files, or why it could not be read; nothing of the contents themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents(BTreeMap<PathBuf, Content>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Read([u8; 32]),
    /// White space alone.
    Blank,
    Unreadable(io::ErrorKind),
}

impl Contents {
    /// What is in these files now.
    pub(super) fn of(paths: Vec<PathBuf>, read: &dyn Fn(&Path) -> io::Result<String>) -> Self {
        let contents = paths.into_iter().map(|path| {
            let content = content(&read(&path));
            (path, content)
        });
        Self(contents.collect())
    }

    /// The files, with the others that were looked for.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.keys().cloned().collect()
    }

    /// The same for a person.
    pub(super) fn paths_as_text(&self) -> String {
        let paths: Vec<_> = self.0.keys().map(|path| path.display().to_string()).collect();
        paths.join(", ")
    }

    /// Whether all of `part` is as it is here.
    pub(super) fn holds(&self, part: &Self) -> bool {
        part.0.iter().all(|(path, content)| self.0.get(path) == Some(content))
    }

    /// These files, and those of `others` that are not among them.
    pub(super) fn and(mut self, others: Self) -> Self {
        for (path, content) in others.0 {
            self.0.entry(path).or_insert(content);
        }
        self
    }

    /// The files that are in both and not the same.
    pub(super) fn changed<'a>(&'a self, after: &Self) -> Vec<&'a PathBuf> {
        let differs = |(path, content): &(&PathBuf, &Content)| {
            after.0.get(*path).is_some_and(|after| after != *content)
        };
        self.0.iter().filter(differs).map(|(path, _)| path).collect()
    }

    /// The files that said something and are gone or empty afterwards, each with what to do. That takes
    /// away profiles and keys like no mistake in a file, and hardly anybody means it.
    pub(super) fn lost(&self, after: &Self) -> Vec<String> {
        let lost = self.0.iter().filter(|(_, before)| matches!(before, Content::Read(_)));
        let lost = lost.filter_map(|(path, _)| {
            let path_as_text = path.display();
            match after.0.get(path)? {
                Content::Read(_) => None,
                Content::Blank => Some(format!(
                    "{path_as_text}: is empty and was not before; a comment (#) in it says that it \
                     is meant to be"
                )),
                Content::Unreadable(kind) => {
                    Some(format!("{path_as_text}: cannot be read and could be before: {kind}"))
                }
            }
        });
        lost.collect()
    }
}

/// Notes what is read.
pub(super) struct Noted<'a> {
    read: &'a dyn Fn(&Path) -> io::Result<String>,
    contents: RefCell<Contents>,
}

impl<'a> Noted<'a> {
    pub(super) fn new(read: &'a dyn Fn(&Path) -> io::Result<String>) -> Self {
        Self { read, contents: RefCell::default() }
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<String> {
        let text = (self.read)(path);
        self.contents.borrow_mut().0.insert(path.to_owned(), content(&text));
        text
    }

    pub(super) fn contents(self) -> Contents {
        self.contents.into_inner()
    }
}

fn content(read: &io::Result<String>) -> Content {
    match read {
        Ok(text) if text.trim().is_empty() => Content::Blank,
        Ok(text) => Content::Read(Sha256::digest(text.as_bytes()).into()),
        Err(error) => Content::Unreadable(error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_same_as_long_as_their_contents_are() {
        let text = RefCell::new("one".to_owned());
        let read = |path: &Path| match path.ends_with("missing") {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(text.borrow().clone()),
        };
        let noted = Noted::new(&read);
        assert!(noted.read(Path::new("/etc/file")).is_ok());
        assert!(noted.read(Path::new("/etc/missing")).is_err());
        let before = noted.contents();
        let now = || Contents::of(before.paths(), &read);
        assert_eq!(now(), before);
        *text.borrow_mut() = "two".to_owned();
        assert_ne!(now(), before);
        assert_eq!(before.changed(&now()), [Path::new("/etc/file")]);
        *text.borrow_mut() = "one".to_owned();
        assert_eq!(now(), before);
        let came = Contents::of(before.paths(), &|_| Ok("one".to_owned()));
        assert_ne!(came, before, "a file that was missing came");
        assert!(!format!("{before:?}").contains("one"));
    }

    #[test]
    fn parts_are_told_from_the_whole() {
        let of = |paths: &[&str], text: &str| {
            let paths = paths.iter().map(PathBuf::from).collect();
            Contents::of(paths, &|_| Ok(text.to_owned()))
        };
        let both = of(&["a", "b"], "one");
        assert!(both.holds(&of(&["a"], "one")));
        assert!(!both.holds(&of(&["a"], "two")));
        assert!(!both.holds(&of(&["c"], "one")));
        assert_eq!(of(&["a"], "one").and(of(&["b"], "one")), both);
        assert_eq!(of(&["a"], "one").and(of(&["a"], "two")), of(&["a"], "one"));
    }

    #[test]
    fn files_that_are_gone_or_empty_are_lost_and_others_are_not() {
        let of = |content: &dyn Fn() -> io::Result<String>| {
            Contents::of(vec![PathBuf::from("c.ini")], &|_| content())
        };
        let written = of(&|| Ok("[a]".to_owned()));
        let other = of(&|| Ok("# nothing".to_owned()));
        let blank = of(&|| Ok(" \n".to_owned()));
        let gone = of(&|| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(written.lost(&other), [""; 0]);
        assert_eq!(written.lost(&Contents::default()), [""; 0], "nobody asks for it any more");
        for before in [&blank, &gone] {
            for after in [&written, &blank, &gone] {
                assert_eq!(before.lost(after), [""; 0]);
            }
        }
        assert!(written.lost(&blank)[0].starts_with("c.ini: is empty"));
        assert!(written.lost(&gone)[0].starts_with("c.ini: cannot be read and could be before"));
    }
}
