// Loads tiles: the ones in view, a few at a time, coarse ones first, and no tile twice. Tiles that left
// the view before they arrived are aborted.

const PARALLEL = 8;
// Decoded tiles in memory, or as many as the view needs; a tile of 512 pixels takes 1 MiB.
const LIMIT = 300;

export class Tiles {
  // `address` makes the URL of a tile, `changed` is called when a tile has arrived or is known to be missing.
  constructor(address, changed) {
    this.address = address;
    this.changed = changed;
    this.entries = new Map();
    this.running = 0;
    this.wanted = [];
    this.needed = new Set();
    this.counts = { loaded: 0, missing: 0, failed: 0 };
  }

  key(order, index) {
    return order * 2 ** 40 + index;
  }

  // The entry if the tile has been asked for: { state: 'waiting' | 'here' | 'missing' | 'failed', image, cacheStatus, bytes }.
  get(order, index) {
    const key = this.key(order, index), entry = this.entries.get(key);
    if (entry?.state === 'here') {
      // Last used, last dropped.
      this.entries.delete(key);
      this.entries.set(key, entry);
    }
    return entry;
  }

  // The tiles that the view needs now, [order, index] each, in order of importance.
  want(cells) {
    this.needed = new Set(cells.map(([order, index]) => this.key(order, index)));
    for (const [key, entry] of this.entries) {
      if (entry.abort && !this.needed.has(key)) entry.abort.abort();
    }
    this.wanted = cells.filter(([order, index]) => !this.entries.has(this.key(order, index)));
    this.#next();
  }

  #next() {
    while (this.running < PARALLEL && this.wanted.length) {
      const [order, index] = this.wanted.shift();
      if (!this.entries.has(this.key(order, index))) void this.#load(order, index);
    }
  }

  async #load(order, index) {
    const key = this.key(order, index), abort = new AbortController();
    const entry = { state: 'waiting', abort, cacheStatus: '', bytes: 0, status: 0 };
    this.entries.set(key, entry);
    this.running++;
    try {
      const response = await fetch(this.address(order, index), { signal: abort.signal });
      entry.status = response.status;
      entry.cacheStatus = response.headers.get('cache-status') ?? '';
      if (response.ok) {
        const blob = await response.blob();
        entry.bytes = blob.size;
        entry.image = await createImageBitmap(blob);
        entry.state = 'here';
        this.counts.loaded++;
      } else {
        await response.arrayBuffer();
        entry.state = response.status === 404 ? 'missing' : 'failed';
        this.counts[entry.state]++;
      }
    } catch {
      if (abort.signal.aborted) {
        this.entries.delete(key);
      } else {
        entry.state = 'failed';
        this.counts.failed++;
      }
    } finally {
      delete entry.abort;
      this.running--;
      this.#drop();
      this.#next();
      this.changed();
    }
  }

  // Never a tile of the view: it would be requested again at once.
  #drop() {
    if (this.entries.size <= LIMIT) return;
    for (const [key, entry] of this.entries) {
      if (entry.state === 'waiting' || this.needed.has(key)) continue;
      entry.image?.close();
      this.entries.delete(key);
      if (this.entries.size <= LIMIT) return;
    }
  }
}
