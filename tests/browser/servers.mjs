// A gateway in front of the store of tests/clients, with objects that the tests make. Both are processes on
// loopback, and end with the test.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync, openSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const PATIENCE = 30000;

export const freePort = () => new Promise((resolve, reject) => {
  const server = createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

export class Lab {
  static async start(binaries, profile, more = '') {
    const lab = new Lab();
    lab.folder = mkdtempSync(path.join(tmpdir(), 's3proxy-browser-'));
    lab.store = spawn(path.join(binaries, 'examples/store'), [lab.folder], { stdio: ['pipe', 'pipe', 'inherit'] });
    lab.lines = createInterface({ input: lab.store.stdout })[Symbol.asyncIterator]();
    const [storePort, access, secret] = (await lab.#line()).split(' ');
    const [port, admin] = [await freePort(), await freePort()];
    lab.url = `http://127.0.0.1:${port}`;
    lab.admin = `http://127.0.0.1:${admin}`;
    lab.endpoint = `http://127.0.0.1:${storePort}`;
    const at = name => path.join(lab.folder, name);
    writeFileSync(at('keys.ini'), `[lab]\naws_access_key_id = ${access}\naws_secret_access_key = ${secret}\n`);
    writeFileSync(at('s3proxy.yaml'), `
listen: 127.0.0.1:${port}
admin: { listen: "127.0.0.1:${admin}" }
credentials_file: ${at('keys.ini')}
log: { format: production, level: WARNING }
cache: { memory: 512MiB }
profiles:
  lab: { endpoint: "${lab.endpoint}", buckets: [data], ${profile} }
${more}
`);
    lab.log = at('log');
    const log = openSync(lab.log, 'w');
    const env = { S3PROXY_UPSTREAM_PROBE: 'false' };
    lab.gateway = spawn(path.join(binaries, 's3proxy'), ['serve', '--config', at('s3proxy.yaml')], { env, stdio: ['ignore', log, log] });
    const deadline = Date.now() + PATIENCE;
    while (!await fetch(`${lab.url}/`).then(answer => answer.ok, () => false)) {
      assert.ok(Date.now() < deadline && lab.gateway.exitCode === null, `the gateway does not serve: ${lab.said()}`);
      await sleep(50);
    }
    return lab;
  }

  async #line() {
    const { value, done } = await this.lines.next();
    assert.ok(!done, 'the store has ended');
    return value;
  }

  async ask(command) {
    this.store.stdin.write(`${command}\n`);
    return JSON.parse(await this.#line());
  }

  // Stores an object: a text, or runs `[text, length]`.
  make(key, ...runs) {
    const all = runs.map(run => typeof run === 'string' ? { text: run } : { text: run[0], length: run[1] });
    return this.ask(`make ${JSON.stringify({ bucket: 'data', key, runs: all })}`);
  }

  // The requests that reached the store since the last call, once no more arrive.
  async requests() {
    let before = -1, found = [];
    for (let same = 0; same < 3;) {
      found = await this.ask('requests');
      const now = found.reduce((sum, request) => sum + request.bytes, found.length);
      same = now === before ? same + 1 : 0;
      before = now;
      await sleep(100);
    }
    await this.ask('clear');
    return found;
  }

  // The warnings and errors in the gateway's log.
  said() {
    return readFileSync(this.log, 'utf8');
  }

  stop() {
    this.gateway?.kill('SIGKILL');
    this.store?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
