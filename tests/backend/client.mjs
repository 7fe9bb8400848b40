// An unmodified PouchDB client, driven by tests: one JSON command on each line of standard input, one JSON answer on each
// line of standard output, in order. It ends when standard input is closed. NODE_EXTRA_CA_CERTS names our own CA.
//
// Databases are opened under a name and then called by it; where a command takes `source` or `target`, a URL does as well.
// `auth` is {"user", "password"} or {"cookie": "AuthSession=…"} or {"bearer": "…"}. An answer is {"ok": result} or
// {"error": {name, status, message}}.
//
//   open         db, [url, auth, options]          without `url`: a local database in memory
//   put, remove  db, doc                           remove: {_id, _rev}
//   get          db, id, [options]
//   bulkDocs     db, docs, [options]
//   bulkGet      db, docs, [options]
//   allDocs, changes, info   db, [options]
//   query        db, view, [options]
//   find         db, query
//   putAttachment            db, id, name, rev, type, data (base64)
//   getAttachment            db, id, name, [options]          answers base64
//   replicate    source, target, [options, auth]   one-shot; answers {result, denied}; a failed one has both beside `error`
//   sync-start   source, target, [options, auth]   live, with retry; answers {sync: number} at once
//   sync-events  sync                              the events since the last time: change, paused, active, denied, error, complete
//   sync-wait    sync, event, [timeout]            until such an event has come that no `sync-events` has answered
//   sync-stop    sync                              answers {result}
//   wait         db, id, [field, value, absent, timeout]    until the document is there (and the field so), or is absent
//   rows         auth                              answers {rows}: how many rows of `_changes` that user was sent since the last time
//   trace        what was asked by HTTP since the last time, and answered: {method, url, status, body}
//   close        db

import { once } from 'node:events';
import { createInterface } from 'node:readline';

import PouchDB from 'pouchdb';
import memory from 'pouchdb-adapter-memory';
import find from 'pouchdb-find';

PouchDB.plugin(memory);
PouchDB.plugin(find);

const PATIENCE = 10_000;

const databases = new Map();
const syncs = [];
const rowsSent = new Map();
const traced = [];

const operations = {
  open({ db, url, auth, options }) {
    databases.set(db, url ? remote(url, auth, options) : new PouchDB(db, { adapter: 'memory', ...options }));
    return { db };
  },
  put: ({ db, doc, options }) => named(db).put(doc, options),
  remove: ({ db, doc }) => named(db).remove(doc),
  get: ({ db, id, options }) => named(db).get(id, options),
  bulkDocs: ({ db, docs, options }) => named(db).bulkDocs(docs, options),
  bulkGet: ({ db, docs, options }) => named(db).bulkGet({ docs, ...options }),
  allDocs: ({ db, options }) => named(db).allDocs(options),
  changes: ({ db, options }) => named(db).changes(options),
  info: ({ db }) => named(db).info(),
  query: ({ db, view, options }) => named(db).query(view, options),
  find: ({ db, query }) => named(db).find(query),
  putAttachment: ({ db, id, name, rev, type, data }) => named(db).putAttachment(id, name, rev, Buffer.from(data, 'base64'), type),
  getAttachment: async ({ db, id, name, options }) => (await named(db).getAttachment(id, name, options)).toString('base64'),
  replicate,
  'sync-start': startSync,
  'sync-events': ({ sync }) => ({ events: syncNumbered(sync).events.splice(0) }),
  'sync-wait': ({ sync, event, timeout }) => waitForEvent(syncNumbered(sync), event, timeout),
  'sync-stop': ({ sync }) => stopSync(syncNumbered(sync)),
  wait: waitForDocument,
  rows({ auth: { user } }) {
    const rows = rowsSent.get(user) ?? 0;
    rowsSent.delete(user);
    return { rows };
  },
  trace: () => traced.splice(0),
  async close({ db }) {
    await named(db).close();
    databases.delete(db);
    return { db };
  },
};

function named(name) {
  if (databases.has(name)) return databases.get(name);
  throw new Error(`no database is open under the name ${name}`);
}

/** A database by the name it was opened under, or by URL. */
function place(where, auth) {
  return /^https?:/.test(where) ? remote(where, auth) : named(where);
}

function remote(url, auth = {}, options = {}) {
  const { user, password, cookie, bearer } = auth;
  if (user !== undefined) return new PouchDB(url, { auth: { username: user, password }, fetch: watched(user), ...options });
  const headers = { ...(cookie && { Cookie: cookie }), ...(bearer && { Authorization: `Bearer ${bearer}` }) };
  return new PouchDB(url, { fetch: (to, request) => PouchDB.fetch(to, withHeaders(request, headers)), ...options });
}

/** PouchDB's own fetch, written down, and the rows of `_changes` counted. The body is read beside its reader, who need not wait for its end. */
function watched(user) {
  return async (to, request = {}) => {
    // In the order of asking: answers to what is asked side by side come in any.
    const entry = { method: request.method ?? 'GET', url: String(to), status: null, body: null };
    traced.push(entry);
    const response = await PouchDB.fetch(to, request);
    entry.status = response.status;
    response.clone().text().then((text) => { entry.body = text; }, () => {});
    const read = response.json.bind(response);
    response.json = async () => {
      const answer = await read();
      if (/\/_changes\?/.test(to)) rowsSent.set(user, (rowsSent.get(user) ?? 0) + (answer.results?.length ?? 0));
      return answer;
    };
    return response;
  };
}

function withHeaders(request, headers) {
  for (const [name, value] of Object.entries(headers)) request.headers.set(name, value);
  return request;
}

async function replicate({ source, target, options, auth }) {
  const denied = [];
  const running = PouchDB.replicate(place(source, auth), place(target, auth), options);
  running.on('denied', (event) => denied.push(event));
  try {
    return { result: await running, denied };
  } catch (error) {
    throw Object.assign(error, { beside: { result: error.result, denied } });
  }
}

function startSync({ source, target, options, auth }) {
  const running = PouchDB.sync(place(source, auth), place(target, auth), { live: true, retry: true, ...options });
  const sync = { running, events: [] };
  for (const event of ['change', 'paused', 'active', 'denied', 'error', 'complete']) {
    running.on(event, (detail) => {
      sync.events.push({ event, ...(detail !== undefined && { detail }) });
      running.emit('noted', event);
    });
  }
  running.catch(() => {}); // told as an event
  return { sync: syncs.push(sync) - 1 };
}

function syncNumbered(number) {
  if (syncs[number]) return syncs[number];
  throw new Error(`there is no sync ${number}`);
}

async function waitForEvent({ running, events }, event, timeout = PATIENCE) {
  const signal = AbortSignal.timeout(timeout);
  while (!events.some((each) => each.event === event)) await once(running, 'noted', { signal });
  return { event };
}

async function stopSync({ running }) {
  running.cancel();
  return { result: await running.catch((error) => ({ error: plain(error) })) };
}

/** Looks at the document, and again at each change of it. */
async function waitForDocument({ db, id, field, value, absent = false, timeout = PATIENCE }) {
  const database = named(db);
  const signal = AbortSignal.timeout(timeout);
  const { update_seq: since } = await database.info();
  const feed = database.changes({ since, live: true, doc_ids: [id] });
  try {
    for (;;) {
      const next = once(feed, 'change', { signal });
      next.catch(() => {}); // not waited for where the document is as wanted
      const document = await database.get(id).catch(absence);
      if (absent ? !document : document && holds(document, field, value)) return absent ? { absent } : { doc: document };
      await next;
    }
  } finally {
    feed.cancel();
  }
}

function absence(error) {
  if (error.status !== 404) throw error;
  return undefined;
}

function holds(document, field, value) {
  return field === undefined || JSON.stringify(document[field]) === JSON.stringify(value);
}

/** JSON that keeps what errors say, wherever they stand, and leaves out where in PouchDB they arose. */
function write(answer) {
  const shown = (name, value) => (name === 'stack' ? undefined : value instanceof Error ? plain(value) : value);
  process.stdout.write(`${JSON.stringify(answer, shown)}\n`);
}

function plain({ name, status, message, reason, id, docId }) {
  return { name, status, message: reason ?? message, id: id ?? docId };
}

async function answer(line) {
  try {
    const { op, ...command } = JSON.parse(line);
    if (!Object.hasOwn(operations, op)) throw new Error(`unknown operation ${op}`);
    return { ok: await operations[op]({ options: {}, ...command }) ?? null };
  } catch (error) {
    return { error: plain(error.name === 'AbortError' ? { name: 'timeout', status: 408, message: 'waited in vain' } : error), ...error.beside };
  }
}

for await (const line of createInterface(process.stdin)) {
  if (line.trim() !== '') write(await answer(line));
}
process.exit(0);
