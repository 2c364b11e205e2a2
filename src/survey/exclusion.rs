//! The tiles that a survey cannot have, by its own files.

use crate::survey::{Coverage, Frame, Properties, Tile, TileFormat};

/// The tiles of a survey that do not exist: those outside of its map, deeper than its order, or in
/// another format.
#[derive(Debug, Clone, PartialEq)]
pub struct Exclusion {
    coverage: Coverage,
    order: u8,
    formats: Vec<TileFormat>,
}

impl Exclusion {
    /// What the files of a survey exclude; `None` if there is any doubt about them: a fault of form, a
    /// keyword that is missing or unknown, another frame than that of maps, a cube, a map that covers
    /// nothing or another part of the sky than `moc_sky_fraction` says.
    #[must_use]
    pub fn of(properties: &Properties, coverage: Coverage) -> Option<Self> {
        let (formats, unknown) = properties.formats();
        let is_plain = properties.faults().is_empty()
            && properties.missing().is_empty()
            && !properties.is_cube()
            && properties.get("dataproduct_type") == Some("image")
            && properties.frame() == Some(Frame::Equatorial)
            && unknown.is_empty()
            && !formats.is_empty();
        let order = properties.order("hips_order").ok().flatten()?;
        let is_usable = is_plain && !coverage.is_empty() && agrees(properties, &coverage);
        is_usable.then_some(Self { coverage, order, formats })
    }

    /// Whether the survey has no such tile.
    #[must_use]
    pub fn excludes(&self, tile: Tile, format: TileFormat) -> bool {
        tile.order() > self.order || !self.formats.contains(&format) || !self.coverage.touches(tile)
    }

    /// The memory it takes, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.coverage.bytes()
    }
}

/// Whether the map covers as much of the sky as the properties say, if they do.
fn agrees(properties: &Properties, coverage: &Coverage) -> bool {
    let Some(said) = properties.get("moc_sky_fraction") else { return true };
    said.parse().is_ok_and(|said| coverage.has_fraction(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROPERTIES: &str = "creator_did = a\nobs_title = a\ndataproduct_type = image\n\
        hips_version = 1.4\nhips_release_date = a\nhips_status = a\nhips_tile_format = png fits\n\
        hips_order = 5\nhips_frame = equatorial\n";

    fn tile(order: u8, index: u64) -> Tile {
        Tile::new(order, index).unwrap()
    }

    fn exclusion(properties: &str) -> Option<Exclusion> {
        let coverage = Coverage::of_tiles([tile(3, 7), tile(5, 12000)], 5).unwrap();
        Exclusion::of(&Properties::parse(properties.as_bytes()), coverage)
    }

    #[test]
    fn tiles_outside_deeper_and_of_another_format_are_excluded() {
        let exclusion = exclusion(PROPERTIES).unwrap();
        for (order, index, format, excluded) in [
            (3, 7, TileFormat::Png, false),
            (3, 7, TileFormat::Fits, false),
            (3, 7, TileFormat::Webp, true),
            (3, 8, TileFormat::Png, true),
            (5, 7 * 16, TileFormat::Png, false),
            (6, 7 * 64, TileFormat::Png, true),
            // Lower orders that hold a covered cell.
            (0, 0, TileFormat::Png, false),
            (2, 1, TileFormat::Png, false),
            (2, 2, TileFormat::Png, true),
            (5, 12000, TileFormat::Png, false),
            (5, 12001, TileFormat::Png, true),
            (0, 11, TileFormat::Png, false),
        ] {
            assert_eq!(
                exclusion.excludes(tile(order, index), format),
                excluded,
                "{order} {index} {format}"
            );
        }
    }

    #[test]
    fn a_survey_of_which_anything_is_in_doubt_excludes_nothing() {
        for (old, new) in [
            ("equatorial", "galactic"),
            ("equatorial", "ICRS"),
            ("= image", "= cube"),
            ("= image", "= catalog"),
            ("= image", "= image\nhips_cube_depth = 3"),
            ("hips_order = 5", "hips_order = 5\nhips_order = 3"),
            ("hips_order = 5", "hips_order = five"),
            ("png fits", "png avif"),
            ("png fits", ""),
            ("obs_title = a\n", ""),
            ("obs_title = a", "obs_title a"),
            ("hips_order = 5", "hips_order = 5\nmoc_sky_fraction = 0.5"),
            ("hips_order = 5", "hips_order = 5\nmoc_sky_fraction = all"),
            ("hips_order = 5", "hips_order = 5\nmoc_sky_fraction = inf"),
            ("hips_order = 5", "hips_order = 5\nmoc_sky_fraction = nan"),
        ] {
            assert!(PROPERTIES.contains(old), "{old}");
            assert_eq!(exclusion(&PROPERTIES.replace(old, new)), None, "{new}");
        }
        let properties = Properties::parse(PROPERTIES.as_bytes());
        assert_eq!(Exclusion::of(&properties, Coverage::default()), None);
        let fraction =
            format!("hips_order = 5\nmoc_sky_fraction = {:.5}", 1.0 / 768.0 + 1.0 / 12288.0);
        assert!(exclusion(&PROPERTIES.replace("hips_order = 5", &fraction)).is_some());
    }
}
