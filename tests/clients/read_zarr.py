"""A window of an array in a Zarr group, of format 2 or 3, in plain chunks or in shards."""

import zarr


def read(url, options):
    group = zarr.open_group(url, mode="r", storage_options=options)
    return group["flux"][700:900, 1100:1400]
