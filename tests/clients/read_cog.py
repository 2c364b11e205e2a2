"""A window of a Cloud Optimized GeoTIFF at full resolution, and all of it as a thumbnail."""

import rasterio
from rasterio.windows import Window


def read(url, settings):
    with rasterio.Env(**settings), rasterio.open(url) as image:
        return [
            image.read(1, window=Window(1100, 1500, 400, 300)),
            image.read(1, out_shape=(192, 192)),
        ]
