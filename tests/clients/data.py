"""The files that are read, made by the clients' own libraries, the same in every run; and the data that a
reader must find in them, taken from the arrays they were made of."""

import numpy
import rasterio
import zarr
from astropy.io import fits
from numpy.random import default_rng
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer
from rasterio.windows import Window
from zarr.storage import LocalStore

import read_pmtiles
import read_ranges


def noise(seed, *shape):
    """Counts of a camera: most bits of them are noise, which does not compress."""
    return default_rng(seed).normal(1000, 200, shape)


def fits_images(path, compressed):
    """Nine images of 1024 x 1024; plain, each is 4 MiB."""
    chips = [noise(seed, 1024, 1024) for seed in range(9)]
    chips = [chip.astype("int32" if compressed else "float32") for chip in chips]
    image = fits.CompImageHDU if compressed else fits.ImageHDU
    hdus = [image(chip, name=f"CHIP{number}") for number, chip in enumerate(chips)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return chips[4][300:364, 400:464]


def plain(path):
    content = default_rng(1).bytes(24_000_000)
    path.write_bytes(content)
    return [content[start : start + read_ranges.LENGTH] for start in read_ranges.STARTS]


def cog(path):
    """A Cloud Optimized GeoTIFF of 3072 x 3072 with its overviews."""
    pixels = noise(2, 3072, 3072).astype("uint16")
    profile = {"driver": "COG", "width": 3072, "height": 3072, "count": 1, "dtype": "uint16"}
    place = rasterio.transform.from_origin(10, 50, 0.001, 0.001)
    options = {"blocksize": 512, "compress": "deflate", "crs": "EPSG:4326", "transform": place}
    with rasterio.open(path, "w", **profile, **options) as image:
        image.write(pixels, 1)
    with rasterio.open(path) as image:
        if not numpy.array_equal(image.read(1), pixels):
            raise AssertionError("the image differs from the array it was made of")
        # GDAL computes the overviews itself.
        return [
            image.read(1, window=Window(1100, 1500, 400, 300)),
            image.read(1, out_shape=(192, 192)),
        ]


def zarr_group(path, zarr_format, shards=None):
    """An array of 2400 x 2400, one of whose chunks is not there: it holds nothing but fill values."""
    flux = noise(3, 2400, 2400).astype("float32")
    flux[800:1200, 1200:1600] = 0
    group = zarr.create_group(LocalStore(path), zarr_format=zarr_format)
    array = group.create_array(
        "flux", shape=flux.shape, dtype=flux.dtype, chunks=(400, 400), shards=shards, fill_value=0
    )
    array[:] = flux
    return flux[700:900, 1100:1400]


def pmtiles(path):
    """Seven zoom levels of tiles of 1 to 9 kB."""
    random, tiles = default_rng(4), {}
    for zoom in range(7):
        for x in range(2**zoom):
            for y in range(2**zoom):
                tiles[zoom, x, y] = random.bytes(int(random.integers(1000, 9000)))
    with path.open("wb") as file:
        writer = Writer(file)
        for place in sorted(tiles, key=lambda place: zxy_to_tileid(*place)):
            writer.write_tile(zxy_to_tileid(*place), tiles[place])
        header = {"tile_type": TileType.PNG, "tile_compression": Compression.NONE}
        header |= {"min_lon_e7": -1_800_000_000, "max_lon_e7": 1_800_000_000}
        header |= {"min_lat_e7": -850_000_000, "max_lat_e7": 850_000_000}
        header |= {"center_zoom": 0, "center_lon_e7": 0, "center_lat_e7": 0}
        writer.finalize(header, {"name": "noise"})
    return [tiles[place] for place in read_pmtiles.TILES]


def make(bucket):
    """Makes all files in this folder; returns the expected data by key."""
    return {
        "mosaic.fits": fits_images(bucket / "mosaic.fits", compressed=False),
        "mosaic.fits.fz": fits_images(bucket / "mosaic.fits.fz", compressed=True),
        "plain.bin": plain(bucket / "plain.bin"),
        "image.tif": cog(bucket / "image.tif"),
        "chunks.zarr": zarr_group(bucket / "chunks.zarr", zarr_format=3),
        "chunks2.zarr": zarr_group(bucket / "chunks2.zarr", zarr_format=2),
        "shards.zarr": zarr_group(bucket / "shards.zarr", zarr_format=3, shards=(2400, 1200)),
        "tiles.pmtiles": pmtiles(bucket / "tiles.pmtiles"),
    }
