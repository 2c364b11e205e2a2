//! The credentials file and the YAML file of a gateway, rewritten while it runs as operators and
//! Kubernetes do it.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::gateway::{ACCESS_KEY, SECRET_KEY, Setup};

pub(crate) const INI: &str = "credentials.ini";
pub(crate) const YAML: &str = "s3proxy.yaml";

/// The ways to replace files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A new folder, and the symbolic link `..data` renamed over the old one: replaces all files at
    /// once.
    Kubernetes,
    /// A new file beside it, renamed over it.
    Rename,
    /// Truncated and written in place.
    InPlace,
    /// Truncated, and written in two parts with a pause between them.
    Halves,
    /// Overwritten by `cp`.
    Copy,
}

pub(crate) const WAYS: [Way; 5] =
    [Way::Kubernetes, Way::Rename, Way::InPlace, Way::Halves, Way::Copy];

/// Between the halves: shorter than [`Files::setup`]'s interval.
const PAUSE: Duration = Duration::from_millis(100);

/// A folder with both files.
pub(crate) struct Files {
    folder: TempDir,
    way: Way,
    generation: Cell<usize>,
}

impl Files {
    pub(crate) fn new(way: Way, ini: &str, yaml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = Self { folder, way, generation: Cell::new(0) };
        if way == Way::Kubernetes {
            for name in [INI, YAML] {
                symlink(Path::new("..data").join(name), files.path(name)).expect("a link");
            }
        }
        files.write(ini, yaml);
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Configures the gateway to read the files, and to check them at this interval.
    pub(crate) fn setup(&self, setup: Setup, interval: &str) -> Setup {
        let text = |name| self.path(name).to_str().expect("UTF-8").to_owned();
        setup
            .env("AWS_SHARED_CREDENTIALS_FILE", &text(INI))
            .env("S3PROXY_CONFIG", &text(YAML))
            .env("S3PROXY_SERVER_RELOAD_INTERVAL", interval)
    }

    pub(crate) fn write(&self, ini: &str, yaml: &str) {
        self.generation.set(self.generation.get() + 1);
        if self.way == Way::Kubernetes {
            return self.exchange(ini, yaml);
        }
        for (name, text) in [(INI, ini), (YAML, yaml)] {
            // Unchanged files are not touched.
            if fs::read_to_string(self.path(name)).ok().as_deref() != Some(text) {
                self.write_one(name, text);
            }
        }
    }

    pub(crate) fn write_one(&self, name: &str, text: &str) {
        let path = self.path(name);
        let beside = self.path("new");
        match self.way {
            Way::Kubernetes => unreachable!("all files at once"),
            Way::Rename => {
                fs::write(&beside, text).expect("written");
                fs::rename(&beside, &path).expect("renamed");
            }
            Way::InPlace => fs::write(&path, text).expect("written"),
            Way::Halves => {
                let mut file = fs::File::create(&path).expect("truncated");
                let (first, second) = text.split_at(text.len() / 2);
                file.write_all(first.as_bytes()).expect("written");
                std::thread::sleep(PAUSE);
                file.write_all(second.as_bytes()).expect("written");
            }
            Way::Copy => {
                fs::write(&beside, text).expect("written");
                fs::copy(&beside, &path).expect("copied");
            }
        }
    }

    /// As the kubelet's atomic writer does it.
    fn exchange(&self, ini: &str, yaml: &str) {
        let generation = self.generation.get();
        let name = format!("..2026_{generation}");
        let folder = self.path(&name);
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join(INI), ini).expect("written");
        fs::write(folder.join(YAML), yaml).expect("written");
        symlink(&name, self.path("..data_tmp")).expect("a link");
        fs::rename(self.path("..data_tmp"), self.path("..data")).expect("renamed over");
        let _first_has_none_before =
            fs::remove_dir_all(self.path(&format!("..2026_{}", generation - 1)));
    }
}

/// The sections of these names, all with the suite's key.
pub(crate) fn ini(names: &[&str]) -> String {
    names.iter().map(|name| section(name, ACCESS_KEY, SECRET_KEY)).collect()
}

/// A section of a credentials file.
pub(crate) fn section(name: &str, id: &str, secret: &str) -> String {
    format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
}

/// Profiles with their endpoints.
pub(crate) fn yaml(profiles: &[(&str, &str)]) -> String {
    let of = |(name, url): &(&str, &str)| format!("  {name}:\n    endpoint: \"{url}\"\n");
    format!("profiles:\n{}", profiles.iter().map(of).collect::<String>())
}
