//! Suggestions to try: addresses and commands ready to paste, each with a description.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::gateway::Environment;

/// The bucket of the survey.
pub(crate) const BUCKET: &str = "sky";

/// The text printed after the start. `deep` is order and number of the cell that has tiles of all
/// orders.
pub(crate) fn text(listen: SocketAddr, deep: (u8, u64), environment: &Environment) -> String {
    let (order, cell) = deep;
    let base = format!("http://{listen}/s3proxy/s3/hips@{BUCKET}");
    let tile = format!("{base}/Norder{}/Dir0/Npix{}.png", order + 1, 4 * cell);
    let fits_tile = format!("{base}/intensity/Norder{}/Dir0/Npix{}.fits", order + 1, 4 * cell);
    let pages = [
        (
            format!("{base}/viewer.html"),
            "drag and zoom over the sky; every tile comes through the gateway",
        ),
        (format!("{base}/index.html"), "the front page of the survey"),
        (tile.clone(), "a tile"),
        (format!("{base}/Norder3/Allsky.png"), "thumbnails of all tiles of order 3 in one picture"),
        (
            format!("{base}/properties"),
            "a file without extension; its name determines the media type",
        ),
        (format!("http://{listen}/"), "the page for health probes; it never waits for S3"),
    ];
    let curls = [
        (
            format!("curl -sI {base}/panorama.fits"),
            "HEAD: length, ETag and date of a FITS image of 34 MB",
        ),
        (
            format!("curl -si -r 0-79 {base}/panorama.fits"),
            "a range request: 206, the first card of the FITS header",
        ),
        (format!("curl -sI {fits_tile}"), "a FITS tile of 1,054,080 bytes, as in real surveys"),
        (format!("curl -s {base}/Moc.fits | wc -c"), "the coverage map, a FITS table"),
        (
            format!(
                "curl -sI -H \"If-None-Match: $(curl -sI {tile} | sed -n 's/^etag: //Ip' | tr -d '\\r')\" {tile}"
            ),
            "a conditional request for the same tile: 304",
        ),
        (
            format!("curl -si {base}/Norder4/Dir0/Npix0.png"),
            "404: the survey has order 4 around one nebula only",
        ),
        (format!("curl -si {base}/secret.pem"), "415: the media type is not allowed"),
        (
            format!("curl -si {}", store_url(environment)),
            "a request to the store without the gateway: 403, the bucket is private",
        ),
    ];
    let mut text = String::from("\nOpen in a browser\n");
    for (line, shows) in pages {
        let _ = write!(text, "  {line}\n      {shows}\n");
    }
    text.push_str("\nRun in a shell\n");
    for (line, shows) in curls {
        let _ = write!(text, "  {line}\n      {shows}\n");
    }
    text.push_str(concat!(
        "\nThe viewer is a script in a bucket. Therefore this gateway runs with\n",
        "S3PROXY_CONTENT_SECURITY_POLICY=false; by default browsers block such scripts.\n",
        "\nPress Ctrl-C to stop.",
    ));
    text
}

fn store_url(environment: &Environment) -> String {
    let endpoint = environment.get("S3_ENDPOINT_URL").map_or("", String::as_str);
    format!("{endpoint}/{BUCKET}/properties")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway;

    #[test]
    fn every_address_is_complete_and_no_secret_is_shown() {
        let listen: SocketAddr = "127.0.0.1:8081".parse().unwrap();
        let store: SocketAddr = "127.0.0.1:9000".parse().unwrap();
        let environment = gateway::environment(listen, store, "ACCESSKEY", "SECRETKEY");
        let text = text(listen, (2, 165), &environment);
        for address in [
            "http://127.0.0.1:8081/s3proxy/s3/hips@sky/Norder3/Dir0/Npix660.png\n",
            "http://127.0.0.1:8081/s3proxy/s3/hips@sky/intensity/Norder3/Dir0/Npix660.fits\n",
            "http://127.0.0.1:9000/sky/properties\n",
        ] {
            assert!(text.contains(address), "{address}{text}");
        }
        assert!(!text.contains("ACCESSKEY") && !text.contains("SECRETKEY"));
    }
}
