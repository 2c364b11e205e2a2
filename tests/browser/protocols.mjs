// A sky opened over TLS by HTTP/2 and by HTTP/1.1, 50 ms away: how long the first picture takes, and all of them, in the
// gateway's own viewer and in Aladin Lite. Everything is in the gateway's memory; a relay makes the distance.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createReadStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { axes, cellsInView, scale } from '../../src/pages/assets/draw.js';
import { launch, launchWithGraphics, run, watch } from './browser.mjs';
import { relay } from './relay.mjs';
import { Lab, freePort } from './servers.mjs';
import { noise, png } from './survey.mjs';

const [, , binaries, rounds = '2', record] = process.argv;
const ROUND_TRIP = 50, ROUNDS = Number(rounds);
const MARK = '<!-- tests/browser/run --only protocols --record -->', END = '<!-- end of the record -->';
const PACKAGES = path.resolve('node_modules');
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm' };
const VIEW = { longitude: 83.6, latitude: 22, height: 20 };
const PROPERTIES = ['creator_did = ivo://example/P/protocols', 'obs_title = A sky far away', 'dataproduct_type = image',
  'hips_version = 1.4', 'hips_release_date = 2025-07-01T12:00Z', 'hips_status = public master clonableOnce', 'hips_tile_format = png',
  'hips_tile_width = 512', 'hips_order = 3', 'hips_order_min = 3', 'hips_frame = equatorial', `hips_initial_ra = ${VIEW.longitude}`,
  `hips_initial_dec = ${VIEW.latitude}`, `hips_initial_fov = ${VIEW.height}`, ''].join('\n');

const folder = mkdtempSync(path.join(tmpdir(), 's3proxy-protocols-'));
const [certificate, key] = ['tls.crt', 'tls.key'].map(name => path.join(folder, name));
execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj',
  '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', certificate], { stdio: 'ignore' });
const tlsPort = await freePort();
const lab = await Lab.start(binaries, 'viewer: true', `
cors: { origins: ["*"] }
tls: { listen: "127.0.0.1:${tlsPort}", certificate_file: "${certificate}", key_file: "${key}" }
`);
process.on('exit', () => { lab.stop(); rmSync(folder, { recursive: true, force: true }); });
const away = await relay(tlsPort, ROUND_TRIP / 2);
const origin = `https://127.0.0.1:${away.port}`, survey = `${origin}/s3proxy/s3/lab@data/survey`;

async function upload() {
  const put = async (name, content) => {
    const where = path.join(lab.folder, 'data/survey', name);
    mkdirSync(path.dirname(where), { recursive: true });
    writeFileSync(where, content);
    await lab.ask(`put data/survey/${name}`);
  };
  const tile = noise(512);
  await put('Norder3/Allsky.png', png(64, [60, 60, 60]));
  // The view, and as much again on each side.
  const wide = { ...VIEW, height: 3 * VIEW.height };
  for (const cell of cellsInView(3, axes(wide), scale(wide, 1800), [2600, 1800])) await put(`Norder3/Dir0/Npix${cell}.png`, tile);
  await put('properties', PROPERTIES);
  return tile.length;
}

// A page with Aladin Lite, of a server that is near.
const server = createServer((request, response) => {
  const name = new URL(request.url, 'http://page').pathname;
  response.setHeader('Content-Type', TYPES[path.extname(name)] ?? 'text/html; charset=utf-8');
  if (name === '/') {
    response.end(`<!doctype html><title>Aladin Lite</title><div id="sky" style="width: 1000px; height: 700px"></div>
<script type="module">import A from '/aladin-lite/dist/aladin.js'; await A.init;
window.aladin = A.aladin('#sky', { survey: '${survey}', target: '${VIEW.longitude} ${VIEW.latitude}', fov: ${VIEW.height} });</script>`);
    return;
  }
  createReadStream(path.join(PACKAGES, name)).on('error', () => { response.statusCode = 404; response.end(); }).pipe(response);
});
await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });

// Chromium's own account of the requests to the gateway: when each began and ended, by which protocol, on which connection.
async function account(page) {
  const session = await page.context().newCDPSession(page), requests = new Map();
  await session.send('Network.enable');
  session.on('Network.requestWillBeSent', ({ requestId, request, timestamp }) => {
    if (request.url.startsWith(origin)) requests.set(requestId, { url: request.url, begun: timestamp });
  });
  session.on('Network.responseReceived', ({ requestId, response: { status, protocol, connectionId } }) => {
    if (requests.has(requestId)) Object.assign(requests.get(requestId), { status, protocol, connectionId });
  });
  session.on('Network.loadingFinished', ({ requestId, timestamp }) => {
    if (requests.has(requestId)) requests.get(requestId).ended = timestamp;
  });
  return requests;
}

async function newPage(browser) {
  const context = await browser.newContext({ viewport: { width: 1050, height: 800 }, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.route(url => url.hostname !== '127.0.0.1' && url.protocol.startsWith('http'), route => route.abort());
  return page;
}

// What both visits count. A picture is a tile; `since` are seconds of Chromium's clock.
function counts(requests, opened, since) {
  const all = [...requests.values()], pictures = all.filter(({ url, status }) => /Npix\d+\.png/.test(url) && status === 200);
  assert.ok(pictures.length > 8, `${pictures.length} pictures`);
  for (const { url, ended } of all) assert.ok(ended !== undefined, `no end of ${url}`);
  return {
    first: 1000 * (Math.min(...pictures.map(({ ended }) => ended)) - since),
    all: 1000 * (Math.max(...pictures.map(({ ended }) => ended)) - since),
    connections: opened, pictures: pictures.length, requests: all.length, protocols: [...new Set(all.map(({ protocol }) => protocol))],
  };
}

async function viewer(browser) {
  const page = await newPage(browser);
  const problems = watch(page, text => /willReadFrequently|favicon|Moc\.fits/.test(text));
  await page.addInitScript(() => {
    const look = () => {
      const state = document.getElementById('state')?.textContent ?? '', sky = document.getElementById('sky');
      if (!window.first && /[1-9]\d* tiles loaded/.test(state)) window.first = performance.now();
      if (!window.all && window.first && sky.dataset.idle === 'true') window.all = performance.now();
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  const requests = await account(page), before = away.connections.opened;
  await page.goto(`${survey}/`);
  await page.waitForFunction(() => window.all, null, { timeout: 60000 });
  const opened = away.connections.opened - before;
  const counted = counts(requests, opened, 0);
  const [first, all] = await page.evaluate(() => [window.first, window.all]);
  await page.context().close();
  assert.deepEqual(problems, []);
  return { ...counted, first, all };
}

async function aladin(browser) {
  const page = await newPage(browser);
  const requests = await account(page), before = away.connections.opened;
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => window.aladin, null, { timeout: 60000 });
  // Until nothing has been asked for, nor arrived, during a second.
  const state = () => JSON.stringify([...requests.values()].map(({ ended }) => ended ?? 0));
  for (let last = '', same = 0; same < 4; ) {
    await page.waitForTimeout(250);
    const now = state();
    same = now === last && requests.size > 8 && ![...requests.values()].some(({ ended }) => ended === undefined) ? same + 1 : 0;
    last = now;
  }
  const opened = away.connections.opened - before;
  const since = Math.min(...[...requests.values()].map(({ begun }) => begun));
  const counted = counts(requests, opened, since);
  await page.context().close();
  return counted;
}

const median = values => {
  const sorted = [...values].sort((a, b) => a - b), half = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};
const told = values => {
  const [low, middle, high] = [Math.min(...values), median(values), Math.max(...values)].map(value => value.toFixed(0));
  return low === high ? middle : `${middle} (${low} to ${high})`;
};

// Both protocols in turn, each visit in a browser that has seen nothing; the first visit of each fills the gateway's memory.
async function compare(name, start, visit) {
  const browsers = { 'HTTP/2': await start([]), 'HTTP/1.1': await start(['--disable-http2']) };
  const seen = { 'HTTP/2': [], 'HTTP/1.1': [] };
  try {
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [protocol, browser] of Object.entries(browsers)) {
        const counted = await visit(browser);
        assert.deepEqual(counted.protocols, [protocol === 'HTTP/2' ? 'h2' : 'http/1.1']);
        if (round) seen[protocol].push(counted);
      }
    }
  } finally {
    for (const browser of Object.values(browsers)) await browser.close();
  }
  for (const [protocol, visits] of Object.entries(seen)) {
    const of = field => told(visits.map(counted => counted[field]));
    rows.push(`| ${name} | ${protocol} | ${of('first')} | ${of('all')} | ${of('connections')} | ${of('requests')} | ${of('pictures')} |`);
  }
  const time = protocol => median(seen[protocol].map(({ all }) => all));
  assert.ok(median(seen['HTTP/2'].map(({ connections }) => connections)) <= 2, 'HTTP/2 takes one connection, or one without credentials beside it');
  assert.ok(time('HTTP/2') < 1.5 * time('HTTP/1.1'), `HTTP/2 ${time('HTTP/2').toFixed(0)} ms, HTTP/1.1 ${time('HTTP/1.1').toFixed(0)} ms`);
  return `all pictures after ${time('HTTP/2').toFixed(0)} ms by HTTP/2, ${time('HTTP/1.1').toFixed(0)} ms by HTTP/1.1`;
}

const tile = await upload();
const rows = ['| viewer | protocol | first picture, ms | all pictures, ms | connections | requests | pictures |', '|---|---|---|---|---|---|---|'];
await run([
  ['the viewer of the gateway', () => compare("the gateway's", launch, viewer)],
  ['Aladin Lite', () => compare('Aladin Lite', launchWithGraphics, aladin)],
  ['nothing is wrong in the log of the gateway', () => assert.equal(lab.said(), '')],
]);
const table = `${rows.join('\n')}\n\n${ROUNDS} visits of each, medians and ranges; a picture has ${Math.round(tile / 1024)} KiB.`;
console.log(table);
if (record && !process.exitCode) {
  const page = readFileSync(record, 'utf8'), begin = page.indexOf(MARK) + MARK.length;
  assert.ok(begin >= MARK.length, `${record} has no ${MARK}`);
  writeFileSync(record, `${page.slice(0, begin)}\n\n${table}\n\n${page.slice(page.indexOf(END, begin))}`);
}
process.exit();
