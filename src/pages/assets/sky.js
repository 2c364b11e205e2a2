// The page of a survey: pans and zooms by pointer, touch and keyboard.
import { axes, cellsInView, drawCell, orderOf, scale, unproject } from './draw.js';
import { RADIAN, cellAt, clamp, fromDegrees, galacticFromIcrs, icrsFromGalactic, sexagesimal, tilePath, toDegrees }
  from './healpix.js';
import { lintFiles, lintProperties } from './lint.js';
import { describe } from './survey.js';
import { Tiles } from './tiles.js';

const element = id => document.getElementById(id);
const canvas = element('sky'), context = canvas.getContext('2d');
const root = new URL('.', location.href);

let survey, tiles, view, planned = false, pointer;

function plan() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => { planned = false; paint(); });
}

function area() {
  return [canvas.width, canvas.height];
}

function paint() {
  const ratio = devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  context.clearRect(0, 0, width, height);
  const frame = axes(view), size = scale(view, height);
  const order = orderOf(view, height, survey);
  const cells = cellsInView(order, frame, size, area());
  const wanted = [];
  // The tiles of the lowest order come first: they show something everywhere.
  const coarse = new Set(cells.map(index => Math.floor(index / 4 ** (order - survey.orderMin))));
  for (const index of coarse) wanted.push([survey.orderMin, index]);
  for (const index of cells) wanted.push([order, index]);
  for (const index of cells) {
    for (let up = 0; order - up >= survey.orderMin; up++) {
      const entry = tiles.get(order - up, Math.floor(index / 4 ** up));
      if (entry?.state !== 'here') continue;
      drawCell(context, entry.image, order, index, up, frame, size, area());
      break;
    }
  }
  tiles.want(wanted);
  report(order, cells.length);
}

function report(order, cells) {
  const { loaded, missing, failed } = tiles.counts;
  element('state').textContent = `order ${order}, ${cells} cells in view; ${loaded} tiles loaded, ` +
    `${missing} missing${failed ? `, ${failed} failed` : ''}`;
  canvas.dataset.idle = tiles.running === 0 && tiles.wanted.length === 0 ? 'true' : 'false';
  describePointer(order);
}

// Coordinates and tile under the pointer, or in the middle of the view.
function describePointer(order) {
  const ratio = devicePixelRatio || 1;
  const at = pointer ? [pointer[0] * ratio, pointer[1] * ratio] : [canvas.width / 2, canvas.height / 2];
  const vector = unproject(at, axes(view), scale(view, canvas.height), area());
  const icrs = survey.frame === 'galactic' ? icrsFromGalactic(vector) : vector;
  const [ra, dec] = toDegrees(icrs), [l, b] = toDegrees(galacticFromIcrs(icrs));
  element('position').textContent =
    `${sexagesimal(ra, dec)} (${ra.toFixed(4)}, ${dec.toFixed(4)}); galactic ${l.toFixed(3)}, ${b.toFixed(3)}`;
  const index = cellAt(order, vector), entry = tiles.get(order, index);
  const link = element('tile');
  link.textContent = tilePath(order, index, survey.format);
  link.href = new URL(link.textContent, root);
  element('status').textContent = !entry ? 'not requested' : entry.state === 'here'
    ? `${entry.bytes.toLocaleString('en')} bytes; ${entry.cacheStatus || 'no Cache-Status'}`
    : `${entry.state}${entry.status ? ` (${entry.status})` : ''}; ${entry.cacheStatus}`;
}

function zoom(factor) {
  view.height = clamp(view.height * factor, 0.002, 180);
  plan();
}

// Moves the view by pixels of the page.
function move(x, y) {
  const degrees = view.height / Math.max(1, canvas.clientHeight);
  view.longitude = (view.longitude + x * degrees / Math.max(0.1, Math.cos(view.latitude * RADIAN)) + 360) % 360;
  view.latitude = clamp(view.latitude + y * degrees, -90, 90);
  plan();
}

function listen() {
  const fingers = new Map();
  let spread = 0;
  const distance = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  canvas.addEventListener('pointerdown', event => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (fingers.size === 2) spread = distance();
  });
  canvas.addEventListener('pointermove', event => {
    pointer = [event.offsetX, event.offsetY];
    const before = fingers.get(event.pointerId);
    if (!before) { plan(); return; }
    fingers.set(event.pointerId, pointer);
    if (fingers.size === 1) {
      move(pointer[0] - before[0], pointer[1] - before[1]);
    } else if (fingers.size === 2) {
      const now = distance();
      if (spread > 0 && now > 0) zoom(spread / now);
      spread = now;
    }
  });
  for (const end of ['pointerup', 'pointercancel']) {
    canvas.addEventListener(end, event => fingers.delete(event.pointerId));
  }
  canvas.addEventListener('pointerleave', () => { pointer = undefined; plan(); });
  canvas.addEventListener('wheel', event => {
    event.preventDefault();
    zoom(Math.exp(event.deltaY / 600));
  }, { passive: false });
  const step = 60;
  const keys = {
    ArrowLeft: () => move(step, 0), ArrowRight: () => move(-step, 0),
    ArrowUp: () => move(0, step), ArrowDown: () => move(0, -step),
    '+': () => zoom(1 / 1.4), '=': () => zoom(1 / 1.4), '-': () => zoom(1.4), Home: start,
  };
  canvas.addEventListener('keydown', event => {
    const action = keys[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  });
  element('in').addEventListener('click', () => zoom(1 / 1.6));
  element('out').addEventListener('click', () => zoom(1.6));
  element('home').addEventListener('click', start);
  new ResizeObserver(plan).observe(canvas);
}

function start() {
  const icrs = fromDegrees(survey.rightAscension, survey.declination);
  const [longitude, latitude] = toDegrees(survey.frame === 'galactic' ? galacticFromIcrs(icrs) : icrs);
  view = { longitude, latitude, height: survey.height };
  plan();
}

// The first bytes of a file of the survey, or its status alone.
async function ask(path, bytes) {
  const options = bytes ? { headers: { Range: `bytes=0-${bytes - 1}` } } : { method: 'HEAD' };
  const response = await fetch(new URL(path, root), options);
  return { status: response.status, bytes: new Uint8Array(await response.arrayBuffer()).subarray(0, bytes) };
}

function show(findings) {
  const list = element('findings');
  list.replaceChildren(...findings.map(({ level, what, fix }) => {
    const item = document.createElement('li');
    item.textContent = `${level}: ${what}. Fix: ${fix}.`;
    return item;
  }));
  return findings.length === 0 ? 'nothing found' : `${findings.length} found`;
}

// The properties are read already; other files are asked for when somebody opens the list.
function lint(text) {
  const details = element('lint'), verdict = element('verdict');
  const first = lintProperties(text);
  verdict.textContent = `properties: ${show(first)}`;
  details.addEventListener('toggle', async () => {
    if (details.dataset.state) return;
    details.dataset.state = 'running';
    try {
      const all = [...first, ...await lintFiles(text, ask)];
      verdict.textContent = `properties, Moc.fits, Allsky: ${show(all)}`;
    } catch (error) {
      verdict.textContent = `not finished: ${error.message}`;
    }
    details.dataset.state = 'done';
  });
  details.hidden = false;
}

async function open() {
  const response = await fetch(new URL('properties', root));
  if (!response.ok) throw new Error(`The properties file of this survey: status ${response.status}.`);
  const text = await response.text();
  lint(text);
  survey = describe(text);
  document.title = survey.title;
  element('title').textContent = survey.title;
  element('copyright').textContent = survey.copyright;
  tiles = new Tiles((order, index) => new URL(tilePath(order, index, survey.format), root), plan);
  listen();
  start();
}

open().catch(error => { element('state').textContent = error.message; });
