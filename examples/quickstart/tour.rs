//! Suggestions to try: addresses and commands ready to paste, each with a description.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::gateway::Environment;

/// The bucket of the survey.
pub(crate) const BUCKET: &str = "sky";

/// The text printed after the start. `deep` is order and number of the cell that has tiles of all
/// orders.
pub(crate) fn text(
    (listen, admin): (SocketAddr, SocketAddr),
    deep: (u8, u64),
    environment: &Environment,
) -> String {
    let (order, cell) = deep;
    let base = format!("http://{listen}/s3proxy/s3/hips@{BUCKET}");
    let tile = format!("{base}/Norder{}/Dir0/Npix{}.png", order + 1, 4 * cell);
    let fits_tile = format!("{base}/intensity/Norder{}/Dir0/Npix{}.fits", order + 1, 4 * cell);
    let pages = [
        (
            format!("{base}/"),
            "the viewer of the survey: drag and zoom; every tile comes through the gateway",
        ),
        (format!("{base}/panorama.fits"), "the header and the picture of a FITS file of 34 MB"),
        (format!("{base}/Norder3/"), "a folder of the bucket"),
        (format!("http://{admin}/"), "the status page for operators, live"),
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
            format!("curl -sI {tile} | grep -i cache-status"),
            "from the store the first time, from memory the second time",
        ),
        (format!("curl -s -X PURGE http://{admin}/hips@{BUCKET}/"), "remove it all from the cache"),
        (format!("curl -s http://{admin}/metrics | grep hits"), "metrics for Prometheus"),
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
    let _ = write!(
        text,
        "\nIn Aladin Lite, open the survey by the URL {base}/\n\nPress Ctrl-C to stop.",
    );
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
        let admin: SocketAddr = "127.0.0.1:9090".parse().unwrap();
        let config = std::path::Path::new("s3proxy.yaml");
        let addresses = (listen, admin);
        let environment = gateway::environment(addresses, config, store, "ACCESSKEY", "SECRETKEY");
        let text = text(addresses, (2, 165), &environment);
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
