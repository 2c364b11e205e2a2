// Chromium, and what counts as a problem of a page: a message in the console, an exception, a failed
// request.
import { chromium } from 'playwright-core';

// WebGL without a graphics card, for Aladin Lite and JS9.
const GRAPHICS = ['--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-dev-shm-usage'];

export const launch = (args = []) =>
  chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', ...args] });
export const launchWithGraphics = (args = []) => launch([...GRAPHICS, ...args]);

// The list of problems of a page, filled from now on. `ignores` says of a text whether it is none.
export function watch(page, ignores = () => false) {
  const problems = [];
  const add = text => { if (!ignores(text)) problems.push(text); };
  page.on('console', message => {
    if (message.type() !== 'log') add(`${message.type()}: ${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', error => add(String(error)));
  page.on('requestfailed', request => add(`failed: ${request.url()} ${request.failure()?.errorText}`));
  return problems;
}

// Runs cases, prints a line for each, and ends the process with 1 if one has failed. A case is a name and a
// function that throws, or returns what to print.
export async function run(cases) {
  let failed = 0;
  for (const [name, test] of cases) {
    const begun = Date.now();
    try {
      const said = await test();
      console.log(`ok ${name} (${((Date.now() - begun) / 1000).toFixed(1)} s)${said ? `: ${said}` : ''}`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}\n  ${error.stack}`);
    }
  }
  console.log(`${cases.length - failed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}
