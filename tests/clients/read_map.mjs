import { PMTiles } from "pmtiles";

// Six tiles beside each other, on two levels.
const [url] = process.argv.slice(2);
const archive = new PMTiles(url);
for (const [zoom, left, top] of [[4, 6, 9], [5, 13, 19]]) {
  for (const x of [left, left + 1, left + 2]) {
    for (const y of [top, top + 1]) {
      const tile = await archive.getZxy(zoom, x, y);
      process.stdout.write(new Uint8Array(tile.data));
    }
  }
}
