//! The texts of the survey: `properties` and the pages for a browser.

use super::healpix::Direction;
use super::{DEEP_ORDER, FITS_WIDTH, FULL_ORDER, Piece, Publish, WIDTH, sky};

/// Publishes the texts.
pub(crate) fn publish_all(publish: Publish<'_>) {
    let page = |key: &str, text: &str| Piece {
        key: key.to_owned(),
        content_type: "text/html",
        body: text.as_bytes().to_vec(),
    };
    publish(page("index.html", include_str!("pages/index.html")));
    publish(properties("properties", &colour()));
    publish(properties("intensity/properties", &intensity()));
}

/// HiPS 1.0, section 4.4.1: one `keyword = value` a line.
fn properties(key: &str, lines: &[(&str, String)]) -> Piece {
    let text: String =
        lines.iter().map(|(name, value)| format!("{name:<20} = {value}\n")).collect();
    Piece { key: key.to_owned(), content_type: "text/plain", body: text.into_bytes() }
}

fn colour() -> Vec<(&'static str, String)> {
    let mut lines = common("a computed sky", "ivo://example/P/computed-sky");
    lines.extend([
        ("hips_order", DEEP_ORDER.to_string()),
        ("hips_order_min", "0".to_owned()),
        ("hips_tile_width", WIDTH.to_string()),
        ("hips_tile_format", "png".to_owned()),
        ("dataproduct_subtype", "color".to_owned()),
        ("moc_sky_fraction", "1".to_owned()),
    ]);
    lines
}

fn intensity() -> Vec<(&'static str, String)> {
    let mut lines = common("a computed sky, intensity", "ivo://example/P/computed-sky/intensity");
    lines.extend([
        ("hips_order", FULL_ORDER.to_string()),
        ("hips_order_min", FULL_ORDER.to_string()),
        ("hips_tile_width", FITS_WIDTH.to_string()),
        ("hips_tile_format", "fits".to_owned()),
        ("hips_pixel_bitpix", "-32".to_owned()),
        ("hips_pixel_cut", "0 1".to_owned()),
        ("moc_sky_fraction", format!("{:.6}", 1.0 / 192.0)),
    ]);
    lines
}

fn common(title: &str, id: &str) -> Vec<(&'static str, String)> {
    let [x, y, z]: Direction = sky::great_nebula();
    let right_ascension = y.atan2(x).to_degrees().rem_euclid(360.0);
    vec![
        ("creator_did", id.to_owned()),
        ("obs_title", title.to_owned()),
        ("obs_description", "computed from noise; it shows nothing that exists".to_owned()),
        ("dataproduct_type", "image".to_owned()),
        ("hips_version", "1.4".to_owned()),
        ("hips_status", "private master clonable".to_owned()),
        ("hips_release_date", "2025-07-01T12:00Z".to_owned()),
        ("hips_frame", "equatorial".to_owned()),
        ("hips_initial_ra", format!("{right_ascension:.4}")),
        ("hips_initial_dec", format!("{:.4}", z.asin().to_degrees())),
        ("hips_initial_fov", "60".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_properties_is_a_keyword_and_a_value() {
        for lines in [colour(), intensity()] {
            let text = String::from_utf8(properties("properties", &lines).body).unwrap();
            let keywords: Vec<&str> =
                text.lines().map(|line| line.split_once('=').unwrap().0.trim()).collect();
            // What section 4.4.1 requires.
            for required in [
                "creator_did",
                "obs_title",
                "dataproduct_type",
                "hips_version",
                "hips_release_date",
                "hips_status",
                "hips_tile_format",
                "hips_order",
                "hips_frame",
            ] {
                assert!(keywords.contains(&required), "{required}");
            }
        }
    }
}
