// HEALPix geometry in the nested scheme (Gorski et al. 2005, ApJ 622, 759), and the frames of surveys.
// Pure: numbers in, numbers out. Directions are unit vectors [x, y, z].

export const RADIAN = Math.PI / 180;

export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

// From the point (x, y) of a face, both 0 to 1, to a direction.
export function direction(face, x, y) {
  const row = face >> 2, column = 2 * (face & 3);
  const centre = row === 1 ? column : column + 1;
  const px = centre + x - y, py = 1 - row + x + y - 1;
  let z = py * 2 / 3, longitude = px;
  if (Math.abs(py) > 1) {
    const sigma = Math.max(2 - Math.abs(py), 0);
    z = Math.sign(py) * (1 - sigma * sigma / 3);
    longitude = centre + (sigma > 0 ? (px - centre) / sigma : 0);
  }
  const radius = Math.sqrt(Math.max(1 - z * z, 0)), angle = longitude * Math.PI / 4;
  return [radius * Math.cos(angle), radius * Math.sin(angle), z];
}

// From a direction to the face and the point on it.
export function facePoint([x, y, z]) {
  const longitude = ((Math.atan2(y, x) / (Math.PI / 4)) % 8 + 8) % 8;
  let px = longitude, py = 1.5 * z;
  if (Math.abs(z) > 2 / 3) {
    const sigma = Math.sqrt(3 * Math.max(1 - Math.abs(z), 0));
    const centre = 2 * Math.floor(longitude / 2) + 1;
    px = centre + (longitude - centre) * sigma;
    py = Math.sign(z) * (2 - sigma);
  }
  // The faces of the northern, middle and southern row, each as (face, x, y).
  for (let face = 0; face < 12; face++) {
    const row = face >> 2, column = 2 * (face & 3);
    const centre = row === 1 ? column : column + 1;
    let across = px - centre;
    if (across > 4) across -= 8;
    if (across < -4) across += 8;
    const up = py - (1 - row) + 1;
    const fx = (across + up) / 2, fy = (up - across) / 2;
    const slack = 1e-12;
    if (fx >= -slack && fx <= 1 + slack && fy >= -slack && fy <= 1 + slack) {
      return { face, x: clamp(fx, 0, 1), y: clamp(fy, 0, 1) };
    }
  }
  return { face: 0, x: 0, y: 0 };
}

export const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// Every second bit of a number, and the reverse. Orders up to 13: 26 bits.
export function gather(bits) {
  let number = 0;
  for (let bit = 0; bit < 15; bit++) number |= (bits >> 2 * bit & 1) << bit;
  return number;
}

export function spread(number) {
  let bits = 0;
  for (let bit = 0; bit < 15; bit++) bits |= (number >> bit & 1) << 2 * bit;
  return bits;
}

// The direction of the point (x, y) of a cell, both 0 to 1.
export function cellDirection(order, index, x, y) {
  const cells = 4 ** order, within = index % cells, side = 2 ** order;
  return direction(Math.floor(index / cells), (gather(within) + x) / side, (gather(within >> 1) + y) / side);
}

// The cell of an order that contains a direction.
export function cellAt(order, vector) {
  const { face, x, y } = facePoint(vector), side = 2 ** order;
  const column = Math.min(side - 1, Math.floor(x * side)), row = Math.min(side - 1, Math.floor(y * side));
  return face * 4 ** order + spread(column) + 2 * spread(row);
}

// HiPS 1.0, 4.1: the path of a tile below the root of its survey.
export const tilePath = (order, index, format) =>
  `Norder${order}/Dir${Math.floor(index / 10000) * 10000}/Npix${index}.${format}`;

export const fromDegrees = (longitude, latitude) => {
  const l = longitude * RADIAN, b = latitude * RADIAN;
  return [Math.cos(b) * Math.cos(l), Math.cos(b) * Math.sin(l), Math.sin(b)];
};

export const toDegrees = ([x, y, z]) =>
  [(Math.atan2(y, x) / RADIAN + 360) % 360, Math.asin(clamp(z, -1, 1)) / RADIAN];

// Rows of the rotation from ICRS to galactic coordinates (Hipparcos catalogue, ESA SP-1200, 1.5.3).
const GALACTIC = [
  [-0.0548755604162154, -0.8734370902348850, -0.4838350155487132],
  [0.4941094278755837, -0.4448296299600112, 0.7469822444972189],
  [-0.8676661490190047, -0.1980763734312015, 0.4559837761750669],
];

export const galacticFromIcrs = vector => GALACTIC.map(row => dot(row, vector));

export const icrsFromGalactic = vector =>
  [0, 1, 2].map(axis => GALACTIC[0][axis] * vector[0] + GALACTIC[1][axis] * vector[1] + GALACTIC[2][axis] * vector[2]);

// "17h 06m 24.0s -41 48 00" from degrees.
export function sexagesimal(rightAscension, declination) {
  const tenths = Math.round(rightAscension / 15 * 36000) % 864000;
  const seconds = Math.round(Math.abs(declination) * 3600);
  const two = number => String(number).padStart(2, '0');
  return `${two(Math.floor(tenths / 36000))}h ${two(Math.floor(tenths / 600) % 60)}m ` +
    `${two(Math.floor(tenths / 10) % 60)}.${tenths % 10}s ` +
    `${declination < 0 ? '−' : '+'}${two(Math.floor(seconds / 3600))}° ` +
    `${two(Math.floor(seconds / 60) % 60)}′ ${two(seconds % 60)}″`;
}
