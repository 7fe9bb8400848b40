// Every write of documents goes through `writeDocuments`: it validates as CouchDB does, one row for each document.

import { createHash, randomUUID } from 'node:crypto';

import { isServerAdmin, requireDatabaseAdmin } from './access.mjs';
import { Refusal, asRefusal } from './exchange.mjs';
import { hashPassword } from './identity.mjs';
import { writeLocal } from './local.mjs';
import { reducer } from './reduce.mjs';
import { ancestorsNamedBy, contains, generation } from './revisions.mjs';
import { Sandbox } from './sandbox.mjs';

const SPECIAL = new Set(['_rev', '_deleted', '_attachments', '_revisions', '_revs_info', '_conflicts', '_deleted_conflicts', '_local_seq']);

/** Writes documents; answers for each of them, in order, `{ok, id, rev}` or a `Refusal` (with its `id` beside it). */
export function writeDocuments(user, database, documents, { newEdits = true } = {}) {
  return database.exclusive(async () => {
    const rows = [];
    for (const document of documents.map((each) => wellFormed(each, newEdits))) rows.push(await admit(user, database, document, newEdits));
    const admitted = rows.filter(({ document }) => document);
    await store(database, admitted.filter(({ rooted }) => !rooted), newEdits);
    await store(database, admitted.filter(({ rooted }) => rooted), false);
    if (rows.some(({ id }) => id.startsWith('_design/'))) database.forgetValidators();
    database.touch();
    return rows;
  });
}

/** Writes one document; throws what speaks against it. */
export async function writeDocument(user, database, document, options) {
  const [row] = await writeDocuments(user, database, [document], options);
  if (row.refusal) throw row.refusal;
  return { ok: true, id: row.id, rev: row.rev };
}

export function requireDocument(document) {
  if (document !== null && typeof document === 'object' && !Array.isArray(document)) return document;
  throw new Refusal(400, 'bad_request', 'Document must be a JSON object');
}

/** A document in good form, with an id. What is malformed sinks the whole request. */
function wellFormed(document, newEdits) {
  const { _id: id = randomUUID().replaceAll('-', ''), ...body } = requireDocument(document);
  if (typeof id !== 'string') throw new Refusal(400, 'illegal_docid', 'Document id must be a string');
  if (/^_(?!design\/|local\/)/.test(id)) throw new Refusal(400, 'illegal_docid', 'Only reserved document ids may start with underscore.');
  const strange = Object.keys(body).find((name) => name.startsWith('_') && !SPECIAL.has(name));
  if (strange) throw new Refusal(400, 'doc_validation', `Bad special document member: ${strange}`);
  if (!newEdits && !body._rev && !body._revisions) throw new Refusal(400, 'bad_request', 'When `new_edits: false`, the document needs `_rev` or `_revisions` specified');
  return { _id: id, ...body };
}

/** Decides on one document before it is written: `{id, document}` to be stored, or `{id, refusal}`; `_local` ones are done. */
async function admit(user, database, document, newEdits) {
  const id = document._id;
  try {
    if (id.startsWith('_local/')) return { id, rev: writeLocal(database, document) };
    const leaves = await database.leaves(id);
    const rooted = newEdits && leaves.length === 0 && document._rev !== undefined;
    const parent = newEdits ? await leafNamedBy(database, document, leaves) : await nearestAncestor(database, document);
    const complete = prepare(database, withStubs(document, parent));
    if (id.startsWith('_design/')) validateDesign(user, database, complete);
    else await validate(user, database, complete, parent);
    return rooted ? { id, rooted, document: withRoot(complete) } : { id, document: complete };
  } catch (error) {
    const refusal = asRefusal(error);
    if (refusal.error === 'missing_stub') throw refusal;
    return { id, rev: document._rev, refusal };
  }
}

/** The leaf that a new edit continues; `null` if there is none. A write on top of anything else is a conflict. */
async function leafNamedBy(database, { _id: id, _rev: rev }, leaves) {
  if (rev !== undefined && !/^\d+-/.test(rev)) throw new Refusal(400, 'bad_request', 'Invalid rev format');
  if (leaves.length === 0 || (rev === undefined && leaves[0].deleted)) return null;
  if (!leaves.some((leaf) => leaf.rev === rev)) throw new Refusal(409, 'conflict', 'Document update conflict.');
  return database.pouch.get(id, { rev, revs: true });
}

/** CouchDB lets a new document continue a revision that it never had. */
function withRoot({ _rev: root, ...document }) {
  const start = generation(root) + 1;
  const ids = [createHash('md5').update(root + JSON.stringify(document)).digest('hex'), root.slice(root.indexOf('-') + 1)];
  return { ...document, _rev: `${start}-${ids[0]}`, _revisions: { start, ids } };
}

async function nearestAncestor(database, document) {
  const tree = await database.tree(document._id);
  const rev = ancestorsNamedBy(document).find((each) => contains(tree, each));
  return rev ? database.pouch.get(document._id, { rev, revs: true }).catch(() => null) : null;
}

/** Replaces the stubs of attachments by what the parent holds under the same names. */
function withStubs(document, parent) {
  if (!document._attachments) return document;
  const attachments = Object.entries(document._attachments).map(([name, attachment]) => {
    if (!attachment.stub) return [name, attachment];
    const stored = parent?._attachments?.[name];
    if (!stored) throw new Refusal(412, 'missing_stub', `Invalid attachment stub in ${document._id} for ${name}`);
    return [name, stored];
  });
  return { ...document, _attachments: Object.fromEntries(attachments) };
}

function prepare(database, document) {
  return database.name === '_users' && !document._id.startsWith('_design/') ? hashPassword(document) : document;
}

/** Design documents are for administrators, and their views must compile. */
function validateDesign(user, database, { views = {} }) {
  requireDatabaseAdmin(user, database.security);
  const sandbox = new Sandbox();
  for (const [name, { map, reduce }] of Object.entries(views)) {
    try {
      if (typeof map === 'string') sandbox.compileMap(map);
    } catch ({ reason }) {
      throw new Refusal(400, 'compilation_error', `Compilation of the map function in the '${name}' view failed: ${reason}`);
    }
    if (reduce) reducer(reduce, sandbox);
  }
}

async function validate(user, database, document, parent) {
  if (database.name === '_users') validateUser(user, document, parent);
  const context = { db: database.name, name: user.name, roles: user.roles };
  for (const validator of await database.validators()) {
    try {
      validator(document, parent, context, database.security);
    } catch (thrown) {
      throw complaint(thrown);
    }
  }
}

function complaint(thrown) {
  if (thrown?.forbidden !== undefined) return new Refusal(403, 'forbidden', String(thrown.forbidden));
  if (thrown?.unauthorized !== undefined) return new Refusal(401, 'unauthorized', String(thrown.unauthorized));
  return new Refusal(500, thrown?.name ?? 'unknown_error', String(thrown));
}

/** The essence of what CouchDB's own `_design/_auth` in `_users` demands. */
function validateUser(user, document, parent) {
  const forbid = (reason) => { throw new Refusal(403, 'forbidden', reason); };
  if (document._deleted) return;
  if (document.type !== 'user') forbid('doc.type must be user');
  if (document._id !== `org.couchdb.user:${document.name}`) forbid('Doc ID must be of the form org.couchdb.user:name');
  if (!Array.isArray(document.roles)) forbid('doc.roles must be an array');
  if (isServerAdmin(user)) return;
  if (user.name !== document.name) forbid('You may only update your own user document.');
  if (JSON.stringify(document.roles.toSorted()) !== JSON.stringify((parent?.roles ?? []).toSorted())) forbid('Only _admin may edit roles');
}

/** Hands the admitted documents to PouchDB and notes what became of each. */
async function store(database, rows, newEdits) {
  const answers = await database.pouch.bulkDocs(rows.map(({ document }) => document), { new_edits: newEdits });
  rows.forEach((row, index) => {
    if (newEdits) Object.assign(row, answers[index].error ? { refusal: asRefusal(answers[index]) } : { rev: answers[index].rev });
    else row.rev = row.document._rev;
  });
}
