"""A cut-out of one image of a FITS file that holds many, plain or tile-compressed."""

from astropy.io import fits


def read(url, options):
    with fits.open(url, use_fsspec=True, fsspec_kwargs=options) as hdus:
        return hdus["CHIP4"].section[300:364, 400:464]
