//! The keys of a survey in the order in which viewers need them: its own files, then its tiles from the
//! lowest order down.

use std::ops::RangeInclusive;

use crate::survey::{Coverage, Frame, Properties, SurveyFile, Tile, TileFormat};

/// Which tiles are wanted; without a value all of the survey.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SurveyFilter {
    pub orders: Option<RangeInclusive<u8>>,
    pub formats: Option<Vec<TileFormat>>,
}

/// The keys of a survey, below its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyKeys {
    coverage: Coverage,
    orders: RangeInclusive<u8>,
    formats: Vec<TileFormat>,
}

impl SurveyKeys {
    /// What the survey with these properties has. Without a map, or if its tiles are in another frame
    /// than maps, it may have every cell.
    ///
    /// # Errors
    /// Why the properties do not say which tiles there are.
    pub fn new(
        properties: &Properties,
        map: Option<Coverage>,
        filter: SurveyFilter,
    ) -> Result<Self, String> {
        if properties.is_cube() {
            return Err(
                "the tiles of a cube have another layout; name their keys with --list".to_owned()
            );
        }
        let number = |keyword| properties.order(keyword);
        let Ok(Some(last)) = number("hips_order") else {
            return Err("properties has no valid hips_order".to_owned());
        };
        let first = number("hips_order_min").ok().flatten().unwrap_or(0);
        let orders = filter.orders.unwrap_or(first..=last);
        let (first, last) = (first.max(*orders.start()), last.min(*orders.end()));
        let (mut formats, _) = properties.formats();
        if let Some(wanted) = &filter.formats {
            let other = wanted.iter().find(|format| !formats.contains(format));
            if let Some(other) = other {
                return Err(format!("hips_tile_format does not name {other}"));
            }
            formats.retain(|format| wanted.contains(format));
        }
        if formats.is_empty() {
            return Err("hips_tile_format names no format of HiPS".to_owned());
        }
        let map = map.filter(|_| properties.frame() == Some(Frame::Equatorial));
        let faces = || (0..Tile::count(0)).filter_map(|face| Tile::new(0, face));
        let coverage = map.or_else(|| Coverage::of_tiles(faces(), 0)).unwrap_or_default();
        Ok(Self { coverage, orders: first..=last, formats })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let formats = self.formats.len() as u64;
        let tiles: u64 = self.orders.clone().map(|order| self.coverage.count(order)).sum();
        2 + formats + formats * tiles
    }

    /// Each key once.
    pub fn keys(&self) -> impl Iterator<Item = String> + Send + '_ {
        let allsky = self.formats.iter().map(|it| SurveyFile::Allsky { order: 3, format: *it });
        let files = [SurveyFile::Properties, SurveyFile::Coverage].into_iter().chain(allsky);
        let tiles = self.orders.clone().flat_map(move |order| {
            let tiles = self.coverage.tiles(order).flatten();
            tiles.filter_map(move |index| Tile::new(order, index))
        });
        let tiles = tiles.flat_map(move |tile| self.formats.iter().map(move |it| tile.path(*it)));
        files.map(SurveyFile::path).chain(tiles)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PROPERTIES: &str = "hips_order = 5\nhips_order_min = 3\nhips_frame = equatorial\n\
                              hips_tile_format = webp fits\n";

    fn keys(properties: &str, filter: SurveyFilter) -> Result<SurveyKeys, String> {
        let cells = [Tile::new(3, 7), Tile::new(5, 12000)].into_iter().flatten();
        let map = Coverage::of_tiles(cells, 5);
        SurveyKeys::new(&Properties::parse(properties.as_bytes()), map, filter)
    }

    #[test]
    fn every_tile_of_the_map_is_named_once_from_the_lowest_order_down() {
        let keys = keys(PROPERTIES, SurveyFilter::default()).unwrap();
        let all: Vec<String> = keys.keys().collect();
        assert_eq!(all.len() as u64, keys.count());
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(
            all[..6],
            [
                "properties",
                "Moc.fits",
                "Norder3/Allsky.webp",
                "Norder3/Allsky.fits",
                "Norder3/Dir0/Npix7.webp",
                "Norder3/Dir0/Npix7.fits",
            ]
        );
        // 2 tiles of order 3, 5 of order 4, 17 of order 5.
        assert_eq!(keys.count(), 4 + 2 * (2 + 5 + 17));
        assert_eq!(all.last().unwrap(), "Norder5/Dir10000/Npix12000.fits");
    }

    #[test]
    fn orders_and_formats_are_narrowed() {
        let filter = SurveyFilter { orders: Some(0..=4), formats: Some(vec![TileFormat::Fits]) };
        let few = keys(PROPERTIES, filter).unwrap();
        assert_eq!(few.count(), 3 + 2 + 5);
        assert!(few.keys().skip(3).all(|key| key.ends_with(".fits")));
        let other =
            SurveyFilter { formats: Some(vec![TileFormat::Png]), ..SurveyFilter::default() };
        assert_eq!(keys(PROPERTIES, other), Err("hips_tile_format does not name png".to_owned()));
        let none = SurveyFilter { orders: Some(8..=9), ..SurveyFilter::default() };
        assert_eq!(keys(PROPERTIES, none).unwrap().count(), 4);
    }

    #[test]
    fn tiles_of_another_frame_are_not_looked_up_in_the_map() {
        let galactic = PROPERTIES.replace("equatorial", "galactic");
        let filter = SurveyFilter { orders: Some(3..=3), ..SurveyFilter::default() };
        assert_eq!(keys(&galactic, filter).unwrap().count(), 4 + 2 * 768);
    }

    #[test]
    fn properties_that_do_not_say_what_there_is_are_an_error() {
        for (properties, error) in [
            ("", "properties has no valid hips_order"),
            ("hips_order = 3\n", "hips_tile_format names no format of HiPS"),
            (
                "hips_cube_depth = 3\n",
                "the tiles of a cube have another layout; name their keys with --list",
            ),
        ] {
            assert_eq!(keys(properties, SurveyFilter::default()), Err(error.to_owned()));
        }
    }
}
