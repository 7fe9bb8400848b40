// `_changes`: normal, longpoll, continuous and eventsource, with CouchDB's filters.

import { Refusal } from './exchange.mjs';
import { matches, normalize } from './mango.mjs';
import { readRevision } from './read.mjs';
import { Sandbox } from './sandbox.mjs';

const PAGE = 500;
const PATIENCE = 60_000;
const FEEDS = ['normal', 'longpoll', 'continuous', 'eventsource'];

/** Sequences are opaque to clients; ours are a number with some noise, like CouchDB's. */
export const sequence = (number) => `${number}-g1AAAAtest`;

export async function changes(exchange, database) {
  exchange.allow('GET', 'HEAD', 'POST');
  const body = exchange.reads ? {} : await exchange.json() ?? {};
  const options = await readChangesOptions(exchange, database, body);
  const feed = new Feed(exchange, database, options);
  await feed.run();
}

async function readChangesOptions(exchange, database, body) {
  const { query } = exchange;
  const feed = query.text('feed') ?? 'normal';
  if (!FEEDS.includes(feed)) throw new Refusal(400, 'bad_request', 'Supported `feed` types: normal, continuous, live, longpoll, eventsource');
  const include = (name) => query.flag(name) || body[name] === true;
  return {
    feed,
    accepts: await filterFor(exchange, database, body),
    since: await startOf(query.text('since') ?? exchange.header('last-event-id') ?? body.since, database),
    limit: Number(query.text('limit') ?? Infinity),
    descending: query.flag('descending'),
    allLeaves: query.text('style') === 'all_docs',
    includeDocs: include('include_docs'),
    conflicts: include('conflicts'),
    bySelector: query.text('filter') === '_selector',
    attachments: include('attachments'),
    heartbeat: query.text('heartbeat') === 'true' ? PATIENCE : Number(query.text('heartbeat') ?? 0),
    timeout: Math.min(PATIENCE, Number(query.text('timeout') ?? PATIENCE)),
  };
}

async function startOf(since = '0', database) {
  if (since === 'now') return lastSequence(database);
  const number = Number.parseInt(since, 10);
  if (Number.isNaN(number)) throw new Refusal(400, 'bad_request', 'Malformed sequence supplied in \'since\' parameter.');
  return number;
}

export async function lastSequence(database) {
  return (await database.pouch.info()).update_seq;
}

/** The filter a request names, as a function of a change's id and of one revision's document (a promise of it). */
async function filterFor(exchange, database, body) {
  const { query } = exchange;
  const name = query.text('filter') ?? (body.doc_ids ? '_doc_ids' : undefined);
  if (name === undefined) return async () => true;
  if (name === '_doc_ids') {
    const listed = body.doc_ids ?? query.json('doc_ids');
    if (!Array.isArray(listed)) throw new Refusal(400, 'bad_request', '`doc_ids` filter parameter is not a list of doc ids.');
    const ids = new Set(listed);
    return async (id) => ids.has(id);
  }
  if (name === '_design') return async (id) => id.startsWith('_design/');
  if (name === '_selector') {
    if (!body.selector) throw new Refusal(400, 'bad_request', 'Selector must be specified in POST payload');
    const normal = normalizeForChanges(body.selector);
    return async (_, load) => matches(normal, await load());
  }
  if (name === '_view') return viewFilter(database, query.text('view'));
  if (!/^[^/]+\/[^/]+$/.test(name)) throw new Refusal(400, 'bad_request', '`filter` must be of the form `designname/filtername`');
  return designFilter(exchange, database, name);
}

/** Here every complaint about a selector is a bad request. */
function normalizeForChanges(selector) {
  try {
    return normalize(selector);
  } catch ({ reason }) {
    throw new Refusal(400, 'bad_request', reason);
  }
}

async function viewFilter(database, name) {
  if (!name) throw new Refusal(400, 'bad_request', '`view` filter parameter is not provided.');
  const [design, view] = name.split('/');
  const source = (await database.design(design)).views?.[view]?.map;
  if (!source) throw new Refusal(404, 'not_found', 'missing json key: views');
  const map = new Sandbox().compileMap(source);
  return async (_, load) => map(await load()).length > 0;
}

async function designFilter({ query, request, user }, database, name) {
  const [design, filter] = name.split('/');
  const source = (await database.design(design)).filters?.[filter];
  if (!source) throw new Refusal(404, 'not_found', 'missing json key: filters');
  const run = new Sandbox().compile(source);
  const seen = { query: Object.fromEntries(query.values), method: request.method, headers: request.headers, userCtx: { db: database.name, name: user.name, roles: user.roles } };
  return async (_, load) => Boolean(run(await load(), seen));
}

class Feed {
  #written = 0;
  #ending = new AbortController();

  constructor(exchange, database, options) {
    Object.assign(this, { exchange, response: exchange.response, database, options, last: options.since });
    this.response.on('close', () => this.#ending.abort());
  }

  async run() {
    this.#begin();
    const heartbeat = this.#startHeartbeat();
    try {
      await this.#follow();
    } catch (error) {
      if (error.name !== 'AbortError' && !this.database.ended) throw error;
    } finally {
      clearInterval(heartbeat);
    }
    if (!this.response.destroyed) await this.#end();
  }

  get #waits() {
    return this.options.feed !== 'normal';
  }

  #begin() {
    const type = this.options.feed === 'eventsource' ? { 'Content-Type': 'text/event-stream' } : {};
    this.exchange.begin(200, type);
    if (this.#framed) this.response.write('{"results":[\n');
    else this.response.flushHeaders();
  }

  get #framed() {
    return this.options.feed === 'normal' || this.options.feed === 'longpoll';
  }

  #startHeartbeat() {
    const { heartbeat, feed } = this.options;
    if (!this.#waits || !(heartbeat > 0)) return undefined;
    return setInterval(() => this.response.write(feed === 'eventsource' ? 'event: heartbeat\ndata: \n\n' : '\n'), heartbeat);
  }

  /**
   * Waits for something written, but not after the client is gone or nothing came in time (a feed with a heartbeat has
   * time for ever). The timer is our own: Node 20 can collect an `AbortSignal.timeout` inside `AbortSignal.any` as garbage.
   */
  async #wait(version) {
    const { heartbeat, timeout } = this.options;
    const timer = heartbeat > 0 ? undefined : setTimeout(() => this.#ending.abort(), timeout);
    try {
      await this.database.writtenAfter(version, this.#ending.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Writes what there is, then waits for more where the feed is one that waits. */
  async #follow() {
    for (;;) {
      const { version } = this.database;
      if (await this.#writePages()) return;
      if (!this.#waits || this.database.ended || (this.options.feed === 'longpoll' && this.#written > 0)) return;
      await this.#wait(version);
    }
  }

  /** Writes the changes after `last`, page by page; answers whether the limit is reached. */
  async #writePages() {
    const { descending, limit } = this.options;
    if (limit === 0) return true;
    for (;;) {
      const page = await this.database.pouch.changes(descending ? { descending } : { since: this.last, limit: PAGE });
      for (const change of page.results) {
        if (this.#ending.signal.aborted) return true;
        this.last = change.seq;
        const row = await this.#rowOf(change);
        if (row) this.#writeRow(row);
        if (this.#written >= limit) return true;
      }
      if (page.results.length < PAGE || descending) return descending;
    }
  }

  /** The change as CouchDB shows it, or nothing if the filter takes none of its revisions. */
  async #rowOf({ id, seq, changes: [{ rev: winner }], deleted }) {
    const { allLeaves, accepts } = this.options;
    const revs = allLeaves ? (await this.database.leaves(id)).map(({ rev }) => rev) : [winner];
    const accepted = [];
    for (const rev of revs) {
      if (await accepts(id, () => this.database.pouch.get(id, { rev }))) accepted.push({ rev });
    }
    if (accepted.length === 0) return undefined;
    return {
      seq: sequence(seq),
      id,
      changes: accepted,
      ...(deleted && { deleted }),
      ...(this.options.includeDocs && { doc: this.#withConflicts(await readRevision(this.database, id, winner, this.options)) }),
    };
  }

  /** By a selector and of all leaves CouchDB tells of no conflicts, too. */
  #withConflicts(document) {
    const { allLeaves, bySelector, conflicts } = this.options;
    return document && allLeaves && bySelector && conflicts ? { _conflicts: [], ...document } : document;
  }

  #writeRow(row) {
    const text = JSON.stringify(row);
    if (this.options.feed === 'continuous') this.response.write(`${text}\n`);
    else if (this.options.feed === 'eventsource') this.response.write(`data: ${text}\nid: ${JSON.stringify(row.seq)}\n\n`);
    else this.response.write(this.#written > 0 ? `,\n${text}` : text);
    this.#written += 1;
  }

  async #end() {
    const { feed } = this.options;
    const tail = { last_seq: sequence(this.last), pending: await this.#pending() };
    if (this.#framed) this.response.write(`\n],\n${JSON.stringify(tail).slice(1)}\n\n`);
    if (feed === 'continuous') this.response.write(`${JSON.stringify(tail)}\n\n`);
    this.response.end();
  }

  async #pending() {
    if (this.database.ended) return 0;
    await this.database.documents.update();
    if (this.options.descending) return this.database.documents.known.size - this.#written;
    return this.database.documents.changesAfter(this.last);
  }
}
