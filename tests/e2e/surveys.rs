//! A small survey: orders 3 to 5, png and fits, with the coverage map `few` of `tests/surveys`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::origin::Origin;

/// The cells of the map: order and index.
const CELLS: [(u8, u64); 9] =
    [(3, 0), (3, 5), (3, 6), (3, 7), (3, 250), (3, 400), (4, 2000), (5, 12000), (5, 12287)];

/// Its files by their path.
#[derive(Debug, Clone)]
pub(crate) struct Survey(pub(crate) BTreeMap<String, Vec<u8>>);

/// The tiles of an order that the map touches.
pub(crate) fn tiles(order: u8) -> BTreeSet<u64> {
    CELLS
        .into_iter()
        .flat_map(|(of, index)| {
            if of <= order {
                let shift = 2 * (order - of);
                index << shift..(index + 1) << shift
            } else {
                let index = index >> (2 * (of - order));
                index..index + 1
            }
        })
        .collect()
}

pub(crate) fn path(order: u8, index: u64, extension: &str) -> String {
    format!("Norder{order}/Dir{}/Npix{index}.{extension}", index / 10_000 * 10_000)
}

pub(crate) fn picture(extension: &str, width: u16) -> Vec<u8> {
    match extension {
        "png" => {
            let [high, low] = width.to_be_bytes();
            let size = [0, 0, high, low];
            [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &size, &size].concat()
        }
        _ => format!(
            "{:<80}{:<2800}",
            "SIMPLE  =                    T",
            format!("NAXIS1  = {width:>20}")
        )
        .into_bytes(),
    }
}

pub(crate) const PROPERTIES: &str = "\
creator_did = ivo://example/P/few
obs_title = A few cells
dataproduct_type = image
hips_version = 1.4
hips_release_date = 2025-07-01T12:00Z
hips_status = private master clonableOnce
hips_tile_format = png fits
hips_order = 5
hips_order_min = 3
hips_frame = equatorial
";

impl Survey {
    /// Without a fault.
    pub(crate) fn new() -> Self {
        let mut files = BTreeMap::new();
        files.insert("properties".to_owned(), PROPERTIES.as_bytes().to_vec());
        let map = include_bytes!("../surveys/maps/few.range.fits");
        files.insert("Moc.fits".to_owned(), map.to_vec());
        for extension in ["png", "fits"] {
            files.insert(format!("Norder3/Allsky.{extension}"), picture(extension, 1728));
            for order in 3..=5 {
                for index in tiles(order) {
                    files.insert(path(order, index, extension), picture(extension, 512));
                }
            }
        }
        Self(files)
    }

    /// With `properties` changed.
    pub(crate) fn replace(&mut self, old: &str, new: &str) {
        assert!(PROPERTIES.contains(old), "{old}");
        self.0.insert("properties".to_owned(), PROPERTIES.replace(old, new).into_bytes());
    }

    pub(crate) fn upload(&self, origin: &Origin, prefix: &str) {
        for (path, bytes) in &self.0 {
            origin.put(&format!("{prefix}{path}"), bytes.clone());
        }
    }

    pub(crate) fn write(&self, folder: &Path) {
        for (path, bytes) in &self.0 {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder is made");
            std::fs::write(path, bytes).expect("a file is written");
        }
    }
}
