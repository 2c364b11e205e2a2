// Loads every page in Chromium and uses it. Fails for a message in the console, a failed request, a violation
// of the Content-Security-Policy, a finding of axe, or a page wider than its screen.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { launch, watch } from './browser.mjs';

const [, , gateway, admin, folder] = process.argv;
const axe = readFileSync('node_modules/axe-core/axe.min.js', 'utf8');
const SCREENS = {
  light: { viewport: { width: 1200, height: 900 }, colorScheme: 'light' },
  dark: { viewport: { width: 1200, height: 900 }, colorScheme: 'dark' },
  phone: { viewport: { width: 360, height: 740 }, colorScheme: 'dark', hasTouch: true },
};
const survey = `${gateway}/s3proxy/s3/hips@sky/`;
const pages = {
  landing: { url: `${gateway}/` },
  documentation: { url: `${gateway}/s3proxy/docs` },
  listing: { url: `${survey}Norder3/` },
  error: { url: `${survey}Norder3/Dir0/Npix99999.png`, status: 404 },
  sky: { url: survey, use: useSky },
  fits: { url: `${survey}panorama.fits`, use: useFits },
  status: { url: `${admin}/`, use: async page => page.waitForFunction(() => document.getElementById('state').textContent === 'ready') },
};

// How many colours the middle of a canvas has, in all frames as it is shown.
const colours = page => page.evaluate(() => {
  const canvas = document.querySelector('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let at = 0; at < data.length; at += 4 * 37) seen.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
  return seen.size;
});

// The brightness of points of the canvas in the viewer, with the galactic coordinates that it shows for
// them: [longitude, latitude, brightness].
const points = page => page.evaluate(async count => {
  const canvas = document.querySelector('canvas'), box = canvas.getBoundingClientRect();
  const context = canvas.getContext('2d'), ratio = canvas.width / canvas.clientWidth, found = [];
  const frame = () => new Promise(resolve => { requestAnimationFrame(resolve); });
  for (let n = 0; n < count; n++) {
    // Two irrational steps spread the points evenly.
    const x = box.width * (0.05 + 0.9 * (n * 0.754877666 % 1)), y = box.height * (0.05 + 0.9 * (n * 0.569840291 % 1));
    canvas.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + x, clientY: box.top + y }));
    await frame();
    await frame();
    const text = document.getElementById('position').textContent;
    const [, l, b] = /galactic (-?[\d.]+), (-?[\d.]+)/.exec(text);
    const { data } = context.getImageData(x * ratio - 3, y * ratio - 3, 7, 7), light = [];
    for (let at = 0; at < data.length; at += 4) light.push(data[at] + data[at + 1] + data[at + 2]);
    // The median: stars are points in the tiles and not in the panorama.
    found.push([Number(l), Number(b), light.sort((one, other) => one - other)[24]]);
  }
  return found;
}, 150);

// The panorama of the quickstart: the same sky, computed on another grid. Plate carrée in galactic
// coordinates, longitude zero in the middle, float32 (examples/quickstart/survey/fits.rs).
async function panorama() {
  const view = new DataView(await (await fetch(`${survey}panorama.fits`)).arrayBuffer(), 2880);
  return (l, b) => {
    const column = Math.floor((0.5 - (l > 180 ? l - 360 : l) / 360) * 4096), row = Math.floor((0.5 + b / 180) * 2048);
    return view.getFloat32(4 * (row * 4096 + column));
  };
}

// Spearman's: 1 where one value rises with the other, near 0 where they have nothing to do with each other.
function correlation(pairs) {
  const ranks = values => {
    const order = values.map((value, n) => [value, n]).sort(([a], [b]) => a - b), all = [];
    for (const [rank, [, n]] of order.entries()) all[n] = rank - (values.length - 1) / 2;
    return all;
  };
  const [a, b] = [0, 1].map(side => ranks(pairs.map(pair => pair[side])));
  const sum = (x, y) => x.reduce((total, value, n) => total + value * y[n], 0);
  return sum(a, b) / Math.sqrt(sum(a, a) * sum(b, b));
}

async function compareSky(page) {
  const computed = await panorama(), shown = await points(page);
  const right = correlation(shown.map(([l, b, light]) => [computed(l, b), light]));
  // The same colours at other places must not pass.
  const wrong = correlation(shown.map(([l, b], n) => [computed(l, b), shown[(n + 40) % shown.length][2]]));
  assert.ok(right > 0.85 && right - wrong > 0.3, `drawn and computed sky agree by ${right.toFixed(2)}, other places by ${wrong.toFixed(2)}`);
}

const idle = page => page.waitForFunction(() => document.getElementById('sky').dataset.idle === 'true', null, { timeout: 30000 });

async function useSky(page, screen) {
  await idle(page);
  assert.ok(await colours(page) > 100, 'the sky is drawn');
  if (screen === 'light') await compareSky(page);
  const before = await page.textContent('#position');
  await page.focus('#sky');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('+');
  await page.waitForFunction(text => document.getElementById('position').textContent !== text, before);
  await page.click('#in');
  await page.click('#in');
  await idle(page);
  assert.match(await page.textContent('#state'), /order [1-5], \d+ cells in view/);
  assert.ok(await colours(page) > 100, 'the sky is drawn after a move');
  if (screen !== 'phone') {
    await page.hover('#sky');
    await page.waitForFunction(() => /s3proxy/.test(document.getElementById('status').textContent));
  }
  await page.click('#home');
  await idle(page);
  // The survey of the quickstart is clean.
  assert.equal(await page.textContent('#verdict'), 'properties: nothing found');
  await page.click('#lint summary');
  await page.waitForFunction(() => document.getElementById('lint').dataset.state === 'done');
  assert.equal(await page.textContent('#verdict'), 'properties, Moc.fits, Allsky: nothing found');
}

async function useFits(page) {
  await page.waitForFunction(() => document.getElementById('headers').dataset.done === 'true', null, { timeout: 30000 });
  assert.match(await page.textContent('#headers'), /SIMPLE/);
  assert.ok(await colours(page) > 20, 'the picture is drawn');
  const account = await page.textContent('#account');
  const [, read, unit] = /^([\d.]+) (bytes|KiB|MiB)/.exec(account);
  const bytes = Number(read) * { bytes: 1, KiB: 1024, MiB: 2 ** 20 }[unit];
  assert.ok(bytes < 3 * 2 ** 20, `at most 3 MiB of 34 are read: ${account}`);
  await page.fill('#softening', '3');
}

const browser = await launch();
let failed = 0, passed = 0;
for (const [screen, options] of Object.entries(SCREENS)) {
  const context = await browser.newContext(options);
  for (const [name, { url, status = 200, use }] of Object.entries(pages)) {
    const page = await context.newPage();
    // Tiles that a survey does not have are no fault of a page, and this script reads canvases.
    const problems = watch(page, text =>
      /Npix\d+|willReadFrequently/.test(text) || status !== 200 && text.includes(String(status)));
    try {
      const response = await page.goto(url);
      assert.equal(response.status(), status, url);
      await use?.(page, screen);
      await page.screenshot({ path: path.join(folder, `${name}-${screen}.png`) });
      assert.ok(!await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), 'wider than the screen');
      const session = await context.newCDPSession(page);
      const { result } = await session.send('Runtime.evaluate', {
        expression: `${axe};axe.run(document).then(all => all.violations.map(it => it.id + ': ' + it.nodes.map(node => node.html).join(' ')))`,
        awaitPromise: true, returnByValue: true,
      });
      problems.push(...result.value ?? ['axe did not run']);
    } catch (error) {
      problems.push(error.message);
    }
    console.log(`${problems.length ? 'FAILED' : 'ok'} ${name}, ${screen}`);
    for (const problem of problems) console.log(`  ${problem}`);
    if (problems.length) failed++;
    else passed++;
    await page.close();
  }
  await context.close();
}
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
