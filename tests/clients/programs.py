"""The reads of programs beside the same reads from nginx, which serves the same files, and the limits
on what they may cost the store."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Program:
    """A cold read may cost the store `requests`, of any method, and `ratio` times the bytes of bodies
    that nginx sends to the same client. A warm one may cost it `warm` requests, normally none."""

    client: str
    reads: str
    script: str
    key: str
    requests: int
    ratio: float = 1.5
    # It leaves responses in the middle: on a busy machine a later read may come to a byte that was not cached.
    warm: int = 0
    # The file is overwritten while it is read: what arrives must be the old version, whole.
    overwritten: bool = False


WGET, CURL = "read_wget.sh", "read_curl.sh"

# Requests: of readers of a whole file one, where they ask once; of the others, as many as nginx gets from
# them, and some more where they ask for all the rest and leave: how much they read is not known before. Ratios
# above 1.5 are of those, too: a receive window of loopback, whose segments have 64 KiB, may grow by 1 MiB at once.
PROGRAMS = [
    Program("wget", "the whole file", WGET, "whole.bin", 1),
    Program("wget, overwritten", "the same, overwritten meanwhile", WGET, "changed.bin", 1, overwritten=True),
    Program("wget, resumed", "20 MB, then the rest", "read_wget_resumed.sh", "whole.bin", 4),
    Program("curl", "four ranges of 256 KiB", CURL, "whole.bin", 5),
    Program("curl, parallel", "eight ranges at once", "read_curl_parallel.sh", "whole.bin", 10),
    Program("seeks", "ten times 1000 bytes of `bytes=N-`", "seeks.py", "whole.bin", 12, ratio=2.5, warm=2),
    Program("pdf.js", "one page of 100", "read_pdf.mjs", "book.pdf", 26, ratio=2, warm=1),
    Program("ffprobe", "duration and streams", "read_ffprobe.sh", "film.mp4", 6, ratio=5, warm=1),
    Program("ffmpeg", "one frame from the middle", "read_ffmpeg.sh", "film.mp4", 8, ratio=4, warm=1),
    Program("DuckDB", "a sum over one column of ten", "read_duckdb.py", "table.parquet", 10),
    Program("polars", "the same", "read_polars.py", "table.parquet", 9),
    Program("pmtiles, JavaScript", "twelve tiles of two levels", "read_map.mjs", "map.pmtiles", 13),
]
