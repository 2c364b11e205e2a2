// Viewers of other people on pages of another origin: Aladin Lite shows the survey of the quickstart, JS9 a
// FITS file. Both read through the gateway by CORS; there is no access to the internet.
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { launchWithGraphics, run, watch } from './browser.mjs';

const [, , gateway, folder] = process.argv;
// Aladin Lite adds a slash itself.
const survey = `${gateway}/s3proxy/s3/hips@sky`;
const properties = await (await fetch(`${survey}/properties`)).text();
const [ra, dec, fov] = ['ra', 'dec', 'fov'].map(name => new RegExp(`hips_initial_${name} *= *(\\S+)`).exec(properties)[1]);
const PACKAGES = path.resolve('node_modules');
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm' };
// docs/recipes.md has the same lines.
const PAGES = {
  '/aladin.html': `<!doctype html><title>Aladin Lite</title><div id="sky" style="width: 800px; height: 600px"></div>
<script type="module">
import A from '/aladin-lite/dist/aladin.js';
await A.init;
window.aladin = A.aladin('#sky', { survey: '${survey}', target: '${ra} ${dec}', fov: ${fov} });
</script>`,
  '/js9.html': `<!doctype html><title>JS9</title>
<link rel="stylesheet" href="/js9/js9-allinone.css"><script src="/js9/js9-allinone.js"></script>
<div class="JS9"></div>
<script>
$(document).on('JS9:ready', () => JS9.Load('${survey}/intensity/Norder3/Dir0/Npix660.fits', { onload: image => { window.loaded = image; } }));
</script>`,
};

const server = createServer((request, response) => {
  const name = new URL(request.url, 'http://page').pathname;
  response.setHeader('Content-Type', TYPES[path.extname(name)] ?? 'text/html; charset=utf-8');
  if (PAGES[name]) { response.end(PAGES[name]); return; }
  const file = path.join(PACKAGES, name);
  createReadStream(file).on('error', () => { response.statusCode = 404; response.end(); }).pipe(response);
});
await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
const origin = `http://127.0.0.1:${server.address().port}`;
const browser = await launchWithGraphics();

// A page whose requests to the gateway are recorded. Nothing else than loopback is reached; what a viewer
// asks for at other hosts is no problem of the gateway.
async function open(name) {
  const page = await (await browser.newContext({ viewport: { width: 820, height: 620 } })).newPage();
  const answers = [];
  await page.route(url => url.hostname !== '127.0.0.1' && url.protocol.startsWith('http'), route => route.abort());
  page.on('response', response => { if (response.url().startsWith(gateway)) answers.push(response); });
  // A tile that a survey does not have, and messages of the viewer on itself.
  const problems = watch(page, text => !text.includes(gateway) || /404/.test(text) || /^(warning|info)/.test(text));
  await page.goto(`${origin}/${name}.html`);
  return { page, answers, problems };
}

// The number of colours of a picture of the page.
async function colours(page, name) {
  const picture = await page.screenshot({ path: path.join(folder, `${name}.png`) });
  return page.evaluate(async base64 => {
    const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const context = new OffscreenCanvas(image.width, image.height).getContext('2d');
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height), seen = new Set();
    for (let at = 0; at < data.length; at += 4 * 37) seen.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
    return seen.size;
  }, picture.toString('base64'));
}

const paths = answers => answers.map(answer => `${answer.status()} ${answer.url().replace(survey, '').split('?')[0]}`);

async function aladin() {
  const { page, answers, problems } = await open('aladin');
  const deadline = Date.now() + 60000;
  let drawn = 0;
  while (drawn < 500) {
    assert.ok(Date.now() < deadline, `only ${drawn} colours; ${paths(answers).join(', ')}; ${problems}`);
    await page.waitForTimeout(1000);
    drawn = await colours(page, 'aladin-lite');
  }
  const tiles = answers.filter(answer => /Npix\d+\.png|Allsky/.test(answer.url()) && answer.status() === 200);
  assert.ok(tiles.length > 3, paths(answers).join(', '));
  for (const answer of tiles) assert.equal(answer.headers()['access-control-allow-origin'], '*');
  // The list of surveys names it, for a page of another origin.
  const list = await page.evaluate(url => fetch(url).then(answer => answer.text()), `${gateway}/s3proxy/hipslist`);
  assert.ok(list.split('\n').includes(`hips_service_url     = ${survey}`), list);
  assert.deepEqual(problems, []);
  const missing = answers.filter(answer => answer.status() !== 200);
  // The survey has Moc.fits, Allsky and hips_order_min: Aladin Lite asks for no tile that it lacks.
  assert.deepEqual(paths(missing), []);
  assert.ok(answers.length < 60, `${answers.length} requests`);
  await page.context().close();
  return `${drawn} colours, ${answers.length} requests, ${tiles.length} of them for tiles`;
}

async function js9() {
  const { page, answers, problems } = await open('js9');
  await page.waitForFunction(() => window.loaded, null, { timeout: 60000 });
  const drawn = await colours(page, 'js9');
  const [width, finite] = await page.evaluate(() => {
    const { raw } = JS9.GetImage(window.loaded);
    return [raw.width, raw.data.filter(Number.isFinite).length];
  });
  assert.equal(width, 512);
  assert.ok(finite > 1000 && drawn > 50, `${finite} values, ${drawn} colours`);
  assert.deepEqual(problems, []);
  // JS9 adds a query, which the gateway ignores.
  assert.deepEqual(paths(answers), ['200 /intensity/Norder3/Dir0/Npix660.fits']);
  await page.context().close();
  return `${drawn} colours, ${answers.length} request`;
}

await run([
  ['Aladin Lite shows the survey', aladin],
  ['JS9 shows a FITS tile', js9],
]);
await browser.close();
process.exit();
