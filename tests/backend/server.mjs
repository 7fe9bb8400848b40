// The test backend: a CouchDB-protocol server in memory, for couchwarden's tests where no real CouchDB is at hand.
//
//   node server.mjs [--port N] [--jwt-key NAME VALUE]...
//
// listens on 127.0.0.1 (a free port unless told), prints one line of JSON when ready, and ends when its standard input is
// closed or on SIGTERM. It writes no files.
//
// PouchDB (in memory) keeps documents, revisions, attachments and answers Mango queries; `lib/` puts CouchDB's HTTP API,
// access control and views on top. Where it differs from CouchDB, CouchDB is right:
// - no shows, lists, updates, rewrites, search, `_purge`, `_scheduler/jobs`, `_db_updates`;
// - a document with attachments is always answered as JSON, never as `multipart/…` (which it does accept);
// - `_find` sorts and compares strings by code unit, its bookmarks only count, indexes other than PouchDB's are not known;
// - `sizes` are 0, `_revs_limit` is remembered but has no effect, failed logins do not lock anybody out.

import { createServer } from 'node:http';

import { Exchange } from './lib/exchange.mjs';
import { ADMIN, PROXY_SECRET, jwtKeys } from './lib/identity.mjs';
import { Replicator } from './lib/replicator.mjs';
import { serve } from './lib/routes.mjs';
import { Databases } from './lib/store.mjs';

const databases = new Databases();
databases.create('_users');
databases.create('_replicator');
databases.replicator = new Replicator(databases.get('_replicator'));

const server = createServer(async (request, response) => {
  const exchange = new Exchange(request, response);
  try {
    exchange.parse();
    await serve(exchange, databases);
  } catch (error) {
    exchange.refuse(error);
  }
});

server.keepAliveTimeout = 0; // a proxy's idle connections stay open, as CouchDB leaves them

function portWanted([flag, value, ...rest]) {
  if (flag === undefined) return 0;
  if (flag === '--port' && /^\d+$/.test(value)) {
    portWanted(rest);
    return Number(value);
  }
  if (flag === '--jwt-key' && rest.length > 0) {
    jwtKeys.set(value, rest[0]);
    return portWanted(rest.slice(1));
  }
  console.error('usage: node server.mjs [--port N] [--jwt-key NAME VALUE]...');
  process.exit(2);
}

server.listen(portWanted(process.argv.slice(2)), '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  console.log(JSON.stringify({ url, admin: ADMIN.name, password: ADMIN.password, proxySecret: PROXY_SECRET }));
});

process.stdin.on('end', () => process.exit(0)).on('error', () => process.exit(0)).resume();
process.on('SIGTERM', () => process.exit(0));
// PouchDB leaves the first request of a replication to itself when it is cancelled: what becomes of that is nobody's concern.
process.on('unhandledRejection', (error) => {
  if (error?.name !== 'FetchError' && error?.name !== 'AbortError') throw error;
});
