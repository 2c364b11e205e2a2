// What a survey's `properties` file says (HiPS 1.0, 4.4.1). Pure: text in, values out.

// The formats that browsers show, the best first.
const FORMATS = ['webp', 'png', 'jpg'];

// "key = value" lines; "#" begins a comment line. The last value of a key counts.
export function parseProperties(text) {
  const properties = new Map();
  for (const line of text.split(/\r?\n/)) {
    const found = /^\s*([^#=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(line);
    if (found) properties.set(found[1], found[2]);
  }
  return properties;
}

// The survey as the viewer needs it, or an error that says what is missing.
export function describe(text) {
  const properties = parseProperties(text);
  const number = (key, low, high, otherwise) => {
    const value = Number.parseFloat(properties.get(key) ?? '');
    return value >= low && value <= high ? value : otherwise;
  };
  const order = Math.floor(number('hips_order', 0, 29, Number.NaN));
  if (Number.isNaN(order)) throw new Error('The properties file has no valid hips_order.');
  const offered = (properties.get('hips_tile_format') ?? '').toLowerCase().split(/[\s,]+/)
    .map(format => format === 'jpeg' ? 'jpg' : format);
  const format = FORMATS.find(known => offered.includes(known));
  if (!format) {
    throw new Error(`The viewer shows ${FORMATS.join(', ')}; hips_tile_format is "${properties.get('hips_tile_format') ?? ''}".`);
  }
  const frame = (properties.get('hips_frame') ?? 'equatorial').toLowerCase();
  if (frame !== 'equatorial' && frame !== 'galactic') {
    throw new Error(`The viewer shows equatorial and galactic surveys; hips_frame is "${frame}".`);
  }
  return {
    title: properties.get('obs_title') ?? properties.get('obs_collection') ?? 'Survey',
    copyright: properties.get('obs_copyright') ?? '',
    // Numbers of cells above order 13 need more than 32 bits.
    order: Math.min(order, 13),
    orderMin: Math.min(Math.floor(number('hips_order_min', 0, 29, 0)), order),
    width: number('hips_tile_width', 1, 8192, 512),
    format,
    frame,
    rightAscension: number('hips_initial_ra', 0, 360, 0),
    declination: number('hips_initial_dec', -90, 90, 0),
    height: number('hips_initial_fov', 1e-6, 180, 60),
  };
}
