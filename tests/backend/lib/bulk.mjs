// Many documents at once: `_bulk_docs`, `_bulk_get`, `_revs_diff`, `_missing_revs`.

import { Refusal } from './exchange.mjs';
import { accepts, sendBulk } from './multipart.mjs';
import { openRevisions, readOptions } from './read.mjs';
import { contains, generation, leavesOf } from './revisions.mjs';
import { writeDocuments } from './write.mjs';

export async function bulkDocs(exchange, database) {
  exchange.allow('POST');
  const { docs, new_edits: newEdits = true } = await exchange.object();
  if (docs === undefined) throw new Refusal(400, 'bad_request', 'POST body must include `docs` parameter.');
  if (!Array.isArray(docs)) throw new Refusal(400, 'bad_request', '`docs` parameter must be an array.');
  const rows = await writeDocuments(exchange.user, database, docs, { newEdits });
  const told = newEdits ? rows : rows.filter(({ refusal }) => refusal);
  exchange.answer(201, told.map((row) => bulkRow(row, newEdits)));
}

function bulkRow({ id, rev, refusal }, newEdits) {
  if (!refusal) return { ok: true, id, rev };
  return { id, ...(!newEdits && { rev }), error: refusal.error, reason: refusal.reason };
}

export async function bulkGet(exchange, database) {
  exchange.allow('POST');
  const { docs } = await exchange.object();
  if (!Array.isArray(docs)) throw new Refusal(400, 'bad_request', 'Missing JSON list of \'docs\'.');
  const kind = ['multipart/mixed', 'multipart/related'].find((each) => !accepts(exchange, 'application/json') && accepts(exchange, each));
  const asked = readOptions(exchange.query);
  const options = { ...asked, attachments: Boolean(kind) || asked.attachments };
  const results = [];
  for (const wanted of docs) results.push({ id: wanted.id ?? null, docs: await bulkGetRows(database, wanted, options) });
  if (kind) return sendBulk(exchange, kind, results.flatMap((result) => result.docs));
  exchange.answer(200, { results });
}

async function bulkGetRows(database, { id, rev, atts_since: attsSince }, options) {
  const failed = (error, reason, of = rev) => ({ error: { id: id ?? null, rev: of === undefined ? 'undefined' : of, error, reason } });
  if (typeof id !== 'string') return [failed('bad_request', 'document id missed', null)];
  if (rev !== undefined && !/^\d+-/.test(rev)) return [failed('bad_request', 'Invalid rev format')];
  const found = await openRevisions(database, id, rev === undefined ? 'all' : [rev], { ...options, attsSince });
  if (found.length === 0) return [failed('not_found', 'missing')];
  return found.map(({ ok, missing }) => (ok ? { ok } : failed('not_found', 'missing', missing)));
}

export async function revsDiff(exchange, database) {
  exchange.allow('POST');
  const answer = {};
  for (const [id, revs] of Object.entries(await exchange.object())) {
    const tree = await database.tree(id);
    const missing = absent(tree, revs);
    if (missing.length === 0) continue;
    const newest = Math.max(...missing.map(generation));
    const ancestors = leavesOf(tree).map(({ rev }) => rev).filter((rev) => generation(rev) < newest);
    answer[id] = { missing, ...(ancestors.length > 0 && { possible_ancestors: ancestors }) };
  }
  exchange.answer(200, answer);
}

export async function missingRevs(exchange, database) {
  exchange.allow('POST');
  const answer = {};
  for (const [id, revs] of Object.entries(await exchange.object())) {
    const tree = await database.tree(id);
    const missing = absent(tree, revs);
    if (missing.length > 0) answer[id] = missing;
  }
  exchange.answer(200, { missing_revs: answer });
}

function absent(tree, revs) {
  if (!revs.every((rev) => /^\d+-/.test(rev))) throw new Refusal(400, 'bad_request', 'Invalid rev format');
  return revs.filter((rev) => !contains(tree, rev));
}
