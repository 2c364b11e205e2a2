// Byte ranges of one version of an object (RFC 9110, section 14). Counts the bytes.

// Ranges in one request; the gateway answers up to 64.
const PARTS = 32;

export class Ranges {
  constructor(address) {
    this.address = address;
    this.etag = undefined;
    this.length = undefined;
    this.read = 0;
    this.requests = 0;
    this.cacheStatus = '';
  }

  // The bytes from first to last, both included, or fewer at the end of the object.
  async one(first, last) {
    const response = await this.#ask(`bytes=${first}-${last}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    this.read += bytes.length;
    const found = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get('content-range') ?? '');
    if (!found || Number(found[1]) !== first) throw new Error('The answer is not the range that was requested.');
    this.length = Number(found[3]);
    return bytes;
  }

  // The bytes of each range, in order. Calls `progress` with the share that has been read.
  async many(ranges, progress) {
    if (ranges.length === 1) {
      const bytes = await this.one(...ranges[0]);
      progress(1);
      return [bytes];
    }
    const all = [];
    for (let at = 0; at < ranges.length; at += PARTS) {
      all.push(...await this.#parts(ranges.slice(at, at + PARTS)));
      progress(all.length / ranges.length);
    }
    return all;
  }

  async #parts(ranges) {
    if (ranges.length === 1) return [await this.one(...ranges[0])];
    const response = await this.#ask(`bytes=${ranges.map(([first, last]) => `${first}-${last}`).join(',')}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    this.read += bytes.length;
    const boundary = /boundary="?([^";]+)"?/.exec(response.headers.get('content-type') ?? '')?.[1];
    const parts = boundary ? multipart(bytes) : [];
    return Promise.all(ranges.map(([first, last]) => {
      const part = parts.find(one => one.first <= first && one.last >= last);
      return part ? part.bytes.subarray(first - part.first, last + 1 - part.first) : this.one(first, last);
    }));
  }

  async #ask(range) {
    this.requests++;
    const headers = { Range: range };
    // All reads are of one version.
    if (this.etag) headers['If-Match'] = this.etag;
    const response = await fetch(this.address, { headers });
    this.cacheStatus = response.headers.get('cache-status') ?? '';
    if (response.status === 412) throw new Error('The file was overwritten while it was read. Reload the page.');
    if (response.status === 200) {
      await response.body?.cancel();
      throw new Error('The answer is the whole file instead of a range.');
    }
    if (response.status !== 206) throw new Error(`The file: status ${response.status}.`);
    const etag = response.headers.get('etag');
    if (etag && !etag.startsWith('W/')) this.etag = etag;
    return response;
  }
}

// The parts of a multipart/byteranges body (RFC 9110, 14.6): each Content-Range says how long its part is.
export function multipart(bytes) {
  const parts = [], decoder = new TextDecoder('latin1');
  let at = 0;
  while (at < bytes.length) {
    const head = decoder.decode(bytes.subarray(at, at + 1024));
    const end = head.indexOf('\r\n\r\n');
    const found = /content-range:\s*bytes (\d+)-(\d+)\//i.exec(head.slice(0, Math.max(0, end)));
    if (end < 0 || !found) break;
    const first = Number(found[1]), last = Number(found[2]), start = at + end + 4;
    const body = bytes.subarray(start, start + last - first + 1);
    if (body.length !== last - first + 1) throw new Error('A part of the answer is incomplete.');
    parts.push({ first, last, bytes: body });
    at = start + body.length;
  }
  return parts;
}
