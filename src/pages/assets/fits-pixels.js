// Pixels of a FITS image: which bytes to read, and the picture they make. Pure: bytes in, values out.

// The largest picture drawn, pixels on a side.
const SIDE = 1024;
// The fewest rows that still make a picture.
const FEWEST_ROWS = 96;

// What to read of an image with this many bytes at most: { every, rows, columns, ranges } with byte ranges
// [first, last] of whole rows, or null if a picture of whole rows would be too coarse.
export function plan(image, budget) {
  const total = image.rowBytes * image.height;
  const most = Math.max(1, Math.floor(budget / image.rowBytes));
  const every = total <= budget ? 1 : Math.ceil(image.height / most);
  const rows = Math.ceil(image.height / every);
  if (every > 1 && rows < Math.min(FEWEST_ROWS, image.height)) return null;
  const range = row => [image.start + row * image.rowBytes, image.start + (row + 1) * image.rowBytes - 1];
  const ranges = every === 1
    ? [[image.start, image.start + total - 1]]
    : Array.from({ length: rows }, (_, n) => range(n * every));
  return { every, rows, ranges };
}

// Physical values (4.4.2.5) of every `step`-th pixel of a row of bytes, appended to `into` at `at`.
export function decodeRow(bytes, image, step, into, at) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), size = Math.abs(image.bitpix) / 8;
  const read = {
    8: i => view.getUint8(i), 16: i => view.getInt16(i), 32: i => view.getInt32(i),
    64: i => Number(view.getBigInt64(i)), '-32': i => view.getFloat32(i), '-64': i => view.getFloat64(i),
  }[image.bitpix];
  for (let column = 0; column < image.width; column += step) {
    const raw = read(column * size);
    const blank = image.bitpix > 0 && image.blank !== undefined && raw === image.blank;
    into[at++] = blank ? Number.NaN : image.zero + image.scale * raw;
  }
  return at;
}

// The picture of the rows read, row 0 first as in the file: { width, height, values, shrink }. It has every
// `shrink`-th pixel of a row, and about every `shrink`-th row.
export function picture(rowsOfBytes, image, every) {
  const shrink = Math.max(1, Math.ceil(Math.max(image.width, image.height) / SIDE), every);
  const rowStep = Math.max(1, Math.round(shrink / every));
  const width = Math.ceil(image.width / shrink), height = Math.ceil(rowsOfBytes.length / rowStep);
  const values = new Float64Array(width * height);
  for (let row = 0; row < height; row++) {
    decodeRow(rowsOfBytes[row * rowStep], image, shrink, values, row * width);
  }
  return { width, height, values, shrink };
}

// The values between which most pixels lie: the 1st and the 99.5th percentile of the finite ones.
export function limits(values) {
  const finite = Array.from(values).filter(Number.isFinite);
  if (finite.length === 0) return [0, 1];
  const stride = Math.max(1, Math.floor(finite.length / 100000));
  const sample = Float64Array.from(finite.filter((_, n) => n % stride === 0)).sort();
  const low = sample[Math.floor(0.01 * (sample.length - 1))], high = sample[Math.ceil(0.995 * (sample.length - 1))];
  return high > low ? [low, high] : [low, low + 1];
}

// asinh stretch (Lupton et al. 2004, PASP 116, 133) from a value to 0..255.
export function stretch(value, [low, high], softening) {
  const x = Math.max(0, Math.min(1, (value - low) / (high - low)));
  return Math.round(255 * Math.asinh(x * softening) / Math.asinh(softening));
}

// RGBA bytes for a canvas, the first row of the file at the bottom. Undefined pixels are transparent.
export function paint({ width, height, values }, [low, high], softening) {
  const pixels = new Uint8ClampedArray(4 * width * height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const value = values[row * width + column];
      if (!Number.isFinite(value)) continue;
      const at = 4 * ((height - 1 - row) * width + column);
      pixels[at] = pixels[at + 1] = pixels[at + 2] = stretch(value, [low, high], softening);
      pixels[at + 3] = 255;
    }
  }
  return pixels;
}
