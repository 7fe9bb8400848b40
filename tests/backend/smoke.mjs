// Checks the test backend, or a real CouchDB, against what couchwarden's tests rely on.
//
//   node smoke.mjs                                        starts server.mjs and checks it
//   COUCHDB_URL=http://admin:pass@host:port node smoke.mjs   checks that CouchDB (its proxy secret in COUCHDB_PROXY_SECRET)
//
// Each check makes a database of its own. The last line says how many passed and failed; failure makes the exit status 1.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';

const { server, base, admin, secret } = await target();
const { equal, deepEqual, ok, match } = assert;

const checks = [];
const check = (name, run) => checks.push({ name, run });

async function target() {
  const given = process.env.COUCHDB_URL;
  if (given) {
    const url = new URL(given);
    return { base: url.origin, admin: basic(url.username, url.password), secret: process.env.COUCHDB_PROXY_SECRET ?? 'couchwarden-test-secret' };
  }
  const child = spawn(process.execPath, [new URL('server.mjs', import.meta.url).pathname], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await new Promise((resolve) => createInterface(child.stdout).once('line', (...lines) => resolve(lines)));
  const { url, admin: name, password, proxySecret } = JSON.parse(line);
  return { server: child, base: url, admin: basic(name, password), secret: proxySecret };
}

function basic(name, password) {
  return { Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` };
}

function proxy(name, roles = [], hash = 'sha256') {
  return {
    'X-Auth-CouchDB-UserName': name,
    'X-Auth-CouchDB-Roles': roles.join(','),
    'X-Auth-CouchDB-Token': createHmac(hash, secret).update(name).digest('hex'),
  };
}

/** One request: `{status, headers, body}`, the body parsed where it is JSON. */
async function ask(method, path, { as = admin, body, headers = {}, signal } = {}) {
  const json = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body);
  const response = await fetch(base + path, {
    method,
    signal,
    headers: { Accept: 'application/json', ...as, ...(json && { 'Content-Type': 'application/json' }), ...headers },
    body: json ? JSON.stringify(body) : body,
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: parsed(text) };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

async function expect(status, method, path, options) {
  const answer = await ask(method, path, options);
  equal(answer.status, status, `${method} ${path}: ${answer.text}`);
  return answer;
}

/** A request whose answer does not end by itself: collects it until `enough` holds of the text. */
async function stream(path, enough, { as = admin, method = 'GET', body } = {}) {
  const stop = new AbortController();
  const response = await fetch(base + path, { method, signal: stop.signal, headers: { ...as, ...(body && { 'Content-Type': 'application/json' }) }, body: body && JSON.stringify(body) });
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    text += decoder.decode(chunk, { stream: true });
    if (enough(text)) break;
  }
  stop.abort();
  return { text, type: response.headers.get('content-type') };
}

const made = new Set();

async function database(security = {}) {
  const path = `/smoke-${randomBytes(6).toString('hex')}`;
  made.add(path);
  await expect(201, 'PUT', `${path}?q=1`);
  if (security) await expect(200, 'PUT', `${path}/_security`, { body: security });
  return path;
}

/** A user with the password `secret`. */
async function user(roles) {
  const name = `u${randomBytes(4).toString('hex')}`;
  const path = `/_users/org.couchdb.user:${name}`;
  made.add(path);
  await expect(201, 'PUT', path, { body: { name, password: 'secret', roles, type: 'user' } });
  return name;
}

const save = async (path, body) => (await expect(201, 'PUT', path, { body })).body.rev;
const bulk = (db, docs, more = {}) => expect(201, 'POST', `${db}/_bulk_docs`, { body: { docs, ...more } });
const ids = (answer) => answer.body.rows.map((row) => row.id);
const refused = (answer, error, reason) => deepEqual({ error: answer.body.error, reason: answer.body.reason }, { error, reason });
const revs = (start, ...hashes) => ({ _rev: `${start}-${hashes[0]}`, _revisions: { start, ids: hashes } });
const hash = (digit) => String(digit).repeat(32);

/** A document with two live leaves, 2-bbb… (the winner) and 2-aaa…, and one dead. */
async function conflicted(db, id = 'c') {
  await bulk(db, [
    { _id: id, branch: 'a', ...revs(2, hash('a'), hash(1)) },
    { _id: id, branch: 'b', ...revs(2, hash('b'), hash(1)) },
    { _id: id, _deleted: true, ...revs(2, hash('c'), hash(1)) },
  ], { new_edits: false });
}

// 1. Identity

check('proxy authentication gives name and roles', async () => {
  for (const algorithm of ['sha256', 'sha1']) {
    const { body } = await expect(200, 'GET', '/_session', { as: proxy('alice', ['r1', 'r2'], algorithm) });
    deepEqual(body.userCtx, { name: 'alice', roles: ['r1', 'r2'] });
    equal(body.info.authenticated, 'proxy');
  }
});

check('the role _admin from the proxy is full admin', async () => {
  await expect(200, 'GET', '/_all_dbs', { as: proxy('boss', ['_admin']) });
});

check('a wrong token falls through to Basic or anonymous', async () => {
  const wrong = { ...proxy('alice'), 'X-Auth-CouchDB-Token': hash(0) };
  equal((await expect(200, 'GET', '/_session', { as: wrong })).body.userCtx.name, null);
  deepEqual((await expect(200, 'GET', '/_session', { as: { ...wrong, ...admin } })).body.userCtx.roles, ['_admin']);
});

check('Basic, cookie and anonymous', async () => {
  const name = await user(['x']);
  deepEqual((await expect(200, 'GET', '/_session', { as: basic(name, 'secret') })).body.userCtx, { name, roles: ['x'] });
  refused(await expect(401, 'GET', '/_session', { as: basic(name, 'wrong') }), 'unauthorized', 'Name or password is incorrect.');
  const login = await expect(200, 'POST', '/_session', { as: {}, body: { name, password: 'secret' } });
  deepEqual(login.body, { ok: true, name, roles: ['x'] });
  const [cookie] = login.headers.get('set-cookie').split(';');
  deepEqual((await expect(200, 'GET', '/_session', { as: { Cookie: cookie } })).body.info.authenticated, 'cookie');
  const form = await expect(200, 'POST', '/_session', { as: {}, body: `name=${name}&password=secret`, headers: { 'Content-Type': 'application/x-www-form-urlencoded' } });
  equal(form.body.ok, true);
  await expect(200, 'DELETE', '/_session', { as: {} });
  deepEqual((await expect(200, 'GET', '/_session', { as: {} })).body.userCtx, { name: null, roles: [] });
});

check('_users keeps no password and is for administrators', async () => {
  const name = await user([]);
  const { body } = await expect(200, 'GET', `/_users/org.couchdb.user:${name}`);
  equal(body.password, undefined);
  ok(body.derived_key);
  await expect(403, 'GET', `/_users/org.couchdb.user:${name}`, { as: basic(name, 'secret') });
  await expect(401, 'GET', `/_users/org.couchdb.user:${name}`, { as: {} });
  const renewed = await user([]); // not logged in yet: CouchDB remembers credentials for a moment
  const stored = await expect(200, 'GET', `/_users/org.couchdb.user:${renewed}`);
  await expect(201, 'PUT', `/_users/org.couchdb.user:${renewed}`, { body: { ...stored.body, password: 'other' } });
  await expect(200, 'GET', '/_session', { as: basic(renewed, 'other') });
  equal((await expect(403, 'PUT', '/_users/org.couchdb.user:x', { body: { name: 'y', roles: [], type: 'user' } })).body.error, 'forbidden');
});

// 2. Restricted databases

check('a new database is for administrators only', async () => {
  const db = await database(null);
  const { body } = await expect(200, 'GET', `${db}/_security`);
  deepEqual(body, { members: { roles: ['_admin'] }, admins: { roles: ['_admin'] } });
  refused(await expect(403, 'GET', `${db}/x`, { as: proxy('alice') }), 'forbidden', 'You are not allowed to access this db.');
  refused(await expect(401, 'GET', `${db}/x`, { as: {} }), 'unauthorized', 'You are not authorized to access this db.');
  await expect(403, 'PUT', `${db}/x`, { as: proxy('alice'), body: {} });
});

check('_security admits by name and role, for reads and writes', async () => {
  const db = await database({ members: { names: ['alice'], roles: ['staff'] }, admins: { roles: ['chief'] } });
  await expect(201, 'PUT', `${db}/x`, { as: proxy('alice'), body: {} });
  await expect(200, 'GET', `${db}/x`, { as: proxy('bob', ['staff']) });
  await expect(200, 'GET', `${db}/_changes`, { as: proxy('carol', ['chief']) });
  await expect(403, 'GET', `${db}/_all_docs`, { as: proxy('dan') });
  await expect(403, 'POST', `${db}/_bulk_docs`, { as: proxy('dan'), body: { docs: [{}] } });
});

check('administration is for administrators', async () => {
  const db = await database({ members: { names: ['alice'] }, admins: { roles: ['chief'] } });
  const alice = { as: proxy('alice') };
  refused(await expect(401, 'PUT', '/smoke-not-allowed', alice), 'unauthorized', 'You are not a server admin.');
  await expect(401, 'DELETE', db, alice);
  await expect(401, 'GET', '/_all_dbs', alice);
  refused(await expect(403, 'PUT', `${db}/_design/d`, { ...alice, body: {} }), 'forbidden', 'You are not a db or server admin.');
  await expect(201, 'PUT', `${db}/_design/d`, { as: proxy('carol', ['chief']), body: {} });
  const rows = (await expect(201, 'POST', `${db}/_bulk_docs`, { ...alice, body: { docs: [{ _id: '_design/e' }, { _id: 'y' }] } })).body;
  deepEqual(rows[0], { id: '_design/e', error: 'forbidden', reason: 'You are not a db or server admin.' });
  equal(rows[1].ok, true);
  const locked = await ask('PUT', `${db}/_security`, { ...alice, body: {} });
  ok(locked.status >= 400, locked.text); // CouchDB 3.5.2 itself answers 500 here
});

check('validate_doc_update sees documents, userCtx and security', async () => {
  const db = await database({ members: { names: ['alice', 'bob'] } });
  const source = `function (doc, old, user, security) {
    if (doc._deleted) return;
    if (doc.owner !== user.name) throw({forbidden: 'owner ' + user.name + ' in ' + user.db + ' of ' + security.members.names.length});
    if (old && old.fixed !== doc.fixed) throw({unauthorized: 'fixed'});
  }`;
  await save(`${db}/_design/v`, { validate_doc_update: source });
  const alice = { as: proxy('alice') };
  const { body } = await expect(201, 'PUT', `${db}/x`, { ...alice, body: { owner: 'alice', fixed: 1 } });
  refused(await expect(403, 'PUT', `${db}/y`, { ...alice, body: { owner: 'bob' } }), 'forbidden', `owner alice in ${db.slice(1)} of 2`);
  refused(await expect(401, 'PUT', `${db}/x`, { ...alice, body: { owner: 'alice', fixed: 2, _rev: body.rev } }), 'unauthorized', 'fixed');
  const rows = (await expect(201, 'POST', `${db}/_bulk_docs`, { ...alice, body: { docs: [{ _id: 'ok', owner: 'alice' }, { _id: 'no', owner: 'bob' }] } })).body;
  equal(rows[0].ok, true);
  deepEqual(rows[1], { id: 'no', error: 'forbidden', reason: `owner alice in ${db.slice(1)} of 2` });
  const replicated = (await expect(201, 'POST', `${db}/_bulk_docs`, { ...alice, body: { new_edits: false, docs: [{ _id: 'r', owner: 'bob', ...revs(1, hash(1)) }, { _id: 's', owner: 'alice', ...revs(1, hash(1)) }] } })).body;
  equal(replicated.length, 1);
  equal(replicated[0].error, 'forbidden');
  equal(replicated[0].id, 'r');
});

// 3. _changes

async function changesDatabase() {
  const db = await database();
  await bulk(db, [1, 2, 3, 4].map((number) => ({ _id: `d${number}`, number })));
  return db;
}

check('_changes normal: last_seq, pending, limit, since, descending', async () => {
  const db = await changesDatabase();
  const all = (await expect(200, 'GET', `${db}/_changes`)).body;
  equal(all.results.length, 4);
  equal(all.pending, 0);
  equal(typeof all.last_seq, 'string');
  const two = (await expect(200, 'GET', `${db}/_changes?limit=2`)).body;
  deepEqual([two.results.length, two.pending], [2, 2]);
  const rest = (await expect(200, 'GET', `${db}/_changes?since=${encodeURIComponent(two.last_seq)}`)).body;
  equal(rest.results.length, 2);
  const none = (await expect(200, 'GET', `${db}/_changes?since=now`)).body;
  deepEqual(none.results, []);
  const down = (await expect(200, 'GET', `${db}/_changes?descending=true&limit=1`)).body;
  equal(down.results[0].id, all.results.at(-1).id);
});

check('_changes filters: _doc_ids, _selector, _design, _view, function', async () => {
  const db = await changesDatabase();
  await save(`${db}/_design/f`, {
    filters: { above: 'function (doc, req) { return doc.number > Number(req.query.least) && req.userCtx.roles.length > 0; }' },
    views: { two: { map: 'function (doc) { if (doc.number === 2) emit(1); }' } },
  });
  const found = async (query, body) => {
    const answer = await expect(200, body ? 'POST' : 'GET', `${db}/_changes?${query}`, { body });
    return answer.body.results.map((row) => row.id).sort();
  };
  deepEqual(await found('filter=_doc_ids', { doc_ids: ['d1', 'd4'] }), ['d1', 'd4']);
  deepEqual(await found(`filter=_doc_ids&doc_ids=${encodeURIComponent('["d3"]')}`), ['d3']);
  deepEqual(await found('filter=_selector', { selector: { number: { $gt: 3 } } }), ['d4']);
  deepEqual(await found('filter=_design'), ['_design/f']);
  deepEqual(await found('filter=_view&view=f/two'), ['d2']);
  deepEqual(await found('filter=f/above&least=2'), ['d3', 'd4']);
});

check('_changes style=all_docs, include_docs, conflicts, deleted', async () => {
  const db = await database();
  await conflicted(db);
  const [row] = (await expect(200, 'GET', `${db}/_changes?style=all_docs&include_docs=true&conflicts=true`)).body.results;
  deepEqual(row.changes.map(({ rev }) => rev).sort(), ['a', 'b', 'c'].map((letter) => `2-${hash(letter)}`));
  equal(row.doc.branch, 'b');
  deepEqual(row.doc._conflicts, [`2-${hash('a')}`]);
  const rev = await save(`${db}/x`, {});
  await expect(200, 'DELETE', `${db}/x?rev=${rev}`);
  const last = (await expect(200, 'GET', `${db}/_changes?include_docs=true`)).body.results.find(({ id }) => id === 'x');
  equal(last.deleted, true);
  equal(last.doc._deleted, true);
});

check('_changes longpoll waits and answers', async () => {
  const db = await changesDatabase();
  const waiting = expect(200, 'GET', `${db}/_changes?feed=longpoll&since=now`);
  await stream(`${db}/_changes?feed=longpoll&since=now&heartbeat=50`, (text) => text.includes('\n\n\n'));
  await save(`${db}/new`, {});
  const { body } = await waiting;
  deepEqual(body.results.map((row) => row.id), ['new']);
  ok(body.last_seq);
  const now = (await expect(200, 'GET', `${db}/_changes?feed=longpoll&since=0`)).body;
  equal(now.results.length, 5);
});

check('_changes longpoll ends by timeout', async () => {
  const db = await database();
  const { body } = await expect(200, 'GET', `${db}/_changes?feed=longpoll&timeout=100&since=now`);
  deepEqual(body.results, []);
});

check('_changes continuous: lines, heartbeats, timeout', async () => {
  const db = await changesDatabase();
  const { text } = await stream(`${db}/_changes?feed=continuous&heartbeat=50`, (sofar) => sofar.endsWith('\n\n\n'));
  const rows = text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  equal(rows.length, 4);
  let pushed = false;
  const live = await stream(`${db}/_changes?feed=continuous&since=now&heartbeat=50`, (sofar) => {
    if (!pushed) pushed = Boolean(save(`${db}/live`, {}));
    return sofar.includes('"live"');
  });
  match(live.text, /"id":"live"/);
  const ended = await expect(200, 'GET', `${db}/_changes?feed=continuous&timeout=100&since=now`);
  ok(JSON.parse(ended.text.trim()).last_seq);
});

check('_changes eventsource', async () => {
  const db = await changesDatabase();
  const { text, type } = await stream(`${db}/_changes?feed=eventsource&heartbeat=50`, (sofar) => sofar.includes('heartbeat'));
  equal(type, 'text/event-stream');
  match(text, /data: \{.*"d1".*\}\nid: /);
});

// 4. The server

check('welcome, _up, _uuids', async () => {
  const { body } = await expect(200, 'GET', '/', { as: {} });
  equal(body.couchdb, 'Welcome');
  ok(body.uuid && body.version && body.vendor.name);
  equal((await expect(200, 'GET', '/_up', { as: {} })).body.status, 'ok');
  equal((await expect(200, 'GET', '/_uuids?count=3', { as: {} })).body.uuids.length, 3);
});

check('_all_dbs and _dbs_info', async () => {
  const db = (await database()).slice(1);
  ok((await expect(200, 'GET', '/_all_dbs')).body.includes(db));
  deepEqual((await expect(200, 'GET', `/_all_dbs?startkey="${db}"&limit=1`)).body, [db]);
  const rows = (await expect(200, 'POST', '/_dbs_info', { body: { keys: [db, 'smoke-none'] } })).body;
  equal(rows[0].info.db_name, db);
  equal(rows[1].error, 'not_found');
  ok((await expect(200, 'GET', '/_dbs_info')).body.some(({ key }) => key === db));
});

check('databases: create, info, delete, names with a slash', async () => {
  const db = await database();
  refused(await expect(412, 'PUT', db), 'file_exists', 'The database could not be created, the file already exists.');
  await save(`${db}/x`, {});
  const info = (await expect(200, 'GET', db)).body;
  deepEqual([info.db_name, info.doc_count, info.doc_del_count], [db.slice(1), 1, 0]);
  await expect(200, 'HEAD', db);
  await expect(200, 'DELETE', db);
  refused(await expect(404, 'GET', db), 'not_found', 'Database does not exist.');
  await expect(404, 'DELETE', db);
  equal((await expect(400, 'PUT', '/Smoke')).body.error, 'illegal_database_name');
  const slashed = `/smoke%2F${randomBytes(4).toString('hex')}`;
  await expect(201, 'PUT', slashed);
  equal((await expect(200, 'GET', slashed)).body.db_name, decodeURIComponent(slashed.slice(1)));
  await expect(200, 'DELETE', slashed);
});

// 5. Documents

check('_bulk_docs: new edits, conflicts, replicated revisions', async () => {
  const db = await database();
  const rows = (await bulk(db, [{ _id: 'a', v: 1 }, { v: 2 }])).body;
  ok(rows.every((row) => row.ok && row.id && row.rev.startsWith('1-')));
  deepEqual((await bulk(db, [{ _id: 'a' }])).body, [{ id: 'a', error: 'conflict', reason: 'Document update conflict.' }]);
  deepEqual((await bulk(db, [{ _id: 'r', ...revs(3, hash(3), hash(2), hash(1)) }], { new_edits: false })).body, []);
  equal((await expect(200, 'GET', `${db}/r`)).body._rev, `3-${hash(3)}`);
  await expect(400, 'POST', `${db}/_bulk_docs`, { body: {} });
  match(await save(`${db}/rooted`, { _rev: `4-${hash(4)}` }), /^5-/);
  equal((await expect(201, 'POST', db, { body: { v: 3 } })).body.ok, true);
});

check('_bulk_get: revisions, latest, missing, atts_since', async () => {
  const db = await database();
  await conflicted(db);
  const get = async (query, docs) => (await expect(200, 'POST', `${db}/_bulk_get?${query}`, { body: { docs } })).body.results;
  const [a, missing] = await get('revs=true', [{ id: 'c', rev: `2-${hash('a')}` }, { id: 'no', rev: `1-${hash(1)}` }]);
  deepEqual(a.docs[0].ok._revisions, { start: 2, ids: [hash('a'), hash(1)] });
  deepEqual(missing, { id: 'no', docs: [{ error: { id: 'no', rev: `1-${hash(1)}`, error: 'not_found', reason: 'missing' } }] });
  const [latest] = await get('latest=true&revs=true', [{ id: 'c', rev: `1-${hash(1)}` }]);
  equal(latest.docs.length, 3);
  const first = await save(`${db}/att`, { _attachments: { f: { content_type: 'text/plain', data: btoa('one') } } });
  const { rev } = (await expect(201, 'PUT', `${db}/att/g?rev=${first}`, { body: 'two', headers: { 'Content-Type': 'text/plain' } })).body;
  const [stubs] = await get('', [{ id: 'att', rev }]);
  equal(stubs.docs[0].ok._attachments.f.stub, true);
  const [since] = await get('attachments=true', [{ id: 'att', rev, atts_since: [first] }]);
  equal(since.docs[0].ok._attachments.f.stub, true);
  equal(since.docs[0].ok._attachments.g.data, btoa('two'));
});

check('_revs_diff and _missing_revs', async () => {
  const db = await database();
  await conflicted(db);
  const wanted = { c: [`2-${hash('a')}`, `3-${hash('d')}`], n: [`1-${hash(1)}`] };
  const diff = (await expect(200, 'POST', `${db}/_revs_diff`, { body: wanted })).body;
  deepEqual(diff.c.missing, [`3-${hash('d')}`]);
  deepEqual(diff.c.possible_ancestors.sort(), ['a', 'b', 'c'].map((letter) => `2-${hash(letter)}`));
  deepEqual(diff.n, { missing: [`1-${hash(1)}`] });
  const { missing_revs: missing } = (await expect(200, 'POST', `${db}/_missing_revs`, { body: wanted })).body;
  deepEqual(missing, { c: [`3-${hash('d')}`], n: [`1-${hash(1)}`] });
});

check('_local documents and _local_docs', async () => {
  const db = await database();
  const rev = await save(`${db}/_local/point`, { seq: 1 });
  equal(rev, '0-1');
  deepEqual((await expect(200, 'GET', `${db}/_local/point`)).body, { _id: '_local/point', _rev: '0-1', seq: 1 });
  equal(await save(`${db}/_local/point`, { seq: 1 }), '0-1');
  equal(await save(`${db}/_local/point`, { seq: 2, _rev: rev }), '0-2');
  deepEqual(ids(await expect(200, 'GET', `${db}/_local_docs`)), ['_local/point']);
  equal((await expect(200, 'GET', `${db}/_local_docs?include_docs=true`)).body.rows[0].doc.seq, 2);
  await expect(200, 'DELETE', `${db}/_local/point`);
  refused(await expect(404, 'GET', `${db}/_local/point`), 'not_found', 'missing');
  deepEqual((await bulk(db, [{ _id: '_local/bulk' }])).body, [{ ok: true, id: '_local/bulk', rev: '0-1' }]);
  deepEqual((await expect(200, 'GET', `${db}/_changes`)).body.results, []);
});

check('_ensure_full_commit', async () => {
  const { body } = await expect(201, 'POST', `${await database()}/_ensure_full_commit`, { headers: { 'Content-Type': 'application/json' } });
  equal(body.ok, true);
  ok(body.instance_start_time);
});

check('documents: rev, revs, revs_info, conflicts, latest, open_revs', async () => {
  const db = await database();
  await conflicted(db);
  const get = async (query) => (await expect(200, 'GET', `${db}/c?${query}`, { headers: { Accept: 'application/json' } })).body;
  equal((await get(`rev=2-${hash('a')}`)).branch, 'a');
  deepEqual((await get('revs=true'))._revisions, { start: 2, ids: [hash('b'), hash(1)] });
  equal((await get('revs_info=true'))._revs_info[0].status, 'available');
  deepEqual((await get('conflicts=true'))._conflicts, [`2-${hash('a')}`]);
  deepEqual((await get('deleted_conflicts=true'))._deleted_conflicts, [`2-${hash('c')}`]);
  equal((await get('open_revs=all')).length, 3);
  const listed = await get(`open_revs=${encodeURIComponent(JSON.stringify([`2-${hash('a')}`, `9-${hash(9)}`]))}`);
  equal(listed.find((row) => row.ok).ok.branch, 'a');
  equal(listed.find((row) => row.missing).missing, `9-${hash(9)}`);
  equal((await get(`open_revs=${encodeURIComponent(JSON.stringify([`1-${hash(1)}`]))}&latest=true`)).length, 3);
  const first = await save(`${db}/x`, { v: 1 });
  const second = await save(`${db}/x`, { v: 2, _rev: first });
  equal((await expect(200, 'GET', `${db}/x?rev=${first}`)).body.v, 1);
  equal((await expect(200, 'GET', `${db}/x?rev=${first}&latest=true`)).body._rev, second);
});

check('attachments: write, read, stubs, delete', async () => {
  const db = await database();
  const bytes = Buffer.from([0, 1, 2, 255]);
  const put = await expect(201, 'PUT', `${db}/x/dir/file.bin`, { body: bytes, headers: { 'Content-Type': 'image/png' } });
  const got = await fetch(`${base}${db}/x/dir/file.bin`, { headers: admin });
  equal(got.headers.get('content-type'), 'image/png');
  deepEqual(Buffer.from(await got.arrayBuffer()), bytes);
  await expect(304, 'GET', `${db}/x/dir/file.bin`, { headers: { 'If-None-Match': got.headers.get('etag') } });
  const { body } = await expect(200, 'GET', `${db}/x`);
  const stub = body._attachments['dir/file.bin'];
  deepEqual([stub.stub, stub.length, stub.revpos, stub.content_type], [true, 4, 1, 'image/png']);
  const rev = await save(`${db}/x`, { ...body, more: 1 });
  equal((await expect(200, 'GET', `${db}/x?attachments=true`, { headers: { Accept: 'application/json' } })).body._attachments['dir/file.bin'].data, bytes.toString('base64'));
  await expect(409, 'DELETE', `${db}/x/dir/file.bin?rev=${put.body.rev}`);
  await expect(200, 'DELETE', `${db}/x/dir/file.bin?rev=${rev}`);
  equal((await expect(404, 'GET', `${db}/x/dir/file.bin`)).body.error, 'not_found');
  equal((await expect(412, 'PUT', `${db}/y`, { body: { _attachments: { no: { stub: true } } } })).body.error, 'missing_stub');
});

check('PUT multipart/related', async () => {
  const db = await database();
  const parts = ['--x', 'Content-Type: application/json', '', JSON.stringify({ _attachments: { f: { follows: true, content_type: 'text/plain', length: 5 } } }), '--x', '', 'hello', '--x--', ''].join('\r\n');
  await expect(201, 'PUT', `${db}/m`, { body: parts, headers: { 'Content-Type': 'multipart/related; boundary="x"' } });
  equal((await expect(200, 'GET', `${db}/m/f`)).text, 'hello');
});

check('_all_docs: ranges, keys, order, documents', async () => {
  const db = await database();
  await bulk(db, ['a', 'b', 'c', 'd'].map((_id) => ({ _id })));
  const rev = await save(`${db}/e`, {});
  await expect(200, 'DELETE', `${db}/e?rev=${rev}`);
  const get = (query) => expect(200, 'GET', `${db}/_all_docs?${query}`);
  const all = await get('');
  deepEqual([all.body.total_rows, all.body.offset, ids(all)], [4, 0, ['a', 'b', 'c', 'd']]);
  deepEqual(ids(await get('startkey="b"&endkey="c"')), ['b', 'c']);
  deepEqual(ids(await get('start_key="b"&end_key="c"&inclusive_end=false')), ['b']);
  deepEqual(ids(await get('descending=true&limit=2&skip=1')), ['c', 'b']);
  deepEqual(ids(await get('key="c"')), ['c']);
  equal((await get('key="c"&include_docs=true')).body.rows[0].doc._id, 'c');
  const { rows } = (await expect(200, 'POST', `${db}/_all_docs?include_docs=true`, { body: { keys: ['d', 'no', 'e'] } })).body;
  equal(rows[0].doc._id, 'd');
  deepEqual(rows[1], { key: 'no', error: 'not_found' });
  deepEqual([rows[2].value.deleted, rows[2].doc], [true, null]);
  deepEqual(ids(await get(`keys=${encodeURIComponent('["b","a"]')}`)), ['b', 'a']);
  const { results } = (await expect(200, 'POST', `${db}/_all_docs/queries`, { body: { queries: [{ keys: ['a'] }, { limit: 2 }] } })).body;
  deepEqual(results.map((result) => result.rows.length), [1, 2]);
});

check('_design_docs', async () => {
  const db = await database();
  await save(`${db}/x`, {});
  await save(`${db}/_design/one`, {});
  deepEqual(ids(await expect(200, 'GET', `${db}/_design_docs`)), ['_design/one']);
});

async function viewDatabase() {
  const db = await database();
  await bulk(db, [['a', 1], ['a', 2], ['b', 3], ['B', 4], ['c', 5]].map(([tag, number], index) => ({ _id: `d${index}`, tag, number, next: `d${(index + 1) % 5}` })));
  await save(`${db}/_design/v`, {
    views: {
      tags: { map: 'function (doc) { emit(doc.tag, doc.number); }', reduce: '_sum' },
      pairs: { map: 'function (doc) { emit([doc.tag, doc.number], doc.number); }', reduce: '_count' },
      stats: { map: 'function (doc) { emit(null, doc.number); }', reduce: '_stats' },
      links: { map: 'function (doc) { emit(doc.number, {_id: doc.next}); }' },
      own: { map: 'function (doc) { emit(doc.tag, 1); }', reduce: 'function (keys, values, rereduce) { return sum(values); }' },
    },
  });
  return { db, get: (name, query = '') => expect(200, 'GET', `${db}/_design/v/_view/${name}?${query}`) };
}

check('views: keys, ranges, order by ICU', async () => {
  const { db, get } = await viewDatabase();
  const all = await get('tags', 'reduce=false');
  deepEqual(all.body.rows.map(({ key }) => key), ['a', 'a', 'b', 'B', 'c']);
  deepEqual([all.body.total_rows, all.body.offset], [5, 0]);
  deepEqual(ids(await get('tags', 'reduce=false&key="a"')), ['d0', 'd1']);
  deepEqual(ids(await get('tags', 'reduce=false&startkey="b"&endkey="B"')), ['d2', 'd3']);
  deepEqual(ids(await get('tags', 'reduce=false&startkey="c"&endkey="b"&descending=true&inclusive_end=false')), ['d4', 'd3']);
  deepEqual(ids(await get('tags', 'reduce=false&limit=2&skip=1')), ['d1', 'd2']);
  equal((await get('tags', 'reduce=false&limit=2&skip=1')).body.offset, 1);
  deepEqual(ids(await get('tags', 'reduce=false&startkey="a"&startkey_docid=d1')), ['d1', 'd2', 'd3', 'd4']);
  deepEqual(ids(await expect(200, 'POST', `${db}/_design/v/_view/tags`, { body: { keys: ['c', 'a'], reduce: false } })), ['d4', 'd0', 'd1']);
  deepEqual(ids(await get('pairs', `reduce=false&startkey=${encodeURIComponent('["a"]')}&endkey=${encodeURIComponent('["a",{}]')}`)), ['d0', 'd1']);
  const { results } = (await expect(200, 'POST', `${db}/_design/v/_view/tags/queries`, { body: { queries: [{ key: 'a', reduce: false }, { reduce: true }] } })).body;
  deepEqual(results.map((result) => result.rows.length), [2, 1]);
});

check('views: reduce, group, group_level', async () => {
  const { get } = await viewDatabase();
  deepEqual((await get('tags')).body, { rows: [{ key: null, value: 15 }] });
  deepEqual((await get('tags', 'group=true')).body.rows, [['a', 3], ['b', 3], ['B', 4], ['c', 5]].map(([key, value]) => ({ key, value })));
  deepEqual((await get('pairs', 'group_level=1&limit=1')).body.rows, [{ key: ['a'], value: 2 }]);
  deepEqual((await get('stats')).body.rows[0].value, { sum: 15, count: 5, min: 1, max: 5, sumsqr: 55 });
  deepEqual((await get('own', 'group=true&keys=["a"]')).body.rows, [{ key: 'a', value: 2 }]);
});

check('views: documents, linked documents, updates, errors', async () => {
  const { db, get } = await viewDatabase();
  equal((await get('tags', 'reduce=false&include_docs=true&limit=1')).body.rows[0].doc._id, 'd0');
  equal((await get('links', 'include_docs=true&key=1')).body.rows[0].doc._id, 'd1');
  await save(`${db}/d9`, { tag: 'z', number: 9, next: 'none' });
  deepEqual(ids(await get('tags', 'reduce=false&key="z"')), ['d9']);
  equal((await get('links', 'include_docs=true&key=9')).body.rows[0].doc, null);
  const { body } = await expect(200, 'GET', `${db}/d9`);
  await expect(200, 'DELETE', `${db}/d9?rev=${body._rev}`);
  deepEqual(ids(await get('tags', 'reduce=false&key="z"')), []);
  refused(await expect(404, 'GET', `${db}/_design/v/_view/none`), 'not_found', 'missing_named_view');
  equal((await expect(400, 'GET', `${db}/_design/v/_view/links?group=true`)).body.error, 'query_parse_error');
  equal((await expect(400, 'GET', `${db}/_design/v/_view/tags?limit=x`)).body.error, 'query_parse_error');
});

check('_find, _index, _explain', async () => {
  const { db } = await viewDatabase();
  const { body } = await expect(200, 'POST', `${db}/_find`, { body: { selector: { number: { $gte: 4 } }, fields: ['_id'] } });
  deepEqual(body.docs.map(({ _id }) => _id).sort(), ['d3', 'd4']);
  ok(body.bookmark);
  const index = (await expect(200, 'POST', `${db}/_index`, { body: { index: { fields: ['number'] }, name: 'n', ddoc: 'n' } })).body;
  equal(index.result, 'created');
  const sorted = (await expect(200, 'POST', `${db}/_find`, { body: { selector: { number: { $gt: 0 } }, sort: [{ number: 'desc' }], limit: 2 } })).body;
  deepEqual(sorted.docs.map(({ number }) => number), [5, 4]);
  const next = (await expect(200, 'POST', `${db}/_find`, { body: { selector: { number: { $gt: 0 } }, sort: [{ number: 'desc' }], limit: 2, bookmark: sorted.bookmark } })).body;
  deepEqual(next.docs.map(({ number }) => number), [3, 2]);
  ok((await expect(200, 'GET', `${db}/_index`)).body.indexes.some(({ name }) => name === 'n'));
  equal((await expect(200, 'POST', `${db}/_explain`, { body: { selector: { number: 1 } } })).body.index.name, 'n');
  await expect(200, 'DELETE', `${db}/_index/_design/n/json/n`);
});

check('COPY', async () => {
  const db = await database();
  const rev = await save(`${db}/x`, { v: 1 });
  const copied = (await expect(201, 'COPY', `${db}/x`, { headers: { Destination: 'y' } })).body;
  deepEqual([copied.ok, copied.id], [true, 'y']);
  equal((await expect(200, 'GET', `${db}/y`)).body.v, 1);
  await expect(409, 'COPY', `${db}/x`, { headers: { Destination: 'y' } });
  await expect(201, 'COPY', `${db}/x?rev=${rev}`, { headers: { Destination: `y?rev=${copied.rev}` } });
  await expect(400, 'COPY', `${db}/x`);
});

// 6. Answers

check('documents: ETag, 304, HEAD, Content-Type', async () => {
  const db = await database();
  const rev = await save(`${db}/x`, {});
  const got = await expect(200, 'GET', `${db}/x`);
  equal(got.headers.get('etag'), `"${rev}"`);
  match(got.headers.get('content-type'), /^application\/json/);
  equal((await expect(304, 'GET', `${db}/x`, { headers: { 'If-None-Match': `"${rev}"` } })).text, '');
  const head = await expect(200, 'HEAD', `${db}/x`);
  deepEqual([head.headers.get('etag'), head.headers.get('content-length'), head.text], [`"${rev}"`, String(got.text.length), '']);
});

check('documents: missing, deleted, conflict, If-Match, ids in the path', async () => {
  const db = await database();
  refused(await expect(404, 'GET', `${db}/no`), 'not_found', 'missing');
  refused(await expect(404, 'DELETE', `${db}/no?rev=1-${hash(1)}`), 'not_found', 'missing');
  const rev = await save(`${db}/x`, { _id: 'other' });
  refused(await expect(409, 'PUT', `${db}/x`, { body: {} }), 'conflict', 'Document update conflict.');
  await expect(409, 'DELETE', `${db}/x`);
  await expect(200, 'DELETE', `${db}/x`, { headers: { 'If-Match': rev } });
  refused(await expect(404, 'GET', `${db}/x`), 'not_found', 'deleted');
  match(await save(`${db}/x`, { again: true }), /^3-/);
  await save(`${db}/a%2Fb`, {});
  equal((await expect(200, 'GET', `${db}/a%2Fb`)).body._id, 'a/b');
  await expect(201, 'PUT', `${db}/_design%2Fq`, { body: {} });
  await expect(200, 'GET', `${db}/_design/q`);
});

check('malformed requests', async () => {
  const db = await database();
  equal((await expect(400, 'PUT', `${db}/x`, { body: '{' })).body.error, 'bad_request');
  equal((await expect(415, 'POST', `${db}/_bulk_docs`, { body: '{}' })).body.error, 'bad_content_type');
  equal((await expect(405, 'PATCH', `${db}/x`, { body: {} })).body.error, 'method_not_allowed');
  equal((await expect(405, 'PUT', `${db}/_changes`, { body: {} })).body.error, 'method_not_allowed');
  equal((await expect(400, 'GET', `${db}/x?rev=bad`)).body.error, 'bad_request');
  equal((await expect(400, 'PUT', `${db}/x`, { body: { _strange: 1 } })).body.error, 'doc_validation');
  equal((await expect(400, 'PUT', `${db}/_strange`, { body: {} })).body.error, 'illegal_docid');
  equal((await expect(400, 'PUT', `${db}/_design/d`, { body: { views: { m: { map: 'function (' } } } })).body.error, 'compilation_error');
});

async function run({ name, run: body }) {
  try {
    await body();
    return true;
  } catch (error) {
    console.log(`FAILED ${name}\n  ${error.stack.split('\n').slice(0, 12).join('\n  ')}`);
    return false;
  }
}

async function cleanUp() {
  for (const path of made) {
    const { body } = await ask('GET', path);
    await ask('DELETE', body._rev ? `${path}?rev=${body._rev}` : path);
  }
}

let passed = 0;
for (const each of checks) passed += await run(each) ? 1 : 0;
await cleanUp();
server?.stdin.end();
console.log(`${passed} passed, ${checks.length - passed} failed`);
process.exitCode = passed === checks.length ? 0 : 1;
