"""The files that programs read, larger than the largest object that is cached whole, the same in every
run; and what each program must print."""

import hashlib
import subprocess

import numpy
import polars
from numpy.random import default_rng
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer

import client
import seeks

WHOLE = 64 * 2**20
# What read_map.mjs reads.
TILES = [
    (zoom, x, y)
    for zoom, left, top in [(4, 6, 9), (5, 13, 19)]
    for x in range(left, left + 3)
    for y in (top, top + 1)
]
PAGES, PAGE = 100, 60


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def whole(path, version=0):
    """A file of which every byte is noise, another one in each version."""
    content = default_rng([5, version]).bytes(WHOLE)
    path.write_bytes(content)
    return content


def page_of_book(number):
    """A plot of 12,000 points and a line of text: 300 KB."""
    random, row = default_rng([6, number]), b"100.000000 100.000000 m\n"
    rows = numpy.tile(numpy.frombuffer(row, "uint8"), (12_000, 1))
    for places in slice(1, 3), slice(4, 10), slice(12, 14), slice(15, 21):
        digits = rows[:, places]
        digits += random.integers(0, 10, digits.shape, "uint8")
    text = f"BT /F1 12 Tf 50 800 Td (This is page {number}.) Tj ET\n"
    return text + rows.tobytes().decode()


def references(numbers):
    return " ".join(f"{number} 0 R" for number in numbers)


def book(path):
    """A PDF as most programs write it: not linearised, with the table of its objects at the end."""
    # The catalogue, the font, a tree of pages in tens as TeX makes it, and then the pages, each before
    # its plot.
    first = 4 + PAGES // 10
    page_at = [first + 2 * page for page in range(PAGES)]
    objects = [
        "<< /Type /Catalog /Pages 3 0 R >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Type /Pages /Kids [{references(range(4, first))}] /Count {PAGES} >>",
    ]
    for start in range(0, PAGES, 10):
        kids = references(page_at[start : start + 10])
        objects.append(f"<< /Type /Pages /Parent 3 0 R /Kids [{kids}] /Count 10 >>")
    for page, place in enumerate(page_at):
        parts = f"/Contents {place + 1} 0 R /Resources << /Font << /F1 2 0 R >> >>"
        parts += f" /Parent {4 + page // 10} 0 R /MediaBox [0 0 595 842]"
        content = page_of_book(page + 1)
        objects.append(f"<< /Type /Page {parts} >>")
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    with path.open("wb") as file:
        file.write(b"%PDF-1.7\n")
        places = []
        for number, content in enumerate(objects, 1):
            places.append(file.tell())
            file.write(b"%d 0 obj\n%b\nendobj\n" % (number, content.encode()))
        table = file.tell()
        file.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
        file.writelines(b"%010d 00000 n \n" % place for place in places)
        file.write(b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1))
        file.write(b"startxref\n%d\n%%%%EOF\n" % table)
    return f"This is page {PAGE}.\n".encode()


def film(path):
    """A minute of noise over a test picture; its index is at the end, where ffmpeg writes it."""
    picture = "testsrc2=size=320x240:rate=10:duration=60,noise=alls=40:allf=t:all_seed=1"
    codec = ["-c:v", "mpeg4", "-q:v", "3", "-g", "10", "-threads", "1", "-bitexact"]
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, *codec, path]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def table(path):
    """Ten columns of 600,000 numbers, in six groups of rows."""
    values = default_rng(7).integers(0, 2**40, (10, 600_000))
    columns = {f"c{number}": column for number, column in enumerate(values)}
    polars.DataFrame(columns).write_parquet(path, row_group_size=100_000, compression="uncompressed")
    return [len(values[3]), int(values[3].sum())]


def tiles(path):
    """Six levels of tiles of 20 to 50 kB."""
    random, content = default_rng(8), {}
    for place in [(zoom, x, y) for zoom in range(6) for x in range(2**zoom) for y in range(2**zoom)]:
        content[zxy_to_tileid(*place)] = random.bytes(int(random.integers(20_000, 50_000)))
    with path.open("wb") as file:
        writer = Writer(file)
        for place in sorted(content):
            writer.write_tile(place, content[place])
        header = {"tile_type": TileType.PNG, "tile_compression": Compression.NONE}
        header |= {"min_lon_e7": -1_800_000_000, "max_lon_e7": 1_800_000_000}
        header |= {"min_lat_e7": -850_000_000, "max_lat_e7": 850_000_000}
        header |= {"center_zoom": 0, "center_lon_e7": 0, "center_lat_e7": 0}
        writer.finalize(header, {"name": "noise"})
    return b"".join(content[zxy_to_tileid(*place)] for place in TILES)


def ranges(content):
    """What read_curl.sh reads."""
    length = 2**18
    starts = [0, 20_000_000, 40_000_000, len(content) - length]
    return b"".join(content[start : start + length] for start in starts)


def printed(script, path):
    """What ffmpeg's programs print of the file itself."""
    command = ["bash", script, path]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout


def make(bucket, scripts):
    """Makes all files in this folder; returns the digest of what each of these scripts must print, by its
    name."""
    content = whole(bucket / "whole.bin")
    film(bucket / "film.mp4")
    sums = client.digest(table(bucket / "table.parquet"))
    found = {
        "read_wget.sh": content,
        "read_wget_resumed.sh": content,
        "read_curl_parallel.sh": content,
        "read_curl.sh": ranges(content),
        "read_pdf.mjs": book(bucket / "book.pdf"),
        "read_map.mjs": tiles(bucket / "map.pmtiles"),
    }
    for name in "read_ffprobe.sh", "read_ffmpeg.sh":
        found[name] = printed(scripts / name, bucket / "film.mp4")
    sought = [content[start : start + seeks.LENGTH] for start in seeks.STARTS]
    digests = {"read_duckdb.py": sums, "read_polars.py": sums, "seeks.py": client.digest(sought)}
    return {name: sha256(content) for name, content in found.items()} | digests
