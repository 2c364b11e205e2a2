// The page of a FITS file: the header cards of each HDU, and a picture of an image with an asinh stretch.
import { BLOCK, compressedSize, imageOf, parseHeader } from './fits-header.js';
import { limits, paint, picture, plan } from './fits-pixels.js';
import { Ranges } from './ranges.js';

// Bytes of a picture that are read without being asked for, and at most.
const UNASKED = 2 * 2 ** 20, MOST = 256 * 2 ** 20;
const FIRST_READ = 4 * BLOCK, LONGEST_HEADER = 1000 * BLOCK, MOST_HDUS = 200;

const element = id => document.getElementById(id);
const file = new Ranges(new URL('?raw', location.href));
const name = decodeURIComponent(location.pathname.split('/').pop());

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const size = bytes => bytes < 10240 ? `${bytes} bytes`
  : bytes < 10 * 2 ** 20 ? `${(bytes / 1024).toFixed(0)} KiB`
    : bytes < 10 * 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(0)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;

// The header unit at this offset, read in growing pieces.
async function headerAt(offset) {
  let bytes = new Uint8Array(0);
  for (let ask = FIRST_READ; bytes.length < LONGEST_HEADER; ask *= 2) {
    const first = offset + bytes.length;
    if (file.length !== undefined && first >= file.length) break;
    const more = await file.one(first, first + ask - 1);
    bytes = joined(bytes, more);
    const hdu = parseHeader(bytes, offset);
    if (hdu) return hdu;
  }
  throw new Error(`The header at byte ${offset} has no END card.`);
}

function joined(a, b) {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

function showHeader(hdu, number) {
  const rows = hdu.cards.map(card => make('tr', {},
    make('th', { scope: 'row', textContent: card.keyword }),
    card.value === undefined
      ? make('td', { colSpan: 2, textContent: card.text.slice(8).trim() })
      : make('td', { textContent: String(card.value) }),
    ...(card.value === undefined ? [] : [make('td', { textContent: card.comment })])));
  const shape = hdu.axes.length ? hdu.axes.join(' × ') : 'no data';
  const details = make('details', { open: number === 0 },
    make('summary', { textContent: `HDU ${number}: ${hdu.name || hdu.type}, ${shape}, ${hdu.cards.length} cards, ${size(hdu.dataBytes)}` }),
    make('div', { className: 'scroll', tabIndex: 0 },
      make('table', {}, make('caption', { textContent: `Cards of HDU ${number}` }), make('tbody', {}, ...rows))));
  details.querySelector('.scroll').setAttribute('role', 'region');
  details.querySelector('.scroll').setAttribute('aria-label', `Cards of HDU ${number}`);
  element('headers').append(details);
}

function say(text) {
  element('state').textContent = text;
}

function account() {
  element('account').textContent = `${size(file.read)} of ${size(file.length ?? 0)} read in ${file.requests} requests; ` +
    `last: ${file.cacheStatus || 'no Cache-Status'}`;
}

let shown;

function repaint() {
  if (!shown) return;
  const canvas = element('picture');
  canvas.width = shown.width;
  canvas.height = shown.height;
  const pixels = paint(shown, shown.limits, 10 ** Number(element('softening').value));
  canvas.getContext('2d').putImageData(new ImageData(pixels, shown.width, shown.height), 0, 0);
}

async function showImage(image, number, budget) {
  const reads = plan(image, budget);
  const total = image.rowBytes * image.height;
  const shape = `${image.width} × ${image.height} pixels, ${size(total)}`;
  const whole = element('whole');
  whole.hidden = total <= budget || total > MOST;
  whole.textContent = `Read the whole image (${size(total)})`;
  whole.onclick = () => { showImage(image, number, MOST).catch(problem); };
  if (!reads) {
    const more = total > MOST ? 'It is too large for a picture on this page; download the file.' : '';
    say(`The image of HDU ${number} has ${shape}. ${more}`);
    return;
  }
  say(`Reading the image of HDU ${number}…`);
  const parts = await file.many(reads.ranges, share => { say(`Reading the image of HDU ${number}: ${Math.round(100 * share)} %`); });
  if (parts.some((part, n) => part.length !== reads.ranges[n][1] - reads.ranges[n][0] + 1)) {
    throw new Error('The file ends within its image.');
  }
  const rows = reads.every > 1 ? parts
    : Array.from({ length: image.height }, (_, row) => parts[0].subarray(row * image.rowBytes, (row + 1) * image.rowBytes));
  shown = picture(rows, image, reads.every);
  shown.limits = limits(shown.values);
  element('stretch').hidden = false;
  element('picture').hidden = false;
  repaint();
  const one = shown.shrink === 1 ? 'every pixel' : `one pixel of ${shown.shrink} in each direction`;
  say(`HDU ${number}: ${shape}; ${one}; values from ${shown.limits.map(v => v.toPrecision(4)).join(' to ')}.`);
  account();
}

function problem(error) {
  say(error.message);
  account();
}

async function open() {
  document.title = name;
  element('title').textContent = name;
  element('download').href = file.address;
  let first, compressed = false, offset = 0;
  for (let number = 0; number < MOST_HDUS; number++) {
    const hdu = await headerAt(offset);
    showHeader(hdu, number);
    account();
    const image = imageOf(hdu);
    if (image && !first) first = { image, number };
    compressed ||= compressedSize(hdu) !== null;
    offset = hdu.next;
    if (offset + BLOCK > file.length) break;
  }
  element('softening').oninput = repaint;
  if (first) await showImage(first.image, first.number, UNASKED);
  else say(compressed ? 'The images of this file are compressed; this page shows their headers only.' : 'This file has no image.');
  element('headers').dataset.done = 'true';
}

open().catch(error => { problem(error); element('headers').dataset.done = 'true'; });
