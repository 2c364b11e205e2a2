//! Which file of a survey a path names. Exact: `Norder3/Dir0/Npix012.png`, a wrong `Dir`, a cell that
//! does not exist and a tile of a cube (`Npix12_3.png`) are no tiles.

use crate::survey::tile::TILES_IN_FOLDER;
use crate::survey::{MAX_ORDER, Tile, TileFormat};

/// A file of a survey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SurveyFile {
    Properties,
    /// `Moc.fits`.
    Coverage,
    /// The tiles of an order in one picture.
    Allsky {
        order: u8,
        format: TileFormat,
    },
    Tile {
        tile: Tile,
        format: TileFormat,
    },
}

impl SurveyFile {
    /// Its path below the root of its survey.
    #[must_use]
    pub fn path(self) -> String {
        match self {
            Self::Properties => "properties".to_owned(),
            Self::Coverage => "Moc.fits".to_owned(),
            Self::Allsky { order, format } => format!("Norder{order}/Allsky.{format}"),
            Self::Tile { tile, format } => tile.path(format),
        }
    }
}

/// The root of the survey that a key belongs to, empty or with a slash at its end, and the file.
#[must_use]
pub fn locate(key: &str) -> Option<(&str, SurveyFile)> {
    let (above, name) = split_last(key);
    match name {
        "properties" => return Some((above, SurveyFile::Properties)),
        "Moc.fits" => return Some((above, SurveyFile::Coverage)),
        _ => {}
    }
    let (stem, extension) = name.split_once('.')?;
    let format = TileFormat::of_extension(extension)?;
    let (above, folder) = split_last(above.strip_suffix('/')?);
    if stem == "Allsky" {
        return Some((above, SurveyFile::Allsky { order: order(folder)?, format }));
    }
    let index = decimal(stem.strip_prefix("Npix")?)?;
    if decimal(folder.strip_prefix("Dir")?)? != index / TILES_IN_FOLDER * TILES_IN_FOLDER {
        return None;
    }
    let (root, folder) = split_last(above.strip_suffix('/')?);
    let tile = Tile::new(order(folder)?, index)?;
    Some((root, SurveyFile::Tile { tile, format }))
}

/// What stands before the last segment, slash included, and the segment.
fn split_last(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
}

fn order(folder: &str) -> Option<u8> {
    let order = decimal(folder.strip_prefix("Norder")?)?;
    u8::try_from(order).ok().filter(|order| *order <= MAX_ORDER)
}

/// A number in the one way to write it.
fn decimal(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    (is_plain && is_short).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tile(order: u8, index: u64, format: TileFormat) -> SurveyFile {
        SurveyFile::Tile { tile: Tile::new(order, index).unwrap(), format }
    }

    #[test]
    fn paths_of_the_standard_are_recognised() {
        for (key, root, file) in [
            ("Norder0/Dir0/Npix0.png", "", tile(0, 0, TileFormat::Png)),
            ("a/b/Norder5/Dir10000/Npix12287.jpg", "a/b/", tile(5, 12287, TileFormat::Jpeg)),
            ("a//Norder3/Dir0/Npix767.webp", "a//", tile(3, 767, TileFormat::Webp)),
            ("/Norder3/Dir0/Npix7.fits", "/", tile(3, 7, TileFormat::Fits)),
            (
                "s/Norder3/Allsky.png",
                "s/",
                SurveyFile::Allsky { order: 3, format: TileFormat::Png },
            ),
            ("properties", "", SurveyFile::Properties),
            ("s/properties", "s/", SurveyFile::Properties),
            ("s/Moc.fits", "s/", SurveyFile::Coverage),
        ] {
            assert_eq!(locate(key), Some((root, file)), "{key}");
        }
    }

    #[test]
    fn everything_else_is_left_alone() {
        for key in [
            "",
            "/",
            "Norder3",
            "Norder3/Dir0/",
            "Norder3/Dir0/Npix767",
            "Norder3/Dir0/Npix767.",
            "Norder3/Dir0/Npix767.PNG",
            "Norder3/Dir0/Npix767.png.gz",
            "Norder3/Dir0/Npix767.fits.fz",
            "Norder3/Dir0/Npix768.png",
            "Norder3/Dir0/Npix07.png",
            "Norder3/Dir0/Npix+7.png",
            "Norder3/Dir0/Npix-7.png",
            "Norder3/Dir0/Npix7 .png",
            "Norder3/Dir0/Npix\u{0667}.png",
            "Norder3/Dir0/Npix.png",
            "Norder03/Dir0/Npix7.png",
            "Norder30/Dir0/Npix7.png",
            "Norder3/Dir00/Npix7.png",
            "Norder5/Dir0/Npix12287.png",
            "Norder5/Dir12287/Npix12287.png",
            "Norder5/Dir20000/Npix12287.png",
            "Norder5/Npix12287.png",
            "norder3/Dir0/Npix7.png",
            "aNorder3/Dir0/Npix7.png",
            "Norder3_1/Dir0_0/Npix7_0.png",
            "Norder3/Dir0/Npix7_1.png",
            "Norder3/Dir0/Npix18446744073709551616.png",
            "Norder3/Dir0/Allsky.png",
            "Norder3/allsky.png",
            "Norder3/Allsky_1.png",
            "aproperties",
            "moc.fits",
        ] {
            assert_eq!(locate(key), None, "{key}");
        }
    }

    fn any_file() -> impl Strategy<Value = SurveyFile> {
        let format = prop::sample::select(TileFormat::ALL.to_vec());
        let of_order = (0..=MAX_ORDER, any::<u64>(), format.clone());
        prop_oneof![
            Just(SurveyFile::Properties),
            Just(SurveyFile::Coverage),
            (0..=MAX_ORDER, format)
                .prop_map(|(order, format)| SurveyFile::Allsky { order, format }),
            of_order.prop_map(|(order, random, format)| {
                tile(order, random % Tile::count(order), format)
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_path_names_the_file_it_was_made_of(root in "([a-z0-9]{0,3}/){0,3}", file in any_file()) {
            let key = format!("{root}{}", file.path());
            prop_assert_eq!(locate(&key), Some((root.as_str(), file)));
        }

        #[test]
        fn a_recognised_key_has_one_spelling(key in "(a/)?Norder[0-9_]{1,2}/Dir[0-9_+]{1,5}/Npix[0-9_]{1,5}\\.(png|jpg|fits|x)") {
            if let Some((root, file)) = locate(&key) {
                prop_assert_eq!(format!("{root}{}", file.path()), key);
            }
        }

        #[test]
        fn no_key_is_a_panic(key in any::<String>()) {
            let _nothing_or_something = locate(&key);
        }
    }
}
