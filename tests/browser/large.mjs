// FITS files of 1 GiB open for at most 3 MiB of reads at the store, which makes their bytes as it sends them.
import assert from 'node:assert/strict';
import { launch, run, watch } from './browser.mjs';
import { Lab } from './servers.mjs';

const [, , binaries] = process.argv;
const GIB = 2 ** 30, MOST = 3 * 2 ** 20, BLOCK = 2880;

const lab = await Lab.start(binaries, 'viewer: true');
process.on('exit', () => lab.stop());
const browser = await launch();

const header = (...cards) => {
  const text = [...cards, ['END']].map(([key, value]) =>
    (value === undefined ? key : `${key.padEnd(8)}= ${String(value).padStart(20)}`).padEnd(80)).join('');
  return text.padEnd(Math.ceil(text.length / BLOCK) * BLOCK);
};
const image = (first, width, height) =>
  header(first, ['BITPIX', 16], ['NAXIS', 2], ['NAXIS1', width], ['NAXIS2', height], ['PCOUNT', 0], ['GCOUNT', 1]);
// Readable bytes that are numbers of two bytes, too; the next row begins at another of them.
const PIXELS = Array.from({ length: 4099 }, (_, n) => String.fromCharCode(33 + Math.floor(n / 4099 * 90))).join('');
const data = (width, height) => {
  const bytes = 2 * width * height;
  return [[PIXELS, bytes], [' ', Math.ceil(bytes / BLOCK) * BLOCK - bytes]];
};

// How it opens, and what that costs the store.
async function open(key, length, expected) {
  await lab.requests();
  const page = await browser.newPage();
  const problems = watch(page);
  await page.goto(`${lab.url}/s3proxy/s3/lab@data/${key}`);
  await page.waitForFunction(() => document.getElementById('headers').dataset.done === 'true', null, { timeout: 60000 });
  assert.match(await page.textContent('#state'), expected);
  assert.match(await page.textContent('#headers'), /SIMPLE/);
  if (await page.isVisible('#picture')) {
    const colours = await page.evaluate(() => {
      const canvas = document.querySelector('canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return new Set(data.filter((_, n) => n % 4 === 0)).size;
    });
    assert.ok(colours > 20, `the picture has ${colours} colours`);
  }
  const hdus = await page.locator('#headers details').count();
  await page.close();
  assert.deepEqual(problems, []);
  const requests = await lab.requests();
  const bytes = requests.reduce((sum, request) => sum + request.bytes, 0);
  const text = `${hdus} HDUs of ${(length / GIB).toFixed(2)} GiB; ${(bytes / 2 ** 20).toFixed(2)} MiB in ${requests.length} requests at the store`;
  assert.ok(length >= GIB, text);
  assert.ok(bytes <= MOST, text);
  return text;
}

const SIMPLE = ['SIMPLE', 'T'], IMAGE = ['XTENSION', "'IMAGE   '"];
async function make(key, ...hdus) {
  const runs = hdus.flatMap(([first, width, height]) => width
    ? [image(first, width, height), ...data(width, height)] : [header(first, ['BITPIX', 8], ['NAXIS', 0], ['EXTEND', 'T'])]);
  await lab.make(key, ...runs);
  return runs.reduce((sum, run) => sum + (typeof run === 'string' ? run.length : run[1]), 0);
}

await run([
  ['a mosaic of 16 images: its headers, and some rows of the first image', async () =>
    open('mosaic.fits', await make('mosaic.fits', [SIMPLE], ...Array(16).fill([IMAGE, 8192, 4096])), /HDU 1: 8192 × 4096 pixels, 64 MiB; one pixel of 32/)],
  ['one image of 8192 x 65536: some of its rows', async () =>
    open('long.fits', await make('long.fits', [SIMPLE, 8192, 65536]), /HDU 0: 8192 × 65536 pixels, 1024 MiB; one pixel of/)],
  ['one image of 32768 x 16384: its header, and why there is no picture', async () =>
    open('wide.fits', await make('wide.fits', [SIMPLE, 32768, 16384]), /too large for a picture on this page/)],
  ['nothing is wrong in the log of the gateway', async () => assert.equal(lab.said(), '')],
]);
await browser.close();
process.exit();
