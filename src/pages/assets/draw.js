// Draws the sky: a stereographic projection on a canvas, each cell as small triangles of its tile.
import { RADIAN, cellDirection, clamp, dot, fromDegrees, gather } from './healpix.js';

// Unit vectors to the middle of the view, to the east and to the north.
export function axes(view) {
  const l = view.longitude * RADIAN, b = view.latitude * RADIAN;
  return {
    front: fromDegrees(view.longitude, view.latitude),
    east: [-Math.sin(l), Math.cos(l), 0],
    north: [-Math.sin(b) * Math.cos(l), -Math.sin(b) * Math.sin(l), Math.cos(b)],
  };
}

// Pixels for each unit of the projection, so that the view is `view.height` degrees high.
export const scale = (view, height) => height / (4 * Math.tan(view.height * RADIAN / 4));

export function project(vector, frame, size, [width, height]) {
  const grow = 2 * size / (1 + dot(vector, frame.front));
  return [width / 2 - grow * dot(vector, frame.east), height / 2 - grow * dot(vector, frame.north)];
}

// The direction of a pixel.
export function unproject([x, y], frame, size, [width, height]) {
  const u = (width / 2 - x) / size / 2, v = (height / 2 - y) / size / 2;
  const r = u * u + v * v, front = (1 - r) / (1 + r), side = 2 / (1 + r);
  return [0, 1, 2].map(axis => front * frame.front[axis] + side * (u * frame.east[axis] + v * frame.north[axis]));
}

// The order whose tiles have about one pixel for each pixel of the screen.
export function orderOf(view, height, survey) {
  const pixels = 58.6 * height / view.height / survey.width;
  return clamp(Math.ceil(Math.log2(Math.max(pixels, 1e-9))), survey.orderMin, survey.order);
}

// The cells of an order within the view.
export function cellsInView(order, frame, size, [width, height]) {
  const reach = Math.min(2 * Math.atan(Math.hypot(width, height) / 2 / size / 2), 2.6);
  const cells = [];
  const visit = (depth, index) => {
    const angle = Math.acos(clamp(dot(cellDirection(depth, index, 0.5, 0.5), frame.front), -1, 1));
    if (angle > reach + 0.95 / 2 ** depth) return;
    if (depth === order) cells.push([index, angle]);
    else for (let child = 0; child < 4; child++) visit(depth + 1, 4 * index + child);
  };
  for (let face = 0; face < 12; face++) visit(0, face);
  return cells.sort((a, b) => a[1] - b[1]).map(([index]) => index);
}

// Draws the cell (order, index) with the part of the tile `up` orders above it that covers the cell.
export function drawCell(context, image, order, index, up, frame, size, area) {
  const within = index % 4 ** up, part = image.width / 2 ** up;
  const left = gather(within >> 1) * part, top = gather(within) * part;
  const steps = order < 2 ? 16 : order < 4 ? 6 : 3, piece = part / steps;
  for (let row = 0; row < steps; row++) {
    for (let column = 0; column < steps; column++) {
      const corner = (r, c) =>
        project(cellDirection(order, index, (row + r) / steps, (column + c) / steps), frame, size, area);
      const a = corner(0, 0), b = corner(0, 1), c = corner(1, 0), d = corner(1, 1);
      const source = [image, left + column * piece, top + row * piece, piece, piece, -0.02, -0.02, 1.04, 1.04];
      triangle(context, source, a, b, c, a, b, c);
      triangle(context, source, minus(b, minus(d, c)), b, c, d, b, c);
    }
  }
}

const minus = (a, b) => [a[0] - b[0], a[1] - b[1]];

// Draws the picture with its corners at origin, right and down, within the triangle `corners`, which
// grows by a pixel, so that no seam shows.
function triangle(context, source, origin, right, down, ...corners) {
  const middle = [0, 1].map(axis => (corners[0][axis] + corners[1][axis] + corners[2][axis]) / 3);
  const u = minus(right, origin), v = minus(down, origin);
  context.save();
  context.beginPath();
  for (const corner of corners) {
    const out = minus(corner, middle), grow = 1 + 1 / Math.max(2, Math.hypot(...out));
    context.lineTo(middle[0] + out[0] * grow, middle[1] + out[1] * grow);
  }
  context.clip();
  context.transform(u[0], u[1], v[0], v[1], origin[0], origin[1]);
  context.drawImage(...source);
  context.restore();
}
