//! Where a configuration is read from. It can be read with the certificates in force in place of those in the files: a
//! certificate and its key are two files, and while they do not belong together, other files still apply.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, Flags, Inputs, Loaded, Problem};
use crate::reload::certificates;
use crate::reload::files::{RecordingReader, Snapshot};
use crate::s3::secret::Secret;

/// The inputs of every reading of the configuration.
#[derive(Debug, Clone)]
pub struct Sources {
    pub environment: BTreeMap<String, String>,
    pub flags: Flags,
    /// See [`Inputs::processors`].
    pub processors: usize,
}

/// A configuration with the inputs and the files it was read from.
pub struct Start {
    pub sources: Sources,
    pub loaded: Loaded,
    pub(super) files: Snapshot,
    pub(super) certificates: CertificateTexts,
}

/// The contents of the files of certificates and of their keys, of the listeners and for the stores.
#[derive(Debug, Clone, Default)]
pub(super) struct CertificateTexts(BTreeMap<PathBuf, Secret>);

/// A reading of the configuration.
pub(super) struct Reading {
    pub(super) result: Result<Loaded, Vec<Problem>>,
    pub(super) files: Snapshot,
    pub(super) certificates: CertificateTexts,
}

impl CertificateTexts {
    /// Those among these texts.
    fn of(config: &Config, mut texts: BTreeMap<PathBuf, Secret>) -> Self {
        let mut paths = certificates::paths(config);
        let of_stores = config.profiles.iter().filter_map(|profile| profile.tls.as_ref());
        paths.extend(of_stores.flat_map(|tls| tls.files.iter().cloned()));
        texts.retain(|path, _| paths.contains(path));
        Self(texts)
    }

    /// The text here, or that of the file.
    fn read(&self, path: &Path) -> io::Result<String> {
        match self.0.get(path) {
            Some(text) => Ok(text.expose().to_owned()),
            None => config::read_file(path),
        }
    }
}

impl Sources {
    /// Reads the configuration for the first time.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(self) -> Result<Start, Vec<Problem>> {
        let Reading { result, files, certificates } = self.read(&CertificateTexts::default());
        result.map(|loaded| Start { sources: self, loaded, files, certificates })
    }

    /// Reads the configuration; these certificates are as here, whatever their files contain now.
    pub(super) fn read(&self, kept: &CertificateTexts) -> Reading {
        let read = |path: &Path| kept.read(path);
        let (reader, texts) = (RecordingReader::new(&read), RefCell::new(BTreeMap::new()));
        let result = config::load(&Inputs {
            environment: self.environment.clone(),
            flags: self.flags.clone(),
            processors: self.processors,
            read: &|path| {
                let text = reader.read(path)?;
                texts.borrow_mut().insert(path.to_owned(), Secret::new(text.clone()));
                Ok(text)
            },
        });
        let texts = texts.into_inner();
        let of = |loaded: &Loaded| CertificateTexts::of(&loaded.config, texts);
        let certificates = result.as_ref().map(of).unwrap_or_default();
        Reading { result, files: reader.snapshot(), certificates }
    }

    /// These files now, with these certificates.
    pub(super) fn snapshot(paths: Vec<PathBuf>, kept: &CertificateTexts) -> Snapshot {
        Snapshot::of(paths, &|path| kept.read(path))
    }
}
