//! The file that remembers which keys a run has asked for: a line `NUMBER CHECKSUM` for each answered key,
//! appended when the answer is complete. The checksum of the key shows that a later run is about the same
//! keys in the same order.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The first line.
const TITLE: &str = "s3proxy warm 1";
/// The largest file that is read, bytes: some 50 million keys.
const MAX_BYTES: u64 = 1 << 30;
/// Keys that are numbered.
const MAX_KEYS: usize = 100_000_000;

/// The keys that are answered; without a file nothing is remembered.
#[derive(Debug, Default)]
pub struct Journal {
    file: Option<Mutex<File>>,
    /// The checksums of the keys by number, 0 for those that are not answered.
    done: Vec<u32>,
}

/// Why a journal cannot be used.
#[derive(Debug)]
pub enum JournalError {
    Io(io::Error),
    /// It is no journal; the number of the line.
    Line(usize),
    /// The key of this number is another one than before.
    OtherKeys(u64),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Line(line) => write!(f, "line {line} is not of a journal of s3proxy warm"),
            Self::OtherKeys(number) => write!(
                f,
                "the journal is of a run with other keys: key {number} differs. Name another file with \
                 --resume, or remove this one"
            ),
        }
    }
}

impl std::error::Error for JournalError {}

impl From<io::Error> for JournalError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Journal {
    /// Reads the file, if there is one, and appends to it from now on.
    ///
    /// # Errors
    /// The file cannot be read and written, or is no journal.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        let read = (&file).take(MAX_BYTES + 1).read_to_string(&mut text)?;
        if read as u64 > MAX_BYTES {
            return Err(
                io::Error::new(io::ErrorKind::FileTooLarge, "the journal is too large").into()
            );
        }
        let done = parse(&text)?;
        if text.is_empty() {
            file.write_all(format!("{TITLE}\n").as_bytes())?;
        } else if !text.ends_with('\n') {
            // A line that was not written to its end: its key is asked for again.
            file.write_all(b"\n")?;
        }
        Ok(Self { file: Some(Mutex::new(file)), done })
    }

    /// Whether the key of this number is answered.
    ///
    /// # Errors
    /// The number had another key.
    pub fn has(&self, number: u64, key: &str) -> Result<bool, JournalError> {
        let known = usize::try_from(number).ok().and_then(|number| self.done.get(number));
        match known.copied().unwrap_or(0) {
            0 => Ok(false),
            known if known == checksum(key) => Ok(true),
            _ => Err(JournalError::OtherKeys(number)),
        }
    }

    /// Remembers that the key of this number is answered.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note(&self, number: u64, key: &str) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let line = format!("{number} {:08x}\n", checksum(key));
        // One call: a line is whole, or its key is asked for again.
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }
}

/// Not 0.
fn checksum(key: &str) -> u32 {
    crc32fast::hash(key.as_bytes()).max(1)
}

fn parse(text: &str) -> Result<Vec<u32>, JournalError> {
    let mut done = Vec::new();
    // What follows the last line end is no line.
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    for (line, text) in (1..).zip(whole.lines()) {
        if line == 1 {
            if text != TITLE {
                return Err(JournalError::Line(1));
            }
            continue;
        }
        // The rest of a line that was not written to its end.
        let Some((number, checksum)) = text.split_once(' ').filter(|(_, it)| it.len() == 8) else {
            if text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b' ') {
                continue;
            }
            return Err(JournalError::Line(line));
        };
        let number = number.parse().ok().filter(|number| *number < MAX_KEYS);
        let checksum = u32::from_str_radix(checksum, 16).ok();
        let (Some(number), Some(checksum)) = (number, checksum) else {
            return Err(JournalError::Line(line));
        };
        if done.len() <= number {
            done.resize(number + 1, 0);
        }
        if let Some(place) = done.get_mut(number) {
            *place = checksum;
        }
    }
    if whole.is_empty() && !text.is_empty() {
        return Err(JournalError::Line(1));
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_keys_are_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::open(&path).unwrap();
        assert!(!journal.has(0, "a").unwrap());
        journal.note(0, "a").unwrap();
        journal.note(2, "c").unwrap();
        let journal = Journal::open(&path).unwrap();
        let has = |number, key| journal.has(number, key).unwrap();
        assert!(has(0, "a") && !has(1, "b") && has(2, "c") && !has(3, "d"));
        assert!(matches!(journal.has(0, "b"), Err(JournalError::OtherKeys(0))));
    }

    #[test]
    fn a_line_that_was_cut_is_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let whole = {
            let journal = Journal::open(&path).unwrap();
            journal.note(7, "a").unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        let first = whole.find('\n').unwrap() + 1;
        for length in first..whole.len() {
            std::fs::write(&path, whole.get(..length).unwrap()).unwrap();
            let journal = Journal::open(&path).unwrap();
            assert!(!journal.has(7, "a").unwrap(), "{length}");
            journal.note(7, "a").unwrap();
            assert!(Journal::open(&path).unwrap().has(7, "a").unwrap(), "{length}");
        }
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        for text in ["my notes\nmore\n", "s3proxy warm 1\nsome text\n", "no line"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Journal::open(&path), Err(JournalError::Line(_))), "{text}");
        }
    }
}
