//! A small computed HiPS survey: full sky at orders 0 to 3, deeper around one nebula, and the files
//! that accompany surveys.
//!
//! HiPS 1.0, <https://www.ivoa.net/documents/HiPS/20170519/>. The same bytes in every run on
//! one machine.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pictures are arithmetic between floats, pixels and bytes, of values known to fit"
)]

mod fits;
mod healpix;
mod image;
mod noise;
mod pages;
mod preview;
mod sky;
mod stars;
mod tile;
mod work;

use std::io;

use healpix::{Cell, FACES, FacePoint};
use image::Image;
use sky::Sky;
use stars::{Catalogue, Star, bright_stars, faint_stars};

/// One file of the survey.
pub(crate) struct Piece {
    /// The object's key: the path below the root of the survey.
    pub(crate) key: String,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

/// Receives the files as they are made, from several threads at once.
pub(crate) type Publish<'a> = &'a (dyn Fn(Piece) + Sync);

/// Sides of a tile of a picture and of a FITS tile, pixels.
const WIDTH: usize = 256;
const FITS_WIDTH: usize = 512;
/// The deepest order of the whole sky, and of the part around the nebula.
const FULL_ORDER: u8 = 3;
const DEEP_ORDER: u8 = 5;
/// Stars of the whole sky, in portions for the threads.
const STAR_PORTIONS: u64 = 16;
const STARS_IN_PORTION: usize = 15_000;
/// The side of a picture of a tile in `Allsky.png`, pixels.
const THUMBNAIL: usize = 64;
/// The panorama, pixels.
const PANORAMA: (usize, usize) = (4096, 2048);

/// The cell of order 2 around the great nebula, within which the survey goes deepest.
pub(crate) fn deep_cell() -> (u8, u64) {
    let cell = deep();
    (cell.order, cell.index)
}

fn deep() -> Cell {
    Cell::at(FULL_ORDER - 1, FacePoint::of(sky::great_nebula()))
}

/// Makes the survey with this number of threads.
///
/// # Errors
/// When a picture cannot be written as PNG.
pub(crate) fn generate(threads: usize, publish: Publish<'_>) -> io::Result<()> {
    let sky = Sky::new();
    let portions = work::share(threads, STAR_PORTIONS, |portion| {
        Ok::<_, io::Error>(bright_stars(portion, STARS_IN_PORTION))
    })?;
    let stars = portions.concat();
    let near = stars.iter().filter(|star| deep() == Cell::at(2, FacePoint::of(star.direction)));
    let near: Vec<Star> = near.cloned().collect();
    let stars = Catalogue::new(stars, FULL_ORDER, WIDTH);

    // Subtrees from order 1 down: small enough to distribute, and with few roots.
    let roots = work::share(threads, Cell::count(1), |index| {
        let mut thumbnails = Vec::new();
        let root = subtree(&sky, &stars, Cell { order: 1, index }, publish, &mut thumbnails)?;
        Ok::<_, io::Error>((root, thumbnails))
    })?;
    for (face, quarters) in (0..FACES).zip(roots.chunks(4)) {
        if let [(south, _), (east, _), (west, _), (north, _)] = quarters {
            let face = Cell { order: 0, index: face };
            let picture = tile::joined(&[south.clone(), east.clone(), west.clone(), north.clone()]);
            publish(png(tile::key(face, "png"), &picture)?);
        }
    }
    // Depth first, so the thumbnails are in the order of the cells.
    let thumbnails: Vec<Image> = roots.into_iter().flat_map(|(_, images)| images).collect();
    publish(png("Norder3/Allsky.png".to_owned(), &allsky(&thumbnails))?);
    publish(png("preview.png".to_owned(), &preview::mollweide(&thumbnails, FULL_ORDER, threads)?)?);
    drop(thumbnails);

    for order in FULL_ORDER + 1..=DEEP_ORDER {
        let first = deep().index << (2 * (order - deep().order));
        let count = 1 << (2 * (order - deep().order));
        let faint = faint_stars(4_000 << (2 * (order - FULL_ORDER)), deep());
        let stars = Catalogue::new([near.clone(), faint].concat(), order, WIDTH);
        work::share(threads, count, |n| {
            let cell = Cell { order, index: first + n };
            publish(png(tile::key(cell, "png"), &tile::picture(&sky, &stars, cell, WIDTH))?);
            Ok::<_, io::Error>(())
        })?;
    }

    let thumbnails = work::share(threads, 4, |n| {
        let Some(cell) = deep().children().into_iter().nth(n as usize) else { return Ok(None) };
        let values = tile::brightness(&sky, cell, FITS_WIDTH);
        let body = fits::tile(cell, FITS_WIDTH, &values);
        let key = format!("intensity/{}", tile::key(cell, "fits"));
        publish(Piece { key, content_type: "image/fits", body });
        let thumbnail = fits::shrunk(&values, FITS_WIDTH, FITS_WIDTH / THUMBNAIL);
        Ok::<_, io::Error>(Some((cell.index, thumbnail)))
    })?;
    let thumbnails: Vec<_> = thumbnails.into_iter().flatten().collect();
    let body = fits::allsky(FULL_ORDER, THUMBNAIL, &thumbnails);
    let key = format!("intensity/Norder{FULL_ORDER}/Allsky.fits");
    publish(Piece { key, content_type: "image/fits", body });
    let (width, height) = PANORAMA;
    let body = fits::panorama(width, height, &preview::panorama(&sky, width, height, threads)?);
    publish(Piece { key: "panorama.fits".to_owned(), content_type: "image/fits", body });

    let faces: Vec<Cell> = (0..FACES).map(|index| Cell { order: 0, index }).collect();
    publish(coverage("Moc.fits", &faces));
    publish(coverage("intensity/Moc.fits", &[deep()]));
    pages::publish_all(publish);
    Ok(())
}

/// The files of [`generate`] that `s3proxy check --hips` reads, with blank pictures.
///
/// # Errors
/// As [`generate`].
#[cfg(test)]
pub(crate) fn outline(publish: Publish<'_>) -> io::Result<()> {
    let blank = Image::new(WIDTH, WIDTH);
    for order in 0..=DEEP_ORDER {
        let deep = deep();
        let cells = if order <= FULL_ORDER {
            0..Cell::count(order)
        } else {
            let shift = 2 * (order - deep.order);
            deep.index << shift..(deep.index + 1) << shift
        };
        for index in cells {
            publish(png(tile::key(Cell { order, index }, "png"), &blank)?);
        }
    }
    publish(png("Norder3/Allsky.png".to_owned(), &blank)?);
    let values = vec![0.0; FITS_WIDTH * FITS_WIDTH];
    for cell in deep().children() {
        let body = fits::tile(cell, FITS_WIDTH, &values);
        let key = format!("intensity/{}", tile::key(cell, "fits"));
        publish(Piece { key, content_type: "image/fits", body });
    }
    let body = fits::allsky(FULL_ORDER, THUMBNAIL, &[]);
    let key = format!("intensity/Norder{FULL_ORDER}/Allsky.fits");
    publish(Piece { key, content_type: "image/fits", body });
    let faces: Vec<Cell> = (0..FACES).map(|index| Cell { order: 0, index }).collect();
    publish(coverage("Moc.fits", &faces));
    publish(coverage("intensity/Moc.fits", &[deep()]));
    pages::publish_all(publish);
    Ok(())
}

/// Makes the tile of a cell and all tiles below it, and returns the tile.
fn subtree(
    sky: &Sky,
    stars: &Catalogue,
    cell: Cell,
    publish: Publish<'_>,
    thumbnails: &mut Vec<Image>,
) -> io::Result<Image> {
    let picture = if cell.order == FULL_ORDER {
        let picture = tile::picture(sky, stars, cell, WIDTH);
        thumbnails.push(picture.halved().halved());
        picture
    } else {
        let [south, east, west, north] = cell.children();
        let mut make = |child| subtree(sky, stars, child, publish, thumbnails);
        tile::joined(&[make(south)?, make(east)?, make(west)?, make(north)?])
    };
    publish(png(tile::key(cell, "png"), &picture)?);
    Ok(picture)
}

/// All tiles of an order in one picture, row by row, as many columns as the root of their number.
fn allsky(thumbnails: &[Image]) -> Image {
    let columns = thumbnails.len().isqrt().max(1);
    let rows = thumbnails.len().div_ceil(columns);
    let mut image = Image::new(columns * THUMBNAIL, rows * THUMBNAIL);
    for (number, thumbnail) in thumbnails.iter().enumerate() {
        let (column, row) = (number % columns, number / columns);
        image.paste(thumbnail, column * THUMBNAIL, row * THUMBNAIL);
    }
    image
}

fn png(key: String, image: &Image) -> io::Result<Piece> {
    Ok(Piece { key, content_type: "image/png", body: image.png()? })
}

fn coverage(key: &str, cells: &[Cell]) -> Piece {
    Piece { key: key.to_owned(), content_type: "image/fits", body: fits::coverage(cells) }
}
