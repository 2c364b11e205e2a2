// A short lint of a survey: its properties, and a few requests for its other files. `s3proxy check --hips` compares a
// thousand tiles as well.
import { parseHeader } from './fits-header.js';
import { parseProperties } from './survey.js';

// HiPS 1.0, section 4.4.1, "R".
const MANDATORY = ['creator_did', 'obs_title', 'dataproduct_type', 'hips_version', 'hips_release_date', 'hips_status',
  'hips_tile_format', 'hips_order', 'hips_frame'];
const EXTENSIONS = new Map([['png', 'png'], ['jpeg', 'jpg'], ['jpg', 'jpg'], ['fits', 'fits'], ['webp', 'webp']]);
const FRAMES = ['equatorial', 'galactic', 'ecliptic'];
// The headers of a coverage map take three blocks of 2880 bytes.
const MAP_BYTES = 8640;

const words = text => (text ?? '').split(/[\s,]+/).filter(word => word);

// An order of the standard; null if there is none, NaN if the value is none.
function orderIn(properties, key) {
  const value = properties.get(key);
  if (!value) return null;
  return /^\d{1,2}$/.test(value) && Number(value) <= 29 ? Number(value) : Number.NaN;
}

// What is wrong with the properties: [{ level, what, fix }].
export function lintProperties(text) {
  const found = [], add = (level, what, fix) => found.push({ level, what, fix });
  const lines = text.split(/\r?\n/).map(line => line.trim());
  const bad = lines.findIndex(line => line && !line.startsWith('#') && !/^[^=\s][^=]*=/.test(line));
  if (bad >= 0) add('FAILED', `line ${bad + 1} of properties has no "="`, 'write one "keyword = value" a line');
  const properties = parseProperties(text);
  const missing = MANDATORY.filter(key => !properties.get(key));
  if (missing.length > 0) {
    add('FAILED', `properties lacks ${missing.join(', ')}`, 'add these keywords: HiPS 1.0 requires them');
  }
  const order = orderIn(properties, 'hips_order'), least = orderIn(properties, 'hips_order_min');
  for (const [key, value] of [['hips_order', order], ['hips_order_min', least]]) {
    if (Number.isNaN(value)) add('FAILED', `${key} is ${properties.get(key)}`, 'write a whole number from 0 to 29');
  }
  if (least !== null && least > order) {
    add('FAILED', `hips_order_min is ${least}, above hips_order, ${order}`, 'write the lowest order that has tiles');
  }
  const unknown = words(properties.get('hips_tile_format')).filter(word => !EXTENSIONS.has(word));
  if (unknown.length > 0) {
    add('warning', `hips_tile_format has ${unknown.join(', ')}`, 'the formats are png, jpeg, fits and webp');
  }
  const frame = properties.get('hips_frame');
  if (frame && !FRAMES.includes(frame)) {
    add('warning', `hips_frame is ${frame}`, `the frames are ${FRAMES.join(', ')}`);
  }
  return found;
}

// What is wrong with the other files. `ask(path, bytes)` is the answer for a path: its status and the first bytes, of
// which none are wanted if `bytes` is 0. At most 18 requests.
export async function lintFiles(text, ask) {
  const found = [], add = (level, what, fix) => found.push({ level, what, fix });
  const properties = parseProperties(text);
  const failed = status => status !== 404 && status >= 400;
  const map = await ask('Moc.fits', MAP_BYTES);
  if (map.status === 404) {
    add('warning', 'there is no Moc.fits: viewers ask for tiles outside of the survey', 'make one, with Hipsgen MOC or mocpy');
  } else if (failed(map.status)) {
    add('FAILED', `Moc.fits is answered with ${map.status}`, 's3proxy check says why');
  } else {
    const wrong = wrongMap(map.bytes);
    if (wrong) add('FAILED', `Moc.fits ${wrong}`, 'make it again, with Hipsgen MOC or mocpy');
  }
  const extensions = [...new Set(words(properties.get('hips_tile_format')).map(word => EXTENSIONS.get(word)))]
    .filter(extension => extension);
  for (const extension of extensions) {
    const { status } = await ask(`Norder3/Allsky.${extension}`, 0);
    if (status === 404) {
      add('warning', `there is no Norder3/Allsky.${extension}: some viewers ask for 768 tiles in its place`, 'make it, with Hipsgen ALLSKY');
    } else if (failed(status)) {
      add('FAILED', `Norder3/Allsky.${extension} is answered with ${status}`, 's3proxy check says why');
    }
  }
  if (orderIn(properties, 'hips_order_min') === null && extensions.length > 0) {
    const cells = Array.from({ length: 12 }, (_, cell) => ask(`Norder0/Dir0/Npix${cell}.${extensions[0]}`, 0));
    if ((await Promise.all(cells)).every(({ status }) => status === 404)) {
      add('warning', 'properties lacks hips_order_min, and order 0 has no tiles: viewers ask for 12 to 17 tiles that do not exist each time the survey is opened',
        'add hips_order_min, the lowest order that has tiles');
    }
  }
  return found;
}

// Why a map is not one of the sky (MOC 2.0, 4.3); nothing if its headers are right.
export function wrongMap(bytes) {
  try {
    const primary = parseHeader(bytes, 0);
    const table = primary && parseHeader(bytes.subarray(primary.next), primary.next);
    if (!table) return 'ends within its headers';
    const { values } = table;
    if (!['NUNIQ', 'RANGE'].includes(values.get('ORDERING'))) return `has the ORDERING ${values.get('ORDERING')}`;
    if (values.get('COORDSYS') !== 'C') return `has the COORDSYS ${values.get('COORDSYS')}: a map is in ICRS, "C"`;
    return undefined;
  } catch (error) {
    return `is no coverage map: ${error.message}`;
  }
}
