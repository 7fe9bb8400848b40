// Rows: `_all_docs`, `_design_docs`, `_local_docs`, views, and their `queries`.

import { sequence } from './changes.mjs';
import { compareIds } from './collation.mjs';
import { Refusal, frameRows } from './exchange.mjs';
import { inOrder } from './read.mjs';

const FLAGS = ['descending', 'inclusive_end', 'include_docs', 'reduce', 'group', 'conflicts', 'attachments', 'update_seq'];
const NUMBERS = ['limit', 'skip', 'group_level'];
const VALUES = ['key', 'keys', 'startkey', 'endkey'];
const DESIGNS = { startkey: '_design/', endkey: '_design0' };
const ALIASES = { start_key: 'startkey', end_key: 'endkey', start_key_doc_id: 'startkey_docid', end_key_doc_id: 'endkey_docid' };

export async function allDocs(exchange, database) {
  await serve(exchange, async (options) => {
    if (options.reduce) throw new Refusal(400, 'query_parse_error', 'Reduce is invalid for map-only views.');
    await database.documents.update();
    const { rows, ...head } = database.documents.query(options);
    return withDocuments(database, { ...head, ...sequenceOf(database.documents, options), rows }, options);
  });
}

export async function designDocs(exchange, database) {
  await serve(exchange, async (options) => {
    await database.documents.update();
    const total = database.documents.query(DESIGNS).rows.length;
    const bounds = options.descending ? { startkey: DESIGNS.endkey, endkey: DESIGNS.startkey } : DESIGNS;
    const { rows } = database.documents.query({ ...bounds, ...options });
    return withDocuments(database, { total_rows: total, offset: options.skip ?? 0, rows }, options);
  });
}

export async function localDocs(exchange, database) {
  await serve(exchange, async ({ include_docs: withDocs, keys, ...options }) => {
    const ids = keys ? keys.filter((id) => id.startsWith('_local/')) : localIds(database, options);
    const rows = ids.map((id) => {
      const document = database.locals.get(id);
      if (!document) return { key: id, error: 'not_found' };
      return { id, key: id, value: { rev: document._rev }, ...(withDocs && { doc: document }) };
    });
    return { total_rows: null, offset: null, rows };
  });
}

function localIds(database, { key, startkey = key, endkey = key, descending, inclusive_end: inclusive = true, skip = 0, limit = Infinity }) {
  const ids = [...database.locals.keys()].sort(compareIds);
  const [low, high] = descending ? [endkey, startkey] : [startkey, endkey];
  const inside = (id) => (low === undefined || compareIds(id, low) >= 0) && (high === undefined || compareIds(id, high) <= 0) && (inclusive || id !== endkey);
  const found = ids.filter(inside);
  return (descending ? found.reverse() : found).slice(skip, skip + limit);
}

export async function view(exchange, database, designName, viewName) {
  const index = await database.view(designName, viewName);
  await serve(exchange, async (options) => {
    const stale = 'stale' in options || ['false', 'lazy'].includes(options.update);
    if (!stale) await index.update();
    const { rows, ...head } = index.query(options);
    if (options.stale === 'update_after' || options.update === 'lazy') await index.update();
    return withDocuments(database, { ...head, ...sequenceOf(index, options), rows }, options);
  });
}

const sequenceOf = (index, options) => (options.update_seq ? { update_seq: sequence(index.sequence) } : {});

/** Answers one query of GET or POST, or the several of `…/queries`. */
async function serve(exchange, run) {
  exchange.allow('GET', 'HEAD', 'POST');
  const several = exchange.segments.at(-1) === 'queries';
  if (several) exchange.allow('POST');
  const body = exchange.reads ? {} : await exchange.object();
  if ('keys' in body && !Array.isArray(body.keys)) throw new Refusal(400, 'bad_request', '`keys` body member must be an array.');
  const fromQuery = Object.fromEntries([...exchange.query.values.keys()].map((name) => [name, typed(exchange.query, name)]));
  if (!several) {
    const { rows, ...head } = await run(options({ ...fromQuery, ...body }));
    return exchange.answerRows(head, rows);
  }
  if (!Array.isArray(body.queries)) throw new Refusal(400, 'bad_request', 'POST body must include `queries` parameter.');
  const results = [];
  for (const query of body.queries) results.push(await run(options({ ...fromQuery, ...oneKey(query) })));
  exchange.begin(200);
  exchange.response.end(`{"results":[\r\n${results.map(({ rows, ...head }) => frameRows(head, rows)).join(',\r\n')}\r\n]}\n`);
}

/** Of several queries one that names one key is a range. */
const oneKey = ({ keys, ...query }) => (keys?.length === 1 ? { ...query, key: keys[0] } : { ...query, ...(keys && { keys }) });

/** A parameter's value: keys are JSON, flags and numbers are read where they are ones, all else is text. */
function typed(query, name) {
  const plain = ALIASES[name] ?? name;
  const text = query.text(name);
  if (VALUES.includes(plain)) return query.json(name);
  if (FLAGS.includes(plain) && /^(true|false)$/.test(text)) return text === 'true';
  if (NUMBERS.includes(plain) && /^-?\d+$/.test(text)) return Number(text);
  return text;
}

/** Checks the options of a query, under one spelling each. */
function options(given) {
  const result = Object.fromEntries(Object.entries(given).map(([name, value]) => [ALIASES[name] ?? name, value]));
  const complain = (reason) => { throw new Refusal(400, 'query_parse_error', reason); };
  for (const name of FLAGS) {
    if (name in result && typeof result[name] !== 'boolean') complain(`Invalid boolean parameter: "${result[name]}"`);
  }
  for (const name of NUMBERS) {
    if (!(name in result)) continue;
    if (!Number.isInteger(result[name])) complain(`Invalid value for integer: "${result[name]}"`);
    if (result[name] < 0) complain(`Invalid value for positive integer: "${result[name]}"`);
  }
  if ('keys' in result && !Array.isArray(result.keys)) complain('`keys` member must be an array.');
  return result;
}

/** Adds the documents to rows that name them: by `_id` (and `_rev`) in the value, or else by the row's own id. */
async function withDocuments(database, answer, { include_docs: wanted, conflicts, attachments }) {
  if (!wanted) return answer;
  const keys = [...new Set(answer.rows.filter((row) => row.id).map(documentOf))];
  const found = await database.pouch.allDocs({ keys, include_docs: true, conflicts, attachments });
  const documents = new Map(found.rows.map((row) => [row.key, row.doc ?? null]));
  const rows = await Promise.all(answer.rows.map(async (row) => {
    if (row.error || row.doc === null) return row;
    const { _rev: rev } = row.value ?? {};
    const doc = rev ? await database.pouch.get(documentOf(row), { rev }).catch(() => null) : documents.get(documentOf(row));
    return { ...row, doc: doc && inOrder(doc) };
  }));
  return { ...answer, rows };
}

const documentOf = ({ id, value }) => (typeof value?._id === 'string' ? value._id : id);
