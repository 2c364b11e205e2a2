"""The reads of each client, and the limits on requests and bytes that may reach the store."""

import dataclasses

MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Case:
    """`requests`, of any method, and `mib` of bodies are the most that a cold read may cost the
    store. A warm one may cost it nothing."""

    client: str
    reads: str
    module: str
    key: str
    requests: int
    mib: float
    # Beside the headers, or the keys.
    http_options: dict = dataclasses.field(default_factory=dict)
    s3_options: dict = dataclasses.field(default_factory=dict)

    @property
    def gdal(self):
        """GDAL has URLs and options of its own; all others take fsspec's."""
        return self.module == "read_cog"


STEPS = {"block_size": 64 * 1024, "cache_type": "bytes"}
S3_STEPS = {f"default_{name}": value for name, value in STEPS.items()}
ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
TOGETHER = {**ALONE, "GDAL_HTTP_MULTIRANGE": "SINGLE_GET"}

CASES = [
    # 22 blocks in long stretches: the gateway may read ahead up to 8 MiB.
    Case("astropy", "64 x 64 pixels of the fifth of nine images", "read_fits", "mosaic.fits", 8, 30),
    # Five headers 4 MiB apart, the pixels in a sixth block, and one read ahead of these.
    Case("astropy, steps of 64 KiB", "the same", "read_fits", "mosaic.fits", 10, 1, STEPS, S3_STEPS),
    # 12 blocks: the whole file.
    Case("astropy, tile-compressed", "the same", "read_fits", "mosaic.fits.fz", 8, 12),
    # Two of the five are in one block.
    Case("fsspec `cat_ranges`", "5 x 100 bytes at once", "read_ranges", "plain.bin", 5, 4),
    # A HEAD; headers, an overview and pixels in a block each.
    Case("rasterio", "400 x 300 pixels, a thumbnail", "read_cog", "image.tif", 5, 1.5, ALONE, ALONE),
    # The same; the pixels in two ranges of one GET.
    Case("rasterio, `SINGLE_GET`", "the same", "read_cog", "image.tif", 5, 1.5, TOGETHER, TOGETHER),
    # Nine more HEAD, for files that are not there.
    Case("rasterio, defaults of GDAL", "the same", "read_cog", "image.tif", 14, 1.5),
    # Small objects, whole; four keys that are not there.
    Case("zarr", "200 x 300 values, one chunk missing", "read_zarr", "chunks.zarr", 9, 1.6),
    Case("zarr, format 2", "the same", "read_zarr", "chunks2.zarr", 11, 1.5),
    # The ends of two shards, and in them four blocks; two small objects, three missing ones.
    Case("zarr, shards", "200 x 300 values", "read_zarr", "shards.zarr", 10, 4.1),
    # The directory and two tiles in the first block, two tiles in another.
    Case("pmtiles", "four tiles of 5461", "read_pmtiles", "tiles.pmtiles", 6, 0.1),
]
