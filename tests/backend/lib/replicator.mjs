// The replicator: a job for each document of `_replicator`, and what `_scheduler` tells about it.
//
// Both ends are reached by HTTP, as CouchDB's own replicator reaches them, and the certificate of an `https` end is not
// verified, which is CouchDB's default. Jobs that fail are tried again after a second.

import { Agent } from 'node:https';

import { requireServerAdmin } from './access.mjs';
import { Refusal } from './exchange.mjs';
import { PouchDB } from './store.mjs';

const AGAIN = 1000;
const UNVERIFIED = new Agent({ rejectUnauthorized: false });

class Job {
  state = 'running';
  error = null;
  failures = 0;
  written = 0;
  #running;
  #again;
  #ended = false;

  constructor(document) {
    this.document = document;
    this.wanted = essence(document);
    this.#start();
  }

  end() {
    this.#ended = true;
    clearTimeout(this.#again);
    this.#running.cancel();
  }

  info() {
    return { docs_written: this.written, doc_write_failures: this.failures, changes_pending: this.pending ?? null, error: this.error };
  }

  #start() {
    const { source, target, selector, continuous = false } = this.document;
    this.#running = PouchDB.replicate(side(source), side(target), { live: continuous, retry: false, ...(selector && { selector }) });
    this.#running.on('change', ({ docs }) => { this.written += docs.length; this.pending = null; });
    this.#running.on('denied', () => { this.failures += 1; });
    this.#running.on('paused', () => { this.pending = 0; });
    this.#running.on('active', () => { this.state = 'running'; this.error = null; });
    this.#running.then(() => { if (!this.#ended) this.state = 'completed'; }, (error) => this.#fail(error));
  }

  #fail(error) {
    if (this.#ended) return;
    this.state = 'crashing';
    this.error = String(error.reason ?? error.message ?? error);
    this.#again = setTimeout(() => this.#start(), AGAIN);
  }
}

/** What a job depends on: a change of anything else in its document does not disturb it. */
function essence({ source, target, selector, continuous }) {
  return JSON.stringify([source, target, selector, continuous]);
}

function side({ url, headers = {}, auth }) {
  const { username, password } = auth?.basic ?? {};
  const login = auth?.basic && { Authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
  const all = Object.entries({ ...headers, ...login });
  const agent = url.startsWith('https:') ? { agent: UNVERIFIED } : {};
  return new PouchDB(url, {
    skip_setup: true,
    fetch: (to, options) => {
      for (const [name, value] of all) options.headers.set(name, value);
      return PouchDB.fetch(to, { ...options, ...agent });
    },
  });
}

export class Replicator {
  #jobs = new Map();

  constructor(database) {
    this.database = database;
    this.#follow();
  }

  async #follow() {
    for (;;) {
      const { version } = this.database;
      const { rows } = await this.database.pouch.allDocs({ include_docs: true });
      const wanted = new Map(rows.filter(({ id }) => !id.startsWith('_design/')).map(({ id, doc }) => [id, doc]));
      for (const [id, job] of this.#jobs) {
        if (wanted.has(id) && essence(wanted.get(id)) === job.wanted) continue;
        job.end();
        this.#jobs.delete(id);
      }
      for (const [id, document] of wanted) {
        if (!this.#jobs.has(id)) this.#jobs.set(id, new Job(document));
      }
      await this.database.writtenAfter(version);
    }
  }

  /** `/_scheduler/docs[/_replicator[/ID]]` */
  scheduler(exchange) {
    exchange.allow('GET', 'HEAD');
    requireServerAdmin(exchange.user);
    const [, what, , id] = exchange.segments;
    if (what !== 'docs') throw new Refusal(404, 'not_found', 'missing');
    if (id === undefined) return exchange.answer(200, { total_rows: this.#jobs.size, offset: 0, docs: [...this.#jobs.keys()].map((each) => this.#told(each)) });
    if (!this.#jobs.has(id)) throw new Refusal(404, 'not_found', 'missing');
    return exchange.answer(200, this.#told(id));
  }

  #told(id) {
    const { state, error } = this.#jobs.get(id);
    return { database: '_replicator', doc_id: id, state, error_count: error ? 1 : 0, info: this.#jobs.get(id).info() };
  }
}
