// FITS headers (FITS 4.0, sections 3 and 4). Pure: bytes in, values out.

export const BLOCK = 2880;
const CARD = 80;

// A header unit that begins at `offset` of the file: the cards, and where its data begin and end; null if
// the bytes end before the END card. Throws if they are no header.
export function parseHeader(bytes, offset) {
  const cards = [];
  for (let at = 0; at + CARD <= bytes.length; at += CARD) {
    let text = '';
    for (let i = at; i < at + CARD; i++) {
      // 4.1: restricted ASCII. A byte outside of it is shown as a dot.
      text += bytes[i] >= 32 && bytes[i] < 127 ? String.fromCharCode(bytes[i]) : '·';
    }
    if (cards.length === 0 && !/^(SIMPLE  =|XTENSION=)/.test(text)) {
      throw new Error(`No FITS header at byte ${offset}.`);
    }
    cards.push(parseCard(text));
    if (text.slice(0, 8) === 'END     ') {
      const headerBytes = Math.ceil((at + CARD) / BLOCK) * BLOCK;
      return unit(cards, offset, headerBytes);
    }
  }
  return null;
}

// Keyword, value and comment of a card (4.1, 4.2). The value is a string, number, boolean or undefined.
export function parseCard(text) {
  const keyword = text.slice(0, 8).trimEnd();
  const card = { keyword, text: text.trimEnd(), value: undefined, comment: '' };
  if (text.slice(8, 10) !== '= ') return card;
  const rest = text.slice(10);
  const string = /^\s*'((?:[^']|'')*)'\s*(?:\/\s*(.*))?$/.exec(rest);
  if (string) {
    card.value = string[1].replaceAll("''", "'").trimEnd();
    card.comment = (string[2] ?? '').trim();
    return card;
  }
  const slash = rest.indexOf('/');
  const value = (slash < 0 ? rest : rest.slice(0, slash)).trim();
  card.comment = slash < 0 ? '' : rest.slice(slash + 1).trim();
  if (value === 'T' || value === 'F') card.value = value === 'T';
  else if (/^[+-]?(\d+\.?\d*|\.\d+)([ED][+-]?\d+)?$/i.test(value)) card.value = Number(value.replace(/d/i, 'e'));
  else if (value) card.value = value;
  return card;
}

function unit(cards, offset, headerBytes) {
  const values = new Map();
  for (const card of cards) {
    if (card.value !== undefined && !values.has(card.keyword)) values.set(card.keyword, card.value);
  }
  const whole = (key, otherwise) => {
    const value = values.get(key);
    if (value === undefined) return otherwise;
    if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${key} is not a number of things: ${value}.`);
    return value;
  };
  const naxis = whole('NAXIS', 0);
  if (naxis > 999) throw new Error(`NAXIS is ${naxis}.`);
  const axes = Array.from({ length: naxis }, (_, n) => whole(`NAXIS${n + 1}`, 0));
  const bitpix = values.get('BITPIX');
  if (![8, 16, 32, 64, -32, -64].includes(bitpix)) throw new Error(`BITPIX is ${bitpix}.`);
  // 4.4.1.1 and 4.4.1.2. Random groups have NAXIS1 = 0.
  const groups = values.get('GROUPS') === true && axes[0] === 0;
  const elements = axes.length === 0 ? 0 : (groups ? axes.slice(1) : axes).reduce((a, b) => a * b, 1);
  const dataBytes = Math.abs(bitpix) / 8 * whole('GCOUNT', 1) * (whole('PCOUNT', 0) + elements);
  if (!Number.isSafeInteger(dataBytes)) throw new Error('The data unit is larger than any file.');
  const dataStart = offset + headerBytes;
  return {
    offset, cards, values, axes, bitpix, dataStart, dataBytes,
    next: dataStart + Math.ceil(dataBytes / BLOCK) * BLOCK,
    type: values.get('XTENSION') ?? 'PRIMARY',
    name: values.get('EXTNAME') ?? '',
  };
}

// The image of a header unit, or null: { width, height, bitpix, start, rowBytes, scale, zero, blank }. Of a
// cube it is the first plane.
export function imageOf(hdu) {
  const isImage = hdu.type === 'PRIMARY' || hdu.type === 'IMAGE';
  const [width, height] = hdu.axes;
  if (!isImage || hdu.axes.length < 2 || !width || !height || hdu.axes.includes(0)) return null;
  const number = (key, otherwise) => typeof hdu.values.get(key) === 'number' ? hdu.values.get(key) : otherwise;
  return {
    width, height, bitpix: hdu.bitpix, start: hdu.dataStart, rowBytes: width * Math.abs(hdu.bitpix) / 8,
    scale: number('BSCALE', 1), zero: number('BZERO', 0), blank: number('BLANK', undefined),
  };
}

// A compressed image is a table (10.1): its size as an image, or null.
export function compressedSize(hdu) {
  return hdu.values.get('ZIMAGE') === true
    ? [hdu.values.get('ZNAXIS1') ?? 0, hdu.values.get('ZNAXIS2') ?? 0] : null;
}
