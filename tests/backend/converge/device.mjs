// A device of a user: a PouchDB in memory that syncs through couchwarden, or a database of its own at CouchDB, which CouchDB's
// replicator keeps in step the same way.

import PouchDB from 'pouchdb';
import memory from 'pouchdb-adapter-memory';

import { hidden, SHELVES } from './model.mjs';
import { relay } from './relay.mjs';
import { history } from './server.mjs';

PouchDB.plugin(memory);

let opened = 0;
/** How long a replication of CouchDB's may take that was disturbed. */
const PATIENCE = 4000;
const MOST_LOGINS = 20;

export class Device {
  constructor(run, user, number, kind) {
    opened += 1;
    Object.assign(this, { run, user, kind, name: `${user.short}-${number}` });
    this.denied = new Set();
    /** The writes made here, in order: {id, rev}. */
    this.writes = [];
    /** The notes written here, and by which request something came that the user was not known to see. */
    this.made = new Set();
    this.suspects = new Map();
    this.isSyncing = false;
    /** Rights that have changed in the middle of a replication which began under them. */
    this.disturbed = new Set();
    /** Something has happened in the middle of its last replication. */
    this.isShaken = false;
    /** couchwarden may not know yet which rights its user has. */
    this.isVague = false;
    /** How many requests are on their way, feeds that wait left out, and all that were made. */
    this.asking = 0;
    this.asked = [];
    const { server } = run;
    if (kind === 'pouch') {
      this.local = new PouchDB(`${server.db}-${this.name}-${opened}`, { adapter: 'memory' });
    } else {
      this.database = `${server.db}_${opened}`;
      this.local = new PouchDB(`${server.url}/${this.database}`, {
        fetch: (url, options) => {
          options.headers.set('authorization', server.authorization);
          return PouchDB.fetch(url, options);
        },
      });
    }
    this.authorization = `Basic ${Buffer.from(`${user.name}:${user.password}`).toString('base64')}`;
    this.remote = new PouchDB(`${server.warden}/${server.db}`, { skip_setup: true, fetch: (url, options) => this.fetch(url, options) });
  }

  get rights() {
    return this.run.server.rights.get(this.user.name);
  }

  /** Each request of the device: something may happen before and after it, and what comes is looked at. */
  async fetch(url, options) {
    options.headers.set('authorization', this.authorization);
    if (options.body) this.log(options.method, url, { text: `${options.body}` });
    const waits = url.includes('feed=longpoll');
    return this.watch(url, options.method ?? 'GET', waits, async () => {
      const response = await PouchDB.fetch(url, options);
      const { status, statusText, headers } = response;
      if (waits) return { response, status, text: '' };
      const bytes = await response.buffer();
      return { response: new response.constructor(bytes, { url, status, statusText, headers }), status, text: bytes.toString() };
    }).then(({ response }) => response);
  }

  async watch(url, method, waits, ask) {
    const { run } = this;
    const endpoint = new URL(url, 'http://host').pathname.split('/')[2] ?? '';
    const what = `${this.name}: ${method} ${url}`;
    run.counts.requests += 1;
    this.asked.push({ url, at: Date.now() });
    if (!waits) this.asking += 1;
    const { kills } = run;
    try {
      await this.meanwhile('before', endpoint);
      const answer = await ask();
      this.log(method, url, answer);
      if (answer.status >= 500) run.find('5xx', `${what}: ${answer.status} ${answer.text.slice(0, 300)}`);
      if (answer.status >= 400 && ![401, 403, 404, 409].includes(answer.status)) run.note(`  ${what}: ${answer.status} ${answer.text.slice(0, 200)}`);
      this.look(answer.text, url);
      await this.meanwhile('after', endpoint);
      return answer;
    } catch (error) {
      // A couchwarden that is killed answers nothing; a client may go away.
      const isExpected = error.isCut || error.name === 'AbortError' || run.kills !== kills || run.killing;
      if (!isExpected) run.find('network', `${what}: ${error.message} ${error.cause?.message ?? ''}`);
      throw error;
    } finally {
      if (!waits) this.asking -= 1;
    }
  }

  /** Every request, where it is wanted. */
  log(method, url, { status = 'asks', text }) {
    if (this.run.isLogged) this.run.note(`    ${this.name}: ${method} ${url.replace(/^.*?:\/\/[^/]*\/[^/]*/, '')} ${status} ${text.slice(0, 3000)}`);
  }

  /** What else happens in the middle of a replication; the network may fail, too, and the answer be lost. */
  async meanwhile(when, endpoint) {
    if ((await this.run.inside?.(this, when, endpoint)) !== 'cut') return;
    throw Object.assign(new Error('the network has failed'), { isCut: true });
  }

  /** Nothing may come that this user could never see. */
  look(text, url) {
    const bytes = [...text.matchAll(/"data":"([\w+/=]+)"/g)].map(([, data]) => Buffer.from(data, 'base64').toString());
    const marks = [text, ...bytes].flatMap((one) => one.match(/(?:price|salt|note|bin)-\w+-\d+\./g) ?? []);
    const allowed = this.run.server.allowed.get(this.user.name);
    for (const mark of marks) if (!allowed.has(mark) && !this.made.has(mark)) this.suspects.set(mark, url);
  }

  /** A note of this device, which it may get back. */
  note(id) {
    const mark = this.run.server.mark('note', id);
    this.made.add(mark);
    return mark;
  }

  has(id) {
    return this.local.get(id).catch(() => null);
  }

  /** An edit of what stands here now. */
  async edit(id, change) {
    const body = await this.has(id);
    if (!body) return;
    body.note = this.note(id);
    change?.(body);
    await this.store(body);
  }

  /** An edit of an earlier revision, or of a losing leaf, as one that was made long ago and comes now. */
  async editOld(id) {
    const { random, server } = this.run;
    const rows = await this.local.get(id, { open_revs: 'all', revs: true }).catch(() => []);
    const leaf = random.pick(rows.flatMap((row) => (row.ok ? [row.ok] : [])));
    if (!leaf) return;
    const revs = history(leaf);
    const from = random.below(Math.min(revs.length, 3));
    const body = await this.local.get(id, { rev: revs[from], attachments: true }).catch(() => null);
    if (!body || body._deleted) return;
    body.note = this.note(id);
    const parents = revs.slice(from);
    body._rev = `${Number(parents[0].split('-')[0]) + 1}-${server.hash()}`;
    const ids = [body._rev, ...parents].map((rev) => rev.split('-')[1]);
    body._revisions = { start: Number(body._rev.split('-')[0]), ids };
    await this.local.bulkDocs([body], { new_edits: false });
    this.writes.push({ id, rev: body._rev });
  }

  async attach(id, name, bytes) {
    await this.edit(id, (body) => {
      body._attachments = { ...body._attachments, [name]: { content_type: 'image/png', data: bytes.toString('base64') } };
    });
  }

  async create(id) {
    const { random, server } = this.run;
    const body = { _id: id, owner: this.user.name, members: server.owners.filter(() => random.chance(0.4)), state: random.pick(['draft', 'final']) };
    const old = await this.local.get(id, { open_revs: 'all' }).catch(() => []);
    if (Array.isArray(old) && old.some((row) => row.ok && !row.ok._deleted)) return;
    body.note = this.note(id);
    server.gives(body);
    await this.store(body);
  }

  async remove(id) {
    const body = await this.has(id);
    if (!body) return;
    const { rev } = await this.local.remove(body);
    this.writes.push({ id, rev });
  }

  /** PouchDB itself refuses some names. */
  async store(body) {
    const { rev } = await this.local.put(body).catch(() => ({}));
    if (rev) this.writes.push({ id: body._id, rev });
  }

  /** An app notes its settings, which are its user's own on each of their devices. */
  async settle() {
    const { settings, server } = this.run;
    const last = settings.get(this.user.name) ?? [undefined];
    const text = server.mark('settings', this.user.short);
    const body = await this.remote.get('_local/settings').catch(() => ({ _id: '_local/settings' }));
    // One whose answer is lost may have been stored.
    settings.set(this.user.name, [...last, text]);
    const stored = await this.remote.put({ ...body, text }).catch(() => null);
    if (stored) settings.set(this.user.name, [text]);
  }

  async ids() {
    const { rows } = await this.local.allDocs();
    return rows.map(({ id }) => id).filter((id) => !id.startsWith('_design/'));
  }

  /** Pushes and pulls once; how many documents have moved. */
  async sync() {
    const { server, undressed } = this.run;
    const [before, changes] = [this.lacksRoles, server.had.get(this.user.name).length];
    const fresh = this.writes.map(({ id, rev }) => `${id} ${rev}`).filter((leaf) => !server.bodies.has(leaf));
    this.isSyncing = true;
    try {
      return await this.run.timed(this.kind, this.kind === 'pouch' ? this.syncPouch() : this.syncReplicator());
    } finally {
      this.isSyncing = false;
      await server.learn();
      // Roles that are gone say nothing of what they hid.
      const changed = server.had.get(this.user.name).length > changes;
      if (before || changed || this.lacksRoles) for (const leaf of fresh) undressed.add(leaf);
    }
  }

  async syncPouch() {
    const options = { batch_size: 1 + this.run.random.below(6) };
    let moved = 0;
    for (const way of ['push', 'pull']) {
      const [from, to] = way === 'push' ? [this.local, this.remote] : [this.remote, this.local];
      const replication = PouchDB.replicate(from, to, options);
      replication.on('denied', (denied) => this.denied.add(denied.doc?.id ?? denied.doc?._id ?? denied.id));
      try {
        const result = await replication;
        moved += result.docs_written;
      } catch {
        // The network has failed, or a request was refused: `fetch` has seen to the rest.
        if (this.may(way)) moved += 1;
      }
    }
    return moved;
  }

  async syncReplicator() {
    const { run } = this;
    const { server } = run;
    if (!this.relay) {
      await server.ask('PUT', `/${this.database}`);
      this.relay = await relay(server.warden, (url, method, ask) =>
        this.watch(url, method, false, async () => {
          const answer = await ask();
          return { ...answer, text: answer.content.toString() };
        }),
      );
    }
    const here = { url: `${server.url}/${this.database}`, headers: { authorization: server.authorization } };
    const there = { url: `${this.relay.url}/${server.db}`, headers: { authorization: this.authorization } };
    let moved = 0;
    this.isShaken = false;
    for (const [source, target, way] of [[here, there, 'push'], [there, here, 'pull']]) {
      // Without any right its requests are `403`, and CouchDB's replicator waits and asks again.
      if (!this.may(way)) continue;
      const { status, json } = await this.replicates({ source, target });
      if (status >= 400) {
        moved += 1;
        if (!this.isShaken) run.find('replicator', `${this.name}: ${way}: ${status} ${JSON.stringify(json).slice(0, 600)}`);
        continue;
      }
      const last = json.history?.[0] ?? {};
      moved += (json.no_changes ? 0 : last.docs_written) || 0;
      if (last.doc_write_failures) this.denied.add('*');
    }
    return moved;
  }

  /** Soon after a network has failed CouchDB's replicator may log in by a connection that has just ended, to CouchDB itself
   * too, and gives up for that: whoever starts it tries again. */
  async replicates(job) {
    for (let tries = MOST_LOGINS; ; tries -= 1) {
      const answer = await this.replicatesOnce(job);
      const failed = /session_request_failed.*(sel_conn_closed|connection_clos|req_timedout)/s.test(answer.json.reason);
      if (!failed || tries === 0) return answer;
    }
  }

  /** After a failure CouchDB tries again in half a minute at the soonest: where one was made on purpose, nobody waits for that. */
  async replicatesOnce(job) {
    const { server } = this.run;
    let ends;
    const cancelled = new Promise((resolve) => {
      ends = setInterval(async () => {
        if (!this.isShaken) return;
        // Who waits for a replication that has failed is not told that it was cancelled.
        await server.ask('POST', '/_replicate', { ...job, cancel: true }).catch(() => {});
        setTimeout(() => resolve({ status: 500, json: { error: 'cancelled' } }), 500);
      }, PATIENCE);
    });
    try {
      return await Promise.race([server.ask('POST', '/_replicate', job), cancelled]);
    } finally {
      clearInterval(ends);
    }
  }

  /** The rights of its user change, or may do so unnoticed. */
  disturb() {
    this.disturbed.add(JSON.stringify(this.rights));
  }

  get isDisturbed() {
    return this.disturbed.has(JSON.stringify(this.rights));
  }

  /** Whether its user may have fewer roles than they had once. */
  get lacksRoles() {
    const { roles } = this.run.server.widest(this.user);
    return this.isVague || roles?.some((role) => !this.rights.roles.includes(role));
  }

  /** Whether some rule of the database is about its user; else whole requests are refused. */
  may(way) {
    const { roles, team, policy } = this.rights;
    return team !== null || roles.includes('app') || (way === 'pull' && (roles.length > 0 || (policy & SHELVES) !== 0));
  }

  isDenied(id) {
    return this.denied.has(id) || this.denied.has('*');
  }

  sees(body) {
    return hidden(body, this.user.name, this.rights);
  }

  async close() {
    this.relay?.close();
    if (this.kind === 'pouch') await this.local.destroy();
    else await this.run.server.ask('DELETE', `/${this.database}`);
  }
}
