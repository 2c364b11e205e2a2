// Loads every page in Chromium and uses it. Fails for a message in the console, a failed request, a violation
// of the Content-Security-Policy, a finding of axe, or a page wider than its screen.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';

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

const idle = page => page.waitForFunction(() => document.getElementById('sky').dataset.idle === 'true', null, { timeout: 30000 });

async function useSky(page, screen) {
  await idle(page);
  assert.ok(await colours(page) > 100, 'the sky is drawn');
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

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
let failed = 0, passed = 0;
for (const [screen, options] of Object.entries(SCREENS)) {
  const context = await browser.newContext(options);
  for (const [name, { url, status = 200, use }] of Object.entries(pages)) {
    const page = await context.newPage();
    const problems = [];
    // Tiles that a survey does not have are no fault of a page, and this script reads canvases.
    const isTile = text => /Npix\d+|willReadFrequently/.test(text);
    page.on('console', message => {
      const where = `${message.text()} ${message.location().url}`;
      if (message.type() !== 'log' && !(status !== 200 && where.includes('404')) && !isTile(where)) problems.push(where);
    });
    page.on('pageerror', error => problems.push(String(error)));
    page.on('requestfailed', request => {
      if (!isTile(request.url())) problems.push(`failed: ${request.url()}`);
    });
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
