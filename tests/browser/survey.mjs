// Pictures for surveys that tests make.
import { crc32, deflateSync } from 'node:zlib';

function encode(side, colourType, rows) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]), frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(side);
  head.writeUInt32BE(side, 4);
  head.set([8, colourType], 8);
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

// A PNG of one colour.
export function png(side, colour) {
  const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(3 * side, Buffer.from(colour))]);
  return encode(side, 2, Buffer.concat(Array.from({ length: side }, () => row)));
}

// A PNG of four greys at random, a quarter of a byte for each pixel: as large as a tile of a real survey.
export function noise(side) {
  const rows = Buffer.alloc(side * (side + 1));
  let seed = 9218;
  for (let at = 0; at < rows.length; at++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    if (at % (side + 1)) rows[at] = (seed >>> 30) * 60;
  }
  return encode(side, 0, rows);
}
