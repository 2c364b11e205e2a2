// A relay for TCP that delays: every byte arrives `delay` milliseconds later, in order, in each direction, without a
// limit of bandwidth. The first bytes of a connection arrive a round trip later still, as if its handshake had taken
// that time, which the kernel completes at once.
import { connect, createServer } from 'node:net';

export async function relay(port, delay) {
  const connections = { opened: 0 };
  const server = createServer({ noDelay: true }, client => {
    connections.opened++;
    const begun = performance.now(), store = connect({ port, host: '127.0.0.1', noDelay: true });
    // What has arrived on one side is written to the other at its time.
    const carry = (from, to, earliest) => {
      const waiting = [];
      let timer;
      const deliver = () => {
        timer = undefined;
        while (waiting.length && waiting[0][0] <= performance.now() + 0.2) {
          const [, bytes] = waiting.shift();
          if (bytes) to.write(bytes);
          else to.end();
        }
        if (waiting.length) timer = setTimeout(deliver, waiting[0][0] - performance.now());
      };
      const later = bytes => {
        waiting.push([Math.max(performance.now() + delay, earliest), bytes]);
        timer ??= setTimeout(deliver, waiting[0][0] - performance.now());
      };
      from.on('data', later);
      from.on('end', () => later(null));
      from.on('error', () => to.destroy());
      from.on('close', () => setTimeout(() => to.destroy(), 4 * delay));
    };
    carry(client, store, begun + 3 * delay);
    carry(store, client, 0);
  });
  await new Promise((resolve, reject) => { server.once('error', reject).listen(0, '127.0.0.1', resolve); });
  return { port: server.address().port, connections, close: () => server.close() };
}
