"""Stretches of a file of any kind, all at once."""

import fsspec

STARTS = [0, 5_000_000, 5_000_100, 12_345_678, 20_000_000]
LENGTH = 100


def read(url, options):
    filesystem, path = fsspec.url_to_fs(url, **options)
    ends = [start + LENGTH for start in STARTS]
    return filesystem.cat_ranges([path] * len(STARTS), STARTS, ends)
