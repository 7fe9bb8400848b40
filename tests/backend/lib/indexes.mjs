// Sorted rows made from documents and kept up to date by sequence: the views, and the list of all documents.
// PouchDB has views of its own, but they collate strings otherwise than CouchDB, know no `startkey_docid`, count no offset,
// and take a new JavaScript context for each document.

import { collate, compareIds } from './collation.mjs';
import { Refusal } from './exchange.mjs';
import { reducer } from './reduce.mjs';
import { Sandbox } from './sandbox.mjs';

const BATCH = 1000;
const FEW = 50;

class Index {
  #updating = Promise.resolve();

  constructor(pouch, compareKeys) {
    this.pouch = pouch;
    this.compareKeys = compareKeys;
    this.rows = [];
    this.sequence = 0;
  }

  /** Takes in what was written since the last time. */
  update() {
    this.#updating = this.#updating.catch(() => {}).then(() => this.#takeChanges());
    return this.#updating;
  }

  async #takeChanges() {
    for (;;) {
      const { results } = await this.pouch.changes({ since: this.sequence, limit: BATCH, include_docs: this.needsBodies });
      if (results.length === 0) return;
      this.#replaceRows(new Set(results.map(({ id }) => id)), results.flatMap((change) => this.rowsOf(change)));
      this.sequence = results.at(-1).seq;
    }
  }

  #replaceRows(ids, added) {
    if (this.rows.length > 0) this.rows = this.rows.filter(({ id }) => !ids.has(id));
    if (added.length > FEW) this.rows = this.rows.concat(added).sort((left, right) => this.#compareRows(left, right));
    else for (const row of added) this.rows.splice(this.#firstWhere((other) => this.#compareRows(other, row) > 0), 0, row);
  }

  #compareRows(left, right) {
    return this.compareKeys(left.key, right.key) || compareIds(left.id, right.id);
  }

  /** The position of the first row for which `test` holds; once it holds it holds for all that follow. */
  #firstWhere(test) {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (test(this.rows[middle])) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The rows in a range, in the order asked for, and how many rows stand before them. */
  range({ startkey, endkey, startkey_docid: startId, endkey_docid: endId, inclusive_end: inclusive = true, descending = false }) {
    const start = { key: startkey, id: startkey === undefined ? undefined : startId, inclusive: true };
    const end = { key: endkey, id: endkey === undefined ? undefined : endId, inclusive };
    const [lower, upper] = descending ? [end, start] : [start, end];
    const from = lower.key === undefined ? 0 : this.#firstWhere((row) => this.#beyond(row, lower, !lower.inclusive));
    const to = upper.key === undefined ? this.rows.length : this.#firstWhere((row) => this.#beyond(row, upper, upper.inclusive));
    const rows = this.rows.slice(from, Math.max(from, to));
    return descending ? { before: this.rows.length - Math.max(from, to), rows: rows.reverse() } : { before: from, rows };
  }

  /** Whether a row stands after a bound, or (unless `strictly`) at it. */
  #beyond(row, bound, strictly) {
    const order = this.compareKeys(row.key, bound.key) || (bound.id === undefined ? 0 : compareIds(row.id, bound.id));
    return strictly ? order > 0 : order >= 0;
  }

  /** The rows that a query selects before `skip` and `limit`. */
  select(options) {
    if (options.keys) {
      const found = options.keys.map((key) => this.rowsFor(key, options));
      return { before: found[0]?.before ?? 0, rows: found.flatMap(({ rows }) => rows) };
    }
    if (options.key !== undefined) return this.rowsFor(options.key, options);
    return this.range(options);
  }

  rowsFor(key, { descending, startkey_docid, endkey_docid }) {
    return this.range({ startkey: key, endkey: key, descending, startkey_docid, endkey_docid });
  }

  query(options) {
    const { before = 0, rows } = this.select(options);
    const skip = options.skip ?? 0;
    return {
      total_rows: this.rows.length,
      offset: before === null ? null : Math.min(before + skip, this.rows.length),
      rows: slice(rows, options).map((row) => ({ ...row })),
    };
  }
}

/** All documents by id, design documents included, with their winning revision; deleted ones are remembered. */
export class DocumentIndex extends Index {
  needsBodies = false;
  known = new Map();

  constructor(pouch) {
    super(pouch, compareIds);
  }

  rowsOf({ id, seq, deleted = false, changes: [{ rev }] }) {
    this.known.set(id, { seq, rev, deleted });
    return deleted ? [] : [{ id, key: id, value: { rev } }];
  }

  /** `_all_docs` answers each key asked for, in the order asked for, even where there is no such document. */
  rowsFor(key, options) {
    const found = this.known.get(key);
    if (options.keys && !found) return { rows: [{ key, error: 'not_found' }] };
    if (options.keys && found.deleted) return { rows: [{ id: key, key, value: { rev: found.rev, deleted: true }, ...(options.include_docs && { doc: null }) }] };
    return super.rowsFor(key, options);
  }

  select(options) {
    if (!options.keys) return options.key === undefined || typeof options.key === 'string' ? super.select(options) : { rows: [] };
    const keys = options.descending ? options.keys.toReversed() : options.keys;
    return { before: null, rows: super.select({ ...options, keys }).rows };
  }

  deletedCount() {
    return this.known.size - this.rows.length;
  }

  changesAfter(sequence) {
    return [...this.known.values()].filter(({ seq }) => seq > sequence).length;
  }
}

export class ViewIndex extends Index {
  needsBodies = true;
  #map;
  #withDesigns;

  constructor(pouch, { map, reduce }, { collation, include_design: withDesigns = false } = {}, modules = {}) {
    super(pouch, collation === 'raw' ? compareIds : collate);
    const sandbox = new Sandbox(modules);
    this.#map = sandbox.compileMap(map);
    this.#withDesigns = withDesigns;
    this.reduce = reduce && reducer(reduce, sandbox);
  }

  rowsOf({ id, deleted, doc }) {
    if (deleted || (id.startsWith('_design/') && !this.#withDesigns)) return [];
    return this.#map(doc).map(([key, value]) => ({ id, key, value }));
  }

  query(options) {
    this.#check(options);
    return this.#reduces(options) ? this.#queryReduced(options) : super.query(options);
  }

  #reduces(options) {
    return Boolean(this.reduce) && options.reduce !== false;
  }

  #check({ keys, group = false, group_level: level = 0, startkey, endkey, descending, ...options }) {
    const complain = (reason) => { throw new Refusal(400, 'query_parse_error', reason); };
    const reduces = this.#reduces(options);
    if (options.reduce === true && !this.reduce) complain('Reduce is invalid for map-only views.');
    if (!reduces && (group || level > 0)) complain('Invalid use of grouping on a map view.');
    if (reduces && options.include_docs) complain('`include_docs` is invalid for reduce');
    if (reduces && keys && keys.length !== 1 && !group) complain('Multi-key fetches for reduce views must use `group=true`');
    if (startkey === undefined || endkey === undefined) return;
    const order = this.compareKeys(startkey, endkey);
    if (descending ? order < 0 : order > 0) {
      complain('No rows can match your key range, reverse your start_key and end_key or set descending=true');
    }
  }

  #groupsOf(rows, options) {
    const groups = [];
    for (const row of rows) {
      const key = groupKey(row.key, options);
      const last = groups.at(-1);
      if (last && this.compareKeys(last.key, key) === 0) last.rows.push(row);
      else groups.push({ key, rows: [row] });
    }
    return groups;
  }

  #queryReduced(options) {
    const { keys } = options;
    // Keys that are named are grouped one by one, though they be alike.
    const runs = keys ? keys.map((key) => this.select({ ...options, keys: [key] }).rows) : [this.select(options).rows];
    const groups = runs.flatMap((rows) => this.#groupsOf(rows, options));
    return { rows: slice(groups, options).map(({ key, rows }) => ({ key, value: this.reduce(rows) })) };
  }
}

function groupKey(key, { group = false, group_level: level }) {
  if (level === undefined) return group ? key : null;
  if (level === 0) return null;
  return Array.isArray(key) ? key.slice(0, level) : key;
}

function slice(rows, { skip = 0, limit = Infinity }) {
  return rows.slice(skip, skip + limit);
}
