// One document and its attachments: GET, HEAD, PUT, DELETE, COPY.

import { Refusal } from './exchange.mjs';
import { readLocal } from './local.mjs';
import { accepts, parseRelated, sendMixed, sendRelated } from './multipart.mjs';
import { openRevisions, readOptions, readRevision } from './read.mjs';
import { requireDocument, writeDocument } from './write.mjs';

export async function document(exchange, database, id) {
  exchange.allow('GET', 'HEAD', 'PUT', 'DELETE', 'COPY');
  if (exchange.reads) return id.startsWith('_local/') ? exchange.answer(200, readLocal(database, id)) : get(exchange, database, id);
  const work = { PUT: put, DELETE: remove, COPY: copy }[exchange.method];
  return work(exchange, database, id);
}

async function get(exchange, database, id) {
  const options = readOptions(exchange.query);
  const open = exchange.query.text('open_revs');
  if (open !== undefined) {
    const mixed = accepts(exchange, 'multipart/mixed');
    const leaves = await openLeaves(exchange, database, id, open, { ...options, attachments: mixed || options.attachments });
    return mixed ? sendMixed(exchange, leaves) : exchange.answer(200, leaves);
  }
  const found = await readRevision(database, id, exchange.query.text('rev'), options);
  const plain = !options.revs_info && !options.conflicts && !options.deletedConflicts;
  const related = (options.attachments || options.attsSince) && accepts(exchange, 'multipart/related');
  if (related) sendRelated(exchange, found, plain ? { ETag: `"${found._rev}"` } : {});
  else if (plain) exchange.answerTagged(found._rev, found);
  else exchange.answer(200, found);
}

async function openLeaves(exchange, database, id, open, options) {
  const revs = open === 'all' ? 'all' : exchange.query.json('open_revs');
  if (revs !== 'all' && !Array.isArray(revs)) throw new Refusal(400, 'bad_request', 'open_revs must be "all" or a JSON array');
  const found = await openRevisions(database, id, revs, options);
  if (revs === 'all' && found.length === 0) throw new Refusal(404, 'not_found', 'missing');
  return found;
}

/** `POST /db`: a document whose id may be left to the server. */
export async function create(exchange, database) {
  const written = await writeDocument(exchange.user, database, await exchange.object());
  const batch = exchange.query.text('batch') === 'ok';
  exchange.answer(batch ? 202 : 201, written, { Location: location(exchange, database, written.id) });
}

async function put(exchange, database, id) {
  const body = requireDocument(await putBody(exchange));
  const rev = revisionOf(exchange, body._rev);
  const newEdits = exchange.query.text('new_edits') !== 'false';
  const written = await writeDocument(exchange.user, database, { ...body, _id: id, ...(rev && { _rev: rev }) }, { newEdits });
  // CouchDB answers a tombstone as it answers a DELETE.
  answerWritten(exchange, database, written, body._deleted === true ? 200 : 201);
}

async function putBody(exchange) {
  const type = exchange.header('content-type') ?? '';
  if (/^multipart\/related/i.test(type)) return parseRelated(await exchange.bytes(), type);
  return await exchange.json() ?? {};
}

async function remove(exchange, database, id) {
  if (!id.startsWith('_local/') && (await database.leaves(id)).every(({ deleted }) => deleted)) {
    throw new Refusal(404, 'not_found', (await database.leaves(id)).length > 0 ? 'deleted' : 'missing');
  }
  const rev = revisionOf(exchange);
  const written = await writeDocument(exchange.user, database, { _id: id, _rev: rev, _deleted: true });
  exchange.answer(200, written, { ETag: `"${written.rev}"` });
}

async function copy(exchange, database, id) {
  const destination = exchange.header('destination');
  if (!destination) throw new Refusal(400, 'bad_request', 'Destination header is mandatory for COPY.');
  const [target, query] = destination.split('?');
  const source = id.startsWith('_local/') ? readLocal(database, id) : await readRevision(database, id, exchange.query.text('rev'), { attachments: true });
  const rev = new URLSearchParams(query).get('rev');
  const { _rev, ...body } = source;
  const written = await writeDocument(exchange.user, database, { ...body, _id: decodeURIComponent(target), ...(rev && { _rev: rev }) });
  answerWritten(exchange, database, written);
}

function answerWritten(exchange, database, written, status = 201) {
  exchange.answer(exchange.query.text('batch') === 'ok' ? 202 : status, written, {
    ETag: `"${written.rev}"`,
    Location: location(exchange, database, written.id),
  });
}

function location(exchange, database, id) {
  const path = [database.name, ...id.split(/(?<=^_design|^_local)\//)].map(encodeURIComponent).join('/');
  return `http://${exchange.host}/${path}`;
}

/** The revision that a write names: `rev` in the query, `If-Match`, or the body; they may not differ. */
function revisionOf(exchange, inBody) {
  const inHeader = exchange.header('if-match')?.replaceAll('"', '');
  const named = [exchange.query.text('rev'), inHeader, inBody].filter((rev) => rev !== undefined);
  if (new Set(named).size > 1) throw new Refusal(400, 'bad_request', 'Document rev from request body and query string have different values');
  return named[0];
}

export async function attachment(exchange, database, id, name) {
  exchange.allow('GET', 'HEAD', 'PUT', 'DELETE');
  if (exchange.reads) return getAttachment(exchange, database, id, name);
  if (exchange.method === 'PUT') return putAttachment(exchange, database, id, name);
  return removeAttachment(exchange, database, id, name);
}

async function getAttachment(exchange, database, id, name) {
  const found = await readRevision(database, id, exchange.query.text('rev'));
  const stub = found._attachments?.[name];
  if (!stub) throw new Refusal(404, 'not_found', 'Document is missing attachment');
  const tag = stub.digest.replace('md5-', '');
  if (exchange.notModified(tag)) return;
  const bytes = await database.pouch.getAttachment(id, name, { rev: found._rev });
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(exchange.header('range') ?? '') ?? [];
  const range = from !== undefined && { 'Content-Range': `bytes ${from}-${to}/${bytes.length}` };
  exchange.send(range ? 206 : 200, range ? bytes.subarray(Number(from), Number(to) + 1) : bytes, {
    ...range,
    'Accept-Ranges': 'bytes',
    'Content-Security-Policy': 'sandbox',
    'Content-Type': stub.content_type,
    ETag: `"${tag}"`,
  });
}

async function putAttachment(exchange, database, id, name) {
  const bytes = await exchange.bytes();
  const entry = { content_type: exchange.header('content-type') ?? 'application/octet-stream', data: bytes.toString('base64') };
  const written = await changeAttachments(exchange, database, id, (attachments) => ({ ...attachments, [name]: entry }));
  exchange.answer(201, written, { Location: `${location(exchange, database, id)}/${name}` });
}

async function removeAttachment(exchange, database, id, name) {
  const written = await changeAttachments(exchange, database, id, ({ [name]: removed, ...others }) => {
    if (!removed) throw new Refusal(404, 'not_found', 'Document is missing attachment');
    return others;
  });
  exchange.answer(200, written);
}

async function changeAttachments(exchange, database, id, change) {
  const rev = revisionOf(exchange);
  if (rev === undefined && (await database.leaves(id)).some(({ deleted }) => !deleted)) throw new Refusal(409, 'conflict', 'Document update conflict.');
  const stored = rev === undefined ? { _id: id } : await readRevision(database, id, rev).catch(() => { throw new Refusal(409, 'conflict', 'Document update conflict.'); });
  return writeDocument(exchange.user, database, { ...stored, _attachments: change(stored._attachments ?? {}) });
}
