// A folder of 2,500 hostile keys is paged in Chromium by its links alone, without loss or repetition, and
// every link leads to its object. At the end the store is stopped: the status page shows the fault.
import assert from 'node:assert/strict';
import { launch, run, watch } from './browser.mjs';
import { Lab } from './servers.mjs';

const [, , binaries] = process.argv;
const KEYS = 2500, AT_ONCE = 250;
const PARTS = [
  '<', '>', '"', "'", '&', '&amp;', '%', '%41', '%2F', '+', '?', '#', ';', '@', ':', '=', '\\', '|', '`', '{', '}', '[', ']',
  ' ', '\n', '\r', '\t', '\u0001', '\u001b', '\u007f', '\u00a0', '\u2028', '\u202e', '\ufeff', '\uffff', 'é', 'e\u0301', 'שלום',
  'مرحبا', '星', '🔭', '👩‍🚀', 'a', 'Z', '0', '.', '-', '_', '~', '<script>alert(1)<script>', '" onclick="alert(1)', "javascript:",
];
// No URL can name these keys: their segments `.` and `..` are resolved on the way.
const UNNAMED = ['tree/./x.txt', 'tree/../x.txt'];

// The same keys in each run (a linear congruential generator; Numerical Recipes).
let seed = 20260701;
const random = below => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor(seed / 2 ** 32 * below);
};

function keys() {
  const made = new Set();
  while (made.size < KEYS) {
    const length = 1 + random(8);
    let name = '';
    for (let n = 0; n < length; n++) name += PARTS[random(PARTS.length)];
    // One of fifty is in a folder of its own, or below empty segments.
    const place = made.size % 50 ? '' : ['a/', '/', '//', `${name.replaceAll('.', '')}/`][random(4)];
    const key = `tree/${place}${name}${made.size}.txt`;
    if (!key.split('/').some(part => part === '.' || part === '..')) made.add(key);
  }
  return [...made];
}

const lab = await Lab.start(binaries, 'listing: true, viewer: true');
process.on('exit', () => lab.stop());
const made = keys();
const content = key => `the object ${JSON.stringify(key)}`;
for (const key of made) await lab.make(key, content(key));
for (const key of UNNAMED) await lab.make(key, 'x');
await lab.make('page.fits', 'no FITS file');
const base = `${lab.url}/s3proxy/s3/lab@data/`;
const browser = await launch();
const context = await browser.newContext();
const found = [];
let pages = 0, unnamed = 0;

async function paged() {
  const page = await context.newPage();
  const problems = watch(page);
  const folders = [`${base}tree/`], seen = new Set();
  while (folders.length) {
    const folder = folders.shift();
    assert.ok(!seen.has(folder), `a folder is named twice: ${folder}`);
    seen.add(folder);
    await page.goto(folder);
    for (;;) {
      pages++;
      const rows = await page.$$eval('tbody tr', all => all.map(row => [row.querySelector('a')?.href, row.textContent]));
      for (const [link, text] of rows) {
        if (!link) {
          assert.match(text, /no URL can name/);
          unnamed++;
        } else if (!text.startsWith('Parent Directory')) {
          assert.ok(link.startsWith(folder) && link.length > folder.length, `${link} is not below ${folder}`);
          (link.endsWith('/') ? folders : found).push(link);
        }
      }
      const next = page.locator('a[rel=next]');
      if (!await next.count()) break;
      await Promise.all([page.waitForEvent('load'), next.click()]);
    }
  }
  await page.close();
  assert.deepEqual(problems, []);
  assert.equal(unnamed, UNNAMED.length);
  assert.equal(new Set(found).size, found.length, 'an object is named twice');
  assert.equal(found.length, KEYS);
  const lists = (await lab.requests()).filter(request => request.query?.includes('list-type'));
  assert.equal(lists.length, pages, 'one request to the store for each page');
  return `${found.length} links on ${pages} pages of ${seen.size} folders, ${lists.length} listings at the store`;
}

// In the browser, as it resolves the links. The page of a FITS file may read objects of the gateway.
async function followed() {
  const page = await context.newPage();
  await page.goto(`${base}page.fits`);
  const contents = new Map();
  for (let at = 0; at < found.length; at += AT_ONCE) {
    const links = found.slice(at, at + AT_ONCE);
    const answers = await page.evaluate(urls => Promise.all(urls.map(async url => {
      const answer = await fetch(url);
      return [answer.status, await answer.text()];
    })), links);
    for (const [n, [status, text]] of answers.entries()) {
      assert.equal(status, 200, links[n]);
      contents.set(text, links[n]);
    }
  }
  for (const key of made) assert.ok(contents.has(content(key)), `no link leads to ${JSON.stringify(key)}`);
  assert.equal(contents.size, KEYS);
  // Some of them by a click, as the only object that the page shows.
  await page.goto(`${base}tree/`);
  for (const [number, link] of (await page.$$eval('tbody a', all => all.map(a => a.href))).entries()) {
    if (number % 100 !== 99 || link.endsWith('/')) continue;
    await Promise.all([page.waitForEvent('load'), page.locator('tbody a').nth(number).click()]);
    const text = await page.evaluate(() => document.body.textContent);
    assert.equal(contents.get(text), link);
    await page.goBack();
  }
  await page.close();
  assert.equal(lab.said(), '');
  return `${contents.size} objects`;
}

async function again() {
  await lab.requests();
  const page = await context.newPage();
  await page.goto(`${base}tree/`);
  const lists = await lab.requests();
  assert.deepEqual(lists, [], 'a page that is fresh causes no request');
}

// The page of a survey with four faults: they are named with their fixes, by few requests, once.
async function linted() {
  await lab.make('broken/properties', 'hips_tile_format = png\nhips_order = 5\nhips_frame = equatorial\n');
  await lab.requests();
  const page = await context.newPage();
  const problems = watch(page, text => text.includes('404'));
  await page.goto(`${base}broken/`);
  await page.waitForFunction(() => document.getElementById('verdict').textContent === 'properties: 1 found');
  await page.click('#lint summary');
  await page.waitForFunction(() => document.getElementById('lint').dataset.state === 'done');
  const findings = await page.$$eval('#findings li', items => items.map(item => item.textContent));
  const expected = [/lacks creator_did.*Fix: add/, /no Moc.fits.*Fix: make/, /no Norder3\/Allsky.png.*Fix: make/, /lacks hips_order_min.*Fix: add/];
  assert.equal(findings.length, expected.length, findings.join('\n'));
  for (const [n, finding] of findings.entries()) assert.match(finding, expected[n]);
  await page.click('#lint summary');
  await page.click('#lint summary');
  const asked = (await lab.requests()).filter(({ path: asked }) => !/Norder[3-5]\/Dir/.test(asked));
  assert.ok(asked.length <= 18, `${asked.length} requests`);
  await page.close();
  assert.deepEqual(problems, []);
  return `${findings.length} findings, ${asked.length} requests to the store`;
}

async function fault() {
  const page = await context.newPage();
  const problems = watch(page, text => text.includes('502'));
  await page.goto(`${lab.admin}/`);
  await page.waitForFunction(() => document.getElementById('state').textContent === 'ready');
  const shown = page.waitForFunction(() => /upstream_un/.test(document.getElementById('errors').textContent), null, { timeout: 5000 });
  lab.store.kill('SIGKILL');
  const begun = Date.now();
  const answer = await fetch(`${base}tree/never-seen.txt`);
  assert.equal(answer.status, 502);
  await shown;
  const seconds = (Date.now() - begun) / 1000;
  await page.waitForFunction(() => /refused|unreachable/i.test(document.getElementById('profiles').textContent), null, { timeout: 5000 });
  await page.close();
  assert.deepEqual(problems, []);
  return `after ${seconds.toFixed(1)} s`;
}

await run([
  [`a listing of ${KEYS} hostile keys is paged without loss or repetition`, paged],
  ['every link leads to its object', followed],
  ['a page of a listing that is fresh costs the store nothing', again],
  ['the page of a survey names its faults and their fixes', linted],
  ['the status page shows a fault of a store within 5 s', fault],
]);
await browser.close();
process.exit();
