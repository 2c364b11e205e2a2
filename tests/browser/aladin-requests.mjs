// What Aladin Lite asks for, and what of it reaches the store, with `hips: false` and with `hips: true`: the table of
// docs/decisions/coverage-maps.md. The survey is made here: orders 3 to 5, png, with the map `few` of tests/surveys, once
// with and once without `hips_order_min` in its properties.
import assert from 'node:assert/strict';
import { createReadStream, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { cellDirection, toDegrees } from '../../src/pages/assets/healpix.js';
import { launchWithGraphics, run } from './browser.mjs';
import { png } from './survey.mjs';
import { Lab } from './servers.mjs';

const [, , binaries, map] = process.argv;
const PACKAGES = path.resolve('node_modules');
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm' };
const CELLS = [[3, 0], [3, 5], [3, 6], [3, 7], [3, 250], [3, 400], [4, 2000], [5, 12000], [5, 12287]];
const PROPERTIES = ['creator_did = ivo://example/P/few', 'obs_title = A few cells', 'dataproduct_type = image', 'hips_version = 1.4',
  'hips_release_date = 2025-07-01T12:00Z', 'hips_status = public master clonableOnce', 'hips_tile_format = png', 'hips_tile_width = 512',
  'hips_order = 5', 'hips_frame = equatorial', ''].join('\n');

function tiles(order) {
  const all = new Set();
  for (const [of, cell] of CELLS) {
    const wide = 4 ** Math.max(0, order - of), first = of <= order ? cell * wide : Math.floor(cell / 4 ** (of - order));
    for (let n = 0; n < wide; n++) all.add(first + n);
  }
  return [...all];
}

async function upload(lab, name, properties) {
  const put = async (file, write) => {
    const where = path.join(lab.folder, 'data', name, file);
    mkdirSync(path.dirname(where), { recursive: true });
    write(where);
    await lab.ask(`put data/${name}/${file}`);
  };
  await put('Moc.fits', where => cpSync(map, where));
  await put('Norder3/Allsky.png', where => writeFileSync(where, png(64, [60, 60, 60])));
  for (let order = 3; order <= 5; order++) {
    for (const cell of tiles(order)) {
      const colour = [40 * order, cell * 53 % 256, cell * 97 % 256];
      await put(`Norder${order}/Dir${Math.floor(cell / 1e4) * 1e4}/Npix${cell}.png`, where => writeFileSync(where, png(512, colour)));
    }
  }
  await put('properties', where => writeFileSync(where, properties));
}

const [ra, dec] = toDegrees(cellDirection(3, 6, 0.5, 0.5));
const STEPS = [
  ['opening, 20°', page => page.evaluate(([a, b]) => { aladin.gotoRaDec(a, b); aladin.setFoV(20); }, [ra, dec])],
  ['zoom to 10°', page => page.evaluate(() => aladin.setFoV(10))],
  ['zoom to 4°', page => page.evaluate(() => aladin.setFoV(4))],
  ['outside, 20°', page => page.evaluate(([a, b]) => { aladin.setFoV(20); aladin.gotoRaDec((a + 150) % 360, -b); }, [ra, dec])],
];

async function visit(browser, lab, origin, survey) {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  let answers = [];
  await page.route(url => url.hostname !== '127.0.0.1' && url.protocol.startsWith('http'), route => route.abort());
  page.on('response', response => { if (response.url().startsWith(lab.url)) answers.push([response.url(), response.status()]); });
  await page.goto(`${origin}/?survey=${encodeURIComponent(survey)}`);
  await page.waitForFunction(() => window.aladin, null, { timeout: 60000 });
  const rows = [];
  for (const [name, step] of STEPS) {
    await step(page);
    // Until nothing has been asked for during four seconds: a software renderer is slow.
    for (let before = -1, same = 0; same < 2; same = before === answers.length ? same + 1 : 0) {
      before = answers.length;
      await page.waitForTimeout(2000);
    }
    const store = await lab.requests();
    const pictures = answers.filter(([url, status]) => status === 200 && /\.png/.test(url)).length;
    rows.push([name, pictures, answers.length - pictures, answers.length, store.length]);
    answers = [];
  }
  await page.context().close();
  return rows;
}

async function table(hips, properties) {
  const lab = await Lab.start(binaries, `hips: ${hips}`, 'cors: { origins: ["*"] }');
  const survey = `${lab.url}/s3proxy/s3/lab@data/survey`;
  const server = createServer((request, response) => {
    const name = new URL(request.url, 'http://page').pathname;
    response.setHeader('Content-Type', TYPES[path.extname(name)] ?? 'text/html; charset=utf-8');
    if (name === '/') {
      response.end(`<!doctype html><title>Aladin Lite</title><div id="sky" style="width: 1270px; height: 790px"></div>
<script type="module">import A from '/aladin-lite/dist/aladin.js'; await A.init;
window.aladin = A.aladin('#sky', { survey: '${survey}', target: '${ra} ${dec}', fov: 20 });</script>`);
      return;
    }
    createReadStream(path.join(PACKAGES, name)).on('error', () => { response.statusCode = 404; response.end(); }).pipe(response);
  });
  await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
  const origin = `http://127.0.0.1:${server.address().port}`;
  const browser = await launchWithGraphics();
  try {
    await upload(lab, 'survey', properties);
    await lab.ask('clear');
    return [await visit(browser, lab, origin, survey), await visit(browser, lab, origin, survey)];
  } finally {
    await browser.close();
    server.close();
    lab.stop();
  }
}

async function compare(properties) {
  const off = await table(false, properties), on = await table(true, properties);
  const lines = ['| visit | step | pictures | missing and other | store, `hips: false` | pictures | missing and other | store, `hips: true` |',
    '|---|---|---|---|---|---|---|---|'];
  const sums = [0, 0], pictures = [0, 0];
  for (const [visit, name] of ['cold', 'warm'].entries()) {
    for (const [n, [step, ...seen]] of on[visit].entries()) {
      const both = [off[visit][n].slice(1), seen];
      lines.push(`| ${name} | ${step} | ${both.map(([shown, other, , store]) => `${shown} | ${other} | ${store}`).join(' | ')} |`);
      for (const side of [0, 1]) {
        pictures[side] += both[side][0];
        sums[side] += both[side][3];
      }
    }
  }
  console.log(lines.join('\n'));
  assert.ok(pictures[0] > 0, 'pictures are shown');
  assert.equal(pictures[1], pictures[0], 'as many pictures with hips: true');
  return `${sums[0]} requests at the store with hips: false, ${sums[1]} with hips: true`;
}

await run([
  ['a survey with hips_order_min', () => compare(PROPERTIES.replace('hips_order = 5', 'hips_order = 5\nhips_order_min = 3'))],
  ['a survey without hips_order_min', () => compare(PROPERTIES)],
]);
process.exit();
