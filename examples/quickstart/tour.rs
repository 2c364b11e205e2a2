//! Suggestions to try: addresses and commands ready to paste, each with a description.

use std::fmt::Write;
use std::path::Path;

use crate::gateway::Addresses;

/// The bucket of the survey.
pub(crate) const BUCKET: &str = "sky";

/// A line to paste, and what it shows.
type Line = (String, &'static str);

/// The text printed after the start. `deep` is order and number of the cell that has tiles of all
/// orders; `config` is the configuration file.
pub(crate) fn text(addresses: Addresses, deep: (u8, u64), config: &Path) -> String {
    let base = format!("http://{}/s3proxy/s3/hips@{BUCKET}", addresses.listen);
    let mut text = String::new();
    for (title, lines) in [
        ("Open in a browser", pages(addresses, &base, deep)),
        ("Run in a shell", shell(addresses, &base, deep)),
        ("Operate it, in a second terminal in this folder", commands(&base, deep, config)),
    ] {
        let _ = write!(text, "\n{title}\n");
        for (line, shows) in lines {
            let _ = write!(text, "  {line}\n      {shows}\n");
        }
    }
    let _ = write!(
        text,
        "\nCORS is on: Aladin Lite on any page opens the surveys by these URLs, without a slash at the end\n  \
         {base}\n  {base}/intensity\n\nPress Ctrl-C to stop.",
    );
    text
}

/// The path of a tile of the order below the deep cell.
fn tile((order, cell): (u8, u64), extension: &str) -> String {
    format!("Norder{}/Dir0/Npix{}.{extension}", order + 1, 4 * cell)
}

fn pages(addresses: Addresses, base: &str, deep: (u8, u64)) -> Vec<Line> {
    vec![
        (
            format!("{base}/"),
            "the viewer of the survey: drag and zoom; every tile comes through the gateway",
        ),
        (format!("{base}/panorama.fits"), "the header and the picture of a FITS file of 34 MB"),
        (format!("{base}/Norder3/"), "a listing: a folder of the bucket"),
        (format!("http://{}/", addresses.admin), "the status page for operators, live"),
        (format!("{base}/index.html"), "the front page of the survey"),
        (format!("{base}/{}", tile(deep, "png")), "a tile"),
        (format!("{base}/Norder3/Allsky.png"), "thumbnails of all tiles of order 3 in one picture"),
        (
            format!("{base}/properties"),
            "a file without extension; its name determines the media type",
        ),
        (
            format!("http://{}/", addresses.listen),
            "the landing page; health probes get JSON, and never wait for S3",
        ),
    ]
}

fn shell(addresses: Addresses, base: &str, deep: (u8, u64)) -> Vec<Line> {
    let tile_url = format!("{base}/{}", tile(deep, "png"));
    vec![
        (
            format!("for n in 1 2; do curl -sI {tile_url} | grep -i cache-status; done"),
            "a miss, unless you have looked at this tile, then a hit in memory",
        ),
        (
            format!("curl -si -r 0-79 {base}/panorama.fits"),
            "a range request: 206, the first card of the FITS header",
        ),
        (
            format!("curl -sI {base}/panorama.fits"),
            "HEAD: length, ETag and date of a FITS image of 34 MB",
        ),
        (
            format!("curl -sI {base}/intensity/{}", tile(deep, "fits")),
            "a FITS tile of 1,054,080 bytes, as in real surveys",
        ),
        (format!("curl -s {base}/Moc.fits | wc -c"), "the coverage map, a FITS table"),
        (format!("curl -s '{base}/Norder3/?format=json'"), "the listing as JSON"),
        (
            format!(
                "curl -sI -H 'Origin: https://viewer.example.org' {tile_url} | grep -i ^access"
            ),
            "CORS: a page of another host may read the tile",
        ),
        (
            format!(
                "curl -sI -H \"If-None-Match: $(curl -sI {tile_url} | sed -n 's/^etag: //Ip' | tr -d '\\r')\" {tile_url}"
            ),
            "a conditional request for the same tile: 304",
        ),
        (
            format!("curl -si {base}/Norder4/Dir0/Npix0.png"),
            "404: the survey has order 4 around one nebula only",
        ),
        (format!("curl -si {base}/secret.pem"), "415: the media type is not allowed"),
        (
            format!("curl -si http://{}/{BUCKET}/properties", addresses.store),
            "a request to the store without the gateway: 403, the bucket is private",
        ),
        (
            format!("curl -s http://{}/metrics | grep ^s3proxy_requests", addresses.admin),
            "metrics for Prometheus",
        ),
    ]
}

fn commands(base: &str, deep: (u8, u64), config: &Path) -> Vec<Line> {
    let run = |command: &str, rest: &str| {
        let config = config.display();
        // By the example: `cargo run --release --bin s3proxy` would build half of the crates again, with other features.
        format!(
            "cargo run -q --release --example quickstart -- s3proxy {command} --config {config} {rest}"
        )
        .trim_end()
        .to_owned()
    };
    let tile = tile(deep, "png");
    vec![
        (
            run("check", &format!("hips@{BUCKET}/{tile}")),
            "check: each step to the store, with a verdict; without an object all profiles",
        ),
        (
            run("explain", &format!("{base}/{tile}")),
            "explain: how this URL is handled: key, cached copy, the signed request, the answer",
        ),
        (run("status", ""), "the status page in a terminal; --watch keeps it up to date"),
        (run("purge", &format!("hips@{BUCKET}/")), "purge: remove the bucket from the cache"),
        (run("config", ""), "every setting that is in force, and where it is set"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_complete() {
        let [listen, admin, store] =
            [8081, 9090, 9000].map(|port| std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        let text =
            text(Addresses { listen, admin, store }, (2, 165), Path::new("/tmp/x/s3proxy.yaml"));
        for line in [
            "http://127.0.0.1:8081/s3proxy/s3/hips@sky/Norder3/Dir0/Npix660.png\n",
            "http://127.0.0.1:8081/s3proxy/s3/hips@sky/intensity/Norder3/Dir0/Npix660.fits\n",
            "http://127.0.0.1:9000/sky/properties\n",
            "-- s3proxy check --config /tmp/x/s3proxy.yaml hips@sky/Norder3/Dir0/Npix660.png\n",
            "-- s3proxy status --config /tmp/x/s3proxy.yaml\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
