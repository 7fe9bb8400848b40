// Mango: `_find`, `_explain` and `_index`. Where there are indexes PouchDB's own implementation uses them; without any
// all documents are looked at in the order of their ids, as CouchDB does.

import { requireDatabaseAdmin } from './access.mjs';
import { compareIds } from './collation.mjs';
import { Refusal } from './exchange.mjs';
import { combinesNothing, matches, normalize } from './mango.mjs';
import { inOrder } from './read.mjs';

const DEFAULT_LIMIT = 25;
const WARNING = 'No matching index found, create an index to optimize query time.';

export async function find(exchange, database) {
  exchange.allow('POST');
  const { bookmark, conflicts, ...query } = await exchange.object();
  if (!query.selector) throw new Refusal(400, 'missing_required_key', 'Missing required key: selector');
  const { skip = 0, limit = DEFAULT_LIMIT } = query;
  const start = skip + readBookmark(bookmark);
  const { indexes: known } = await database.pouch.getIndexes();
  const search = known.length > 1 ? (asked) => database.pouch.find(asked).catch(unusable) : (asked) => scan(database, asked);
  const { docs: found, warning } = await search({ ...query, skip: start, limit });
  const shown = !(query.fields?.length > 0) || query.fields.includes('_conflicts');
  const docs = conflicts && shown ? await Promise.all(found.map((document) => withConflicts(database, document))) : found;
  const next = docs.length > 0 ? writeBookmark(start + docs.length) : 'nil';
  exchange.begin(200);
  const tail = [['bookmark', next], ...(warning ? [['warning', WARNING]] : [])].map(([name, value]) => `"${name}": ${JSON.stringify(value)}`).join(',\r\n');
  exchange.response.end(`{"docs":[\r\n${docs.map((each) => JSON.stringify(inOrder(each))).join(',\r\n')}\r\n],\r\n${tail}}\n`);
}

/** The documents that match, by their ids. */
async function scan(database, { selector, sort = [], fields, skip, limit }) {
  const normal = normalize(selector);
  const orders = sort.map((each) => (typeof each === 'string' ? [each, 'asc'] : Object.entries(each)[0]));
  if (orders.some(([field]) => field !== '_id')) throw noIndex();
  if (combinesNothing(normal)) return { docs: [] };
  const { rows } = await database.pouch.allDocs({ include_docs: true });
  const documents = rows.map(({ doc }) => doc).filter(({ _id: id }) => !id.startsWith('_design/')).sort((left, right) => compareIds(left._id, right._id));
  if (orders[0]?.[1] === 'desc') documents.reverse();
  const found = documents.filter((document) => matches(normal, document)).slice(skip, skip + limit);
  return { docs: fields?.length > 0 && Array.isArray(fields) ? found.map((document) => project(document, fields)) : found, warning: true };
}

/** Those of its fields that are named. */
function project(document, fields) {
  const shown = {};
  for (const field of fields) {
    const path = field.split(/(?<!\\)\./).map((step) => step.replaceAll('\\', ''));
    const value = path.reduce((below, step) => below?.[step], document);
    if (value === undefined) continue;
    const last = path.pop();
    const place = path.reduce((below, step) => (below[step] ??= {}), shown);
    place[last] = value;
  }
  return shown;
}

async function withConflicts(database, document) {
  const leaves = await database.leaves(document._id);
  const others = leaves.filter(({ rev, deleted }) => !deleted && rev !== document._rev).map(({ rev }) => rev);
  return others.length > 0 ? { ...document, _conflicts: others } : document;
}

/** PouchDB throws plain errors at a sort that no index serves. */
function unusable(error) {
  if (!/^Cannot sort on/.test(error.message)) throw error;
  throw noIndex();
}

const noIndex = () => new Refusal(400, 'no_usable_index', 'No index exists for this sort, try indexing by the sort fields.');

const writeBookmark = (position) => Buffer.from(`from:${position}`).toString('base64url');

function readBookmark(bookmark) {
  if (!bookmark || bookmark === 'nil') return 0;
  const [, position] = /^from:(\d+)$/.exec(Buffer.from(bookmark, 'base64url').toString()) ?? [];
  if (position === undefined) throw new Refusal(400, 'invalid_bookmark', `Invalid bookmark value: ${bookmark}`);
  return Number(position);
}

export async function explain(exchange, database) {
  exchange.allow('POST');
  const query = await exchange.object();
  exchange.answer(200, { ...await database.pouch.explain({ limit: DEFAULT_LIMIT, ...query }), dbname: database.name });
}

export async function indexes(exchange, database, [, ...path]) {
  exchange.allow('GET', 'HEAD', 'POST', 'DELETE');
  if (exchange.reads) return exchange.answer(200, await database.pouch.getIndexes());
  requireDatabaseAdmin(exchange.user, database.security);
  const answer = path[0] === '_bulk_delete' ? await dropMany(database, await exchange.object()) : exchange.method === 'POST' ? await database.pouch.createIndex(await exchange.object()) : await drop(database, path);
  database.touch();
  exchange.answer(200, answer);
}

/** Deletes all indexes of each design document; CouchDB tells the last one first. */
async function dropMany(database, { docids }) {
  const [success, fail] = [[], []];
  for (const name of docids) {
    const ddoc = name.startsWith('_design/') ? name : `_design/${name}`;
    const { indexes: known } = await database.pouch.getIndexes();
    const own = known.filter((each) => each.ddoc === ddoc);
    for (const index of own) await database.pouch.deleteIndex(index);
    if (own.length > 0) success.unshift({ id: ddoc, ok: true });
    else fail.unshift({ id: ddoc, error: 'not_found' });
  }
  return { success, fail };
}

async function drop(database, path) {
  const [ddoc, type, name] = path[0] === '_design' ? [`_design/${path[1]}`, ...path.slice(2)] : path;
  const index = { ddoc: ddoc.startsWith('_design/') ? ddoc : `_design/${ddoc}`, type, name };
  const { indexes: known } = await database.pouch.getIndexes();
  if (!known.some((each) => each.ddoc === index.ddoc && each.name === name)) throw new Refusal(404, 'not_found', 'missing');
  return database.pouch.deleteIndex(index);
}
