// From path to handler: the server's endpoints, a database's, a design document's.

import { randomBytes } from 'node:crypto';

import { isDatabaseAdmin, requireDatabaseAdmin, requireMember, requireServerAdmin } from './access.mjs';
import { bulkDocs, bulkGet, missingRevs, revsDiff } from './bulk.mjs';
import { changes, lastSequence, sequence } from './changes.mjs';
import { attachment, create, document } from './documents.mjs';
import { Refusal } from './exchange.mjs';
import { explain, find, indexes } from './find.mjs';
import { ADMIN, authenticate, session } from './identity.mjs';
import { replicate } from './replicate.mjs';
import { allDocs, designDocs, localDocs, view } from './rows.mjs';

const UUID = randomBytes(16).toString('hex');

const SERVER = {
  _up: (exchange) => exchange.answer(200, { status: 'ok', seeds: {} }),
  _uuids: uuids,
  _session: session,
  _all_dbs: allDatabases,
  _dbs_info: databasesInfo,
  _replicate: replicate,
  _active_tasks: activeTasks,
  _node: configuration,
  _scheduler: (exchange, databases) => databases.replicator.scheduler(exchange),
};

const DATABASE = {
  _all_docs: allDocs,
  _design_docs: designDocs,
  _local_docs: localDocs,
  _changes: changes,
  _bulk_docs: bulkDocs,
  _bulk_get: bulkGet,
  _revs_diff: revsDiff,
  _missing_revs: missingRevs,
  _security: security,
  _revs_limit: revsLimit,
  _find: find,
  _explain: explain,
  _index: indexes,
  _ensure_full_commit: (exchange, database) => {
    exchange.allow('POST');
    exchange.answer(201, { ok: true, instance_start_time: database.made });
  },
  _compact: maintain((database) => database.pouch.compact()),
  _view_cleanup: maintain(() => {}),
};

export async function serve(exchange, databases) {
  exchange.user = await authenticate(exchange, databases);
  const [first, ...rest] = exchange.segments;
  if (first === undefined) return welcome(exchange);
  if (SERVER[first]) return SERVER[first](exchange, databases);
  if (rest.length === 0 && exchange.method === 'PUT') return createDatabase(exchange, databases, first);
  if (rest.length === 0 && exchange.method === 'DELETE') return removeDatabase(exchange, databases, first);
  if (first.startsWith('_') && !databases.find(first)) requireServerAdmin(exchange.user);
  const database = databases.get(first);
  requireEntry(exchange, database, rest);
  if (rest.length === 0) return exchange.method === 'POST' ? create(exchange, database) : databaseInfo(exchange, database);
  if (DATABASE[rest[0]]) return DATABASE[rest[0]](exchange, database, rest);
  return documentOrBelow(exchange, database, rest);
}

/** Of the configuration only who its administrators are. */
function configuration(exchange) {
  exchange.allow('GET');
  requireServerAdmin(exchange.user);
  const admins = exchange.segments.slice(1).join('/') === '_local/_config/admins';
  exchange.answer(200, admins ? { [ADMIN.name]: '-pbkdf2-' } : {});
}

/** Indexes are made while they are asked for, so no task ever runs. */
function activeTasks(exchange) {
  exchange.allow('GET');
  requireServerAdmin(exchange.user);
  exchange.answer(200, []);
}

/** Members enter. In `_users` each sees his own document and no other. */
function requireEntry({ user, reads }, database, [id]) {
  requireMember(user, database.security);
  const foreign = database.name === '_users' && reads && id !== `org.couchdb.user:${user.name}`;
  if (foreign && !isDatabaseAdmin(user, database.security)) throw new Refusal(404, 'not_found', 'missing');
}

async function documentOrBelow(exchange, database, [first, ...rest]) {
  if (first === '_local' && rest.length > 0) return document(exchange, database, `_local/${rest.join('/')}`);
  if (first === '_design' && rest.length > 0) return designOrBelow(exchange, database, rest);
  return rest.length === 0 ? document(exchange, database, first) : attachment(exchange, database, first, rest.join('/'));
}

async function designOrBelow(exchange, database, [name, ...rest]) {
  if (rest.length === 0) return document(exchange, database, `_design/${name}`);
  if (rest[0] === '_view' && rest.length >= 2) return view(exchange, database, name, rest[1]);
  if (rest[0] === '_info') return designInfo(exchange, database, name);
  if (rest[0].startsWith('_')) throw new Refusal(404, 'not_found', 'missing');
  return attachment(exchange, database, `_design/${name}`, rest.join('/'));
}

function welcome(exchange) {
  exchange.allow('GET', 'HEAD');
  exchange.answer(200, { couchdb: 'Welcome', version: '3.5.0', git_sha: 'test', uuid: UUID, features: [], vendor: { name: 'couchwarden test backend' } });
}

function uuids(exchange) {
  exchange.allow('GET', 'HEAD');
  const text = exchange.query.text('count') ?? '1';
  const count = Number(text);
  if (!/^\d+$/.test(text)) throw new Refusal(400, 'bad_request', 'count must be a positive integer');
  if (count > 1000) throw new Refusal(400, 'bad_request', 'count parameter too large');
  exchange.answer(200, { uuids: Array.from({ length: count }, () => randomBytes(16).toString('hex')) }, { 'Cache-Control': 'no-cache', Pragma: 'no-cache' });
}

function allDatabases(exchange, databases) {
  exchange.allow('GET', 'HEAD');
  requireServerAdmin(exchange.user);
  exchange.answer(200, within(databases.names(), exchange.query));
}

/** The names between `start_key` and `end_key`, in the direction and number asked for. */
function within(names, query) {
  const start = query.json('startkey') ?? query.json('start_key');
  const end = query.json('endkey') ?? query.json('end_key');
  const ordered = query.flag('descending') ? names.toReversed() : names;
  const [low, high] = query.flag('descending') ? [end, start] : [start, end];
  const found = ordered.filter((name) => (low === undefined || name >= low) && (high === undefined || name <= high));
  const skip = Number(query.text('skip') ?? 0);
  return found.slice(skip, skip + Number(query.text('limit') ?? Infinity));
}

async function databasesInfo(exchange, databases) {
  exchange.allow('GET', 'HEAD', 'POST');
  requireServerAdmin(exchange.user);
  const keys = exchange.reads ? exchange.query.json('keys') ?? within(databases.names(), exchange.query) : (await exchange.object()).keys;
  if (!Array.isArray(keys)) throw new Refusal(400, 'bad_request', '`keys` member must exist.');
  exchange.answer(200, await Promise.all(keys.map(async (key) => {
    const database = databases.find(key);
    return database ? { key, info: await infoOf(database) } : { key, error: 'not_found' };
  })));
}

function createDatabase(exchange, databases, name) {
  requireServerAdmin(exchange.user);
  databases.create(name);
  exchange.answer(201, { ok: true }, { Location: `http://${exchange.host}/${encodeURIComponent(name)}` });
}

async function removeDatabase(exchange, databases, name) {
  requireServerAdmin(exchange.user);
  if (exchange.query.text('rev')) throw new Refusal(400, 'bad_request', 'You tried to DELETE a database with a ?=rev parameter. Did you mean to DELETE a document instead?');
  await databases.remove(name);
  exchange.answer(200, { ok: true });
}

async function databaseInfo(exchange, database) {
  exchange.allow('GET', 'HEAD', 'POST', 'PUT', 'DELETE');
  exchange.answer(200, await infoOf(database));
}

async function infoOf(database) {
  const { documents } = database;
  await documents.update();
  return {
    instance_start_time: database.made,
    db_name: database.name,
    purge_seq: sequence(0),
    update_seq: sequence(await lastSequence(database)),
    sizes: { file: 0, external: 0, active: 0 },
    props: {},
    doc_del_count: documents.deletedCount(),
    doc_count: documents.rows.length,
    disk_format_version: 8,
    compact_running: false,
    cluster: { q: 1, n: 1, w: 1, r: 1 },
  };
}

async function security(exchange, database) {
  exchange.allow('GET', 'HEAD', 'PUT');
  if (exchange.reads) return exchange.answer(200, database.security);
  requireDatabaseAdmin(exchange.user, database.security);
  database.security = await exchange.object();
  exchange.answer(200, { ok: true });
}

async function revsLimit(exchange, database) {
  exchange.allow('GET', 'HEAD', 'PUT');
  if (exchange.reads) return exchange.answer(200, database.revsLimit);
  requireDatabaseAdmin(exchange.user, database.security);
  database.revsLimit = await exchange.json();
  exchange.answer(200, { ok: true });
}

function maintain(work) {
  return async (exchange, database) => {
    exchange.allow('POST');
    requireDatabaseAdmin(exchange.user, database.security);
    await work(database);
    exchange.answer(202, { ok: true });
  };
}

async function designInfo(exchange, database, name) {
  exchange.allow('GET', 'HEAD');
  await database.design(name);
  exchange.answer(200, { name, view_index: { updater_running: false, waiting_clients: 0, language: 'javascript' } });
}
