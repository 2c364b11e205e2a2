"""Coverage maps for the tests, by an independent writer: mocpy (pip install mocpy==0.21.0).

python3 tests/surveys/make_maps.py writes tests/surveys/maps/: each map in the encodings RANGE and NUNIQ, and
NAME.txt with, for each order, how many cells of it the map touches, and the sum of their indices.
"""

import pathlib

import numpy
from mocpy import MOC

FOLDER = pathlib.Path(__file__).parent / "maps"
random = numpy.random.default_rng(18)


def patches(order, share):
    cells = random.choice(12 * 4**order, int(12 * 4**order * share), replace=False)
    return MOC.from_healpix_cells(cells.astype("uint64"), numpy.uint8(order), numpy.uint8(order))


MAPS = {
    "few": MOC.from_string("3/0 5-7 400 4/1000-1003 2000 5/12000 12287"),
    "patches": patches(4, 0.2).union(patches(6, 0.002)),
    "all": MOC.from_string("0/0-11"),
    "deep": MOC.from_string("29/0 17 3458764513820540927"),
}

FOLDER.mkdir(exist_ok=True)
for name, coverage in MAPS.items():
    coverage.save(FOLDER / f"{name}.range.fits", overwrite=True)
    coverage.save(FOLDER / f"{name}.nuniq.fits", overwrite=True, v1_compatible=True)
    with open(FOLDER / f"{name}.txt", "w") as table:
        for order in range(min(coverage.max_order, 8) + 1):
            cells = coverage.to_order(order).flatten()
            print(order, len(cells), sum(int(cell) for cell in cells), file=table)
