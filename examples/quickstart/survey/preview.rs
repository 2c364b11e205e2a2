//! The whole sky in one picture.

use std::f64::consts::{PI, SQRT_2};
use std::io;

use super::healpix::{Cell, FacePoint};
use super::image::Image;
use super::noise::mix;
use super::sky::{Sky, direction, luminance, to_equatorial};
use super::work;

/// The picture for the front page, pixels.
const PREVIEW: (usize, usize) = (1600, 800);

/// The sky in galactic coordinates, centre of the galaxy in the middle, in Mollweide's projection;
/// taken from pictures of all tiles of an order.
///
/// # Errors
/// None; the signature is that of shared work.
pub(crate) fn mollweide(thumbnails: &[Image], order: u8, threads: usize) -> io::Result<Image> {
    let (width, height) = PREVIEW;
    let rows = work::share(threads, height as u64, |row| {
        let y = (1.0 - (row as f64 + 0.5) / height as f64 * 2.0) * SQRT_2;
        let theta = (y / SQRT_2).asin();
        let latitude = ((2.0 * theta + (2.0 * theta).sin()) / PI).asin();
        let row: Vec<[u8; 3]> = (0..width)
            .map(|column| {
                let x = ((column as f64 + 0.5) / width as f64 * 2.0 - 1.0) * 2.0 * SQRT_2;
                let longitude = -PI * x / (2.0 * SQRT_2 * theta.cos());
                if longitude.abs() > PI {
                    return [0; 3];
                }
                let place = direction(longitude.to_degrees(), latitude.to_degrees());
                sample(thumbnails, order, FacePoint::of(to_equatorial(place)))
            })
            .collect();
        Ok::<_, io::Error>(row)
    })?;
    Ok(Image::of_pixels(width, rows.concat()))
}

/// The colour of a point in the picture of its tile.
fn sample(pictures: &[Image], order: u8, point: FacePoint) -> [u8; 3] {
    let cell = Cell::at(order, point);
    let Some(picture) = pictures.get(cell.index as usize) else { return [0; 3] };
    let side = f64::from(1_u32 << order);
    let (along_x, along_y) = cell.place();
    let pixel = |part: f64, cell: u64| {
        ((part * side - cell as f64).clamp(0.0, 0.9999) * picture.width as f64) as usize
    };
    picture.pixel(pixel(point.y, along_y), pixel(point.x, along_x))
}

/// The light is computed at one of this number of pixels of the panorama, per axis.
const STEP: usize = 8;

/// Brightness of the sky without stars, row by row from the south pole, longitude falling from
/// 180 degrees.
///
/// # Errors
/// None; the signature is that of shared work.
pub(crate) fn panorama(
    sky: &Sky,
    width: usize,
    height: usize,
    threads: usize,
) -> io::Result<Vec<f32>> {
    let (columns, rows) = (width / STEP, height / STEP);
    let lines = work::share(threads, rows as u64 + 1, |row| {
        let latitude = 180.0 * row as f64 / rows as f64 - 90.0;
        let line: Vec<f32> = (0..=columns)
            .map(|column| {
                let longitude = 180.0 - 360.0 * column as f64 / columns as f64;
                luminance(sky.light(to_equatorial(direction(longitude, latitude)), 6))
            })
            .collect();
        Ok::<_, io::Error>(line)
    })?;
    let mut values = Vec::with_capacity(width * height);
    for pair in lines.windows(2) {
        let [lower, upper] = pair else { continue };
        for step in 0..STEP {
            let up = (step as f32 + 0.5) / STEP as f32;
            let between: Vec<f32> = lower.iter().zip(upper).map(|(a, b)| mix(*a, *b, up)).collect();
            for ends in between.windows(2) {
                let [left, right] = ends else { continue };
                values.extend(
                    (0..STEP).map(|step| mix(*left, *right, (step as f32 + 0.5) / STEP as f32)),
                );
            }
        }
    }
    Ok(values)
}
