//! A record of a list of surveys (HiPS 1.0, section 5.2): what a node of the HiPS network publishes about each.

use crate::survey::Properties;

/// The keywords that a record must have besides `hips_service_url`.
const REQUIRED: [&str; 3] = ["creator_did", "hips_release_date", "hips_status"];
/// Those that clients show and choose by, where a survey has them.
const SHOWN: [&str; 9] = [
    "obs_title",
    "dataproduct_type",
    "client_category",
    "hips_frame",
    "hips_order",
    "hips_order_min",
    "hips_tile_format",
    "moc_sky_fraction",
    "obs_regime",
];

/// The record of a survey with these properties at this URL: one `keyword = value` a line.
///
/// # Errors
/// The required keywords that have no value.
pub fn hips_list_record(properties: &Properties, url: &str) -> Result<String, Vec<&'static str>> {
    let missing: Vec<&str> =
        REQUIRED.into_iter().filter(|keyword| properties.get(keyword).is_none()).collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let value = |keyword: &'static str| Some((keyword, properties.get(keyword)?));
    let required = REQUIRED.into_iter().filter_map(value);
    let shown = SHOWN.into_iter().filter_map(value);
    let all = required.chain([("hips_service_url", url)]).chain(shown);
    Ok(all.map(|(keyword, value)| format!("{keyword:<20} = {}\n", plain(value))).collect())
}

/// One line, whatever the file has.
fn plain(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_what_the_standard_requires_and_the_url_of_the_gateway() {
        let text = "hips_service_url = http://elsewhere/\nhips_status = public mirror clonable\n\
                    creator_did = ivo://x/P/y\nobs_title = A\x0bB\nhips_release_date = 2025-07-01T12:00Z\n\
                    hips_order = 9\nprivate = 1\n";
        let record = hips_list_record(&Properties::parse(text.as_bytes()), "https://h/s3/sky/y");
        assert_eq!(
            record.as_deref(),
            Ok("creator_did          = ivo://x/P/y\n\
                hips_release_date    = 2025-07-01T12:00Z\n\
                hips_status          = public mirror clonable\n\
                hips_service_url     = https://h/s3/sky/y\n\
                obs_title            = A B\n\
                hips_order           = 9\n")
        );
        let none = hips_list_record(&Properties::parse(b"hips_status = public\n"), "x");
        assert_eq!(none, Err(vec!["creator_did", "hips_release_date"]));
    }
}
