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
    Unreadable(io::ErrorKind),
}

impl Contents {
    /// What is in the same files now.
    pub(super) fn now(&self, read: &dyn Fn(&Path) -> io::Result<String>) -> Self {
        let contents = self.0.keys().map(|path| (path.clone(), content(&read(path))));
        Self(contents.collect())
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
        assert_eq!(before.now(&read), before);
        *text.borrow_mut() = "two".to_owned();
        assert_ne!(before.now(&read), before);
        *text.borrow_mut() = "one".to_owned();
        assert_eq!(before.now(&read), before);
        assert_ne!(before.now(&|_| Ok("one".to_owned())), before, "a file that was missing came");
        assert!(!format!("{before:?}").contains("one"));
    }
}
