// Stands before couchwarden for CouchDB's replicator, so that something may happen in the middle of its replications, too.

import { createServer, request } from 'node:http';

/** The URL of a relay to `target`. `watch` is given each request's URL, and what asks it and gives its answer. */
export async function relay(target, watch) {
  const { hostname, port } = new URL(target);
  const server = createServer(async (incoming, outgoing) => {
    const body = Buffer.concat(await incoming.toArray().catch(() => []));
    const ask = () => pass({ hostname, port, method: incoming.method, path: incoming.url, headers: incoming.headers }, body);
    try {
      const { status, headers, content } = await watch(incoming.url, incoming.method, ask);
      outgoing.writeHead(status, headers);
      outgoing.end(content);
    } catch {
      incoming.socket.destroy();
    }
  });
  // The replicator keeps connections for later, and takes their end for a failure.
  server.keepAliveTimeout = 600_000;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.closeAllConnections() ?? server.close() };
}

function pass(options, body) {
  return new Promise((resolve, reject) => {
    const asked = request({ ...options, agent: false }, async (response) => {
      try {
        const content = Buffer.concat(await response.toArray());
        const headers = Object.fromEntries(Object.entries(response.headers).filter(([name]) => !['connection', 'transfer-encoding', 'content-length'].includes(name)));
        resolve({ status: response.statusCode, headers, content });
      } catch (error) {
        reject(error);
      }
    });
    asked.on('error', reject);
    asked.end(body);
  });
}
