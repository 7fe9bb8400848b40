// A device of a user: a PouchDB in memory that syncs through couchwarden, or a database of its own at CouchDB, which CouchDB's
// replicator keeps in step the same way.

import PouchDB from 'pouchdb';
import memory from 'pouchdb-adapter-memory';

import { hidden } from './model.mjs';

PouchDB.plugin(memory);

let opened = 0;

export class Device {
  constructor(run, user, number, kind) {
    opened += 1;
    this.run = run;
    this.user = user;
    this.kind = kind;
    this.name = `${user.name}-${number}`;
    this.denied = [];
    /** The writes made here, in order: {id, rev, note, deleted}. */
    this.writes = [];
    /** The notes written here, and by which request something came that the user was not known to see. */
    this.made = new Set();
    this.suspects = new Map();
    this.isSyncing = false;
    /** The rights of its user have changed in the middle of a replication. */
    this.isDisturbed = false;
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
    this.remoteUrl = `${user.warden}/${server.db}`;
    this.authorization = `Basic ${Buffer.from(`${user.name}:${user.password}`).toString('base64')}`;
    this.remote = new PouchDB(this.remoteUrl, { skip_setup: true, fetch: (url, options) => this.fetch(url, options) });
  }

  /** Each request of the device: something may happen before and after it, and what comes is looked at. */
  async fetch(url, options) {
    const { run } = this;
    run.counts.requests += 1;
    options.headers.set('authorization', this.authorization);
    const endpoint = new URL(url).pathname.split('/')[2] ?? '';
    await this.meanwhile(`before ${endpoint} of ${this.name}`);
    const response = await this.ask(url, options);
    await this.meanwhile(`after ${endpoint} of ${this.name}`);
    return response;
  }

  /** An answer that comes whole, and none that says that something is broken. */
  async ask(url, options) {
    const what = `${this.name}: ${options.method ?? 'GET'} ${url}`;
    try {
      const response = await PouchDB.fetch(url, options);
      const text = url.includes('feed=longpoll') ? '' : await response.clone().text();
      if (response.status >= 500) this.run.find('5xx', `${what}: ${response.status} ${text.slice(0, 300)}`);
      this.look(text, url);
      return response;
    } catch (error) {
      if (!options.signal?.aborted) this.run.find('network', `${what}: ${error.message} ${error.cause?.message ?? ''}`);
      throw error;
    }
  }

  /** What else happens in the middle of a replication; the network may fail, too, and the answer be lost. */
  async meanwhile(place) {
    if ((await this.run.inside?.(place)) !== 'cut') return;
    throw new Error('the network has failed');
  }

  /** Nothing may come that this user could never see. */
  look(text, url) {
    const { server } = this.run;
    const bytes = [...text.matchAll(/"data":"([\w+/=]+)"/g)].map(([, data]) => Buffer.from(data, 'base64').toString());
    const marks = [text, ...bytes].flatMap((one) => one.match(/(?:price|salt|note|bin)-\w+-\d+\./g) ?? []);
    for (const mark of new Set(marks)) {
      if (!server.allowed.get(this.user.name).has(mark) && !this.made.has(mark)) this.suspects.set(mark, url);
    }
  }

  /** A note of this device, which it may get back. */
  note(id) {
    const mark = this.run.server.mark('note', id);
    this.made.add(mark);
    return mark;
  }

  async edit(id) {
    const body = await this.local.get(id).catch(() => null);
    if (!body) return false;
    body.note = this.note(id);
    return this.store(body);
  }

  async attach(id) {
    const body = await this.local.get(id).catch(() => null);
    if (!body) return false;
    body._attachments = {
      ...body._attachments,
      'photo.png': { content_type: 'image/png', data: Buffer.from(this.run.server.mark('photo', id)).toString('base64') },
    };
    body.note = this.note(id);
    return this.store(body);
  }

  async create(id) {
    const { random, server } = this.run;
    const names = server.users.map(({ name }) => name);
    const body = { _id: id, owner: this.user.name, members: names.filter(() => random.chance(0.4)), state: 'final' };
    body.note = this.note(id);
    return this.store(body);
  }

  async remove(id) {
    const body = await this.local.get(id).catch(() => null);
    if (!body) return false;
    const { rev } = await this.local.remove(body);
    this.writes.push({ id, rev, deleted: true });
    return true;
  }

  async store(body) {
    const { rev } = await this.local.put(body);
    this.writes.push({ id: body._id, rev, note: body.note, deleted: false });
    return true;
  }

  async ids() {
    const { rows } = await this.local.allDocs();
    return rows.map(({ id }) => id).filter((id) => !id.startsWith('_design/'));
  }

  /** Pushes and pulls once; how many documents have moved. */
  async sync() {
    this.isSyncing = true;
    try {
      return await (this.kind === 'pouch' ? this.syncPouch() : this.syncReplicator());
    } finally {
      this.isSyncing = false;
    }
  }

  async syncPouch() {
    const options = { batch_size: 1 + this.run.random.below(6) };
    let moved = 0;
    for (const way of ['push', 'pull']) {
      const [from, to] = way === 'push' ? [this.local, this.remote] : [this.remote, this.local];
      const replication = PouchDB.replicate(from, to, options);
      replication.on('denied', (denied) => this.denied.push({ id: denied.doc?.id ?? denied.doc?._id ?? denied.id, way }));
      try {
        const result = await replication;
        moved += result.docs_written;
      } catch {
        // The network has failed, or a request was refused: `fetch` has seen to the rest.
        moved += 1;
      }
    }
    await this.run.server.learn();
    return moved;
  }

  async syncReplicator() {
    const { server } = this.run;
    // Without any right its requests are `403`, and CouchDB's replicator waits and asks again.
    if (server.roles.get(this.user.name).length === 0) return 0;
    if (!this.made_database) {
      await server.ask('PUT', `/${this.database}`);
      this.made_database = true;
    }
    const here = { url: `${server.url}/${this.database}`, headers: { authorization: server.authorization } };
    const there = { url: this.remoteUrl, headers: { authorization: this.authorization } };
    let moved = 0;
    for (const [source, target, way] of [[here, there, 'push'], [there, here, 'pull']]) {
      const { status, json } = await server.ask('POST', '/_replicate', { source, target });
      const last = json.history?.[0] ?? {};
      moved += (json.no_changes ? 0 : last.docs_written) || 0;
      if (status >= 400) this.run.find('replicator', `${this.name}: ${way}: ${status} ${JSON.stringify(json)}`);
      if (last.doc_write_failures) this.denied.push({ id: '*', way });
    }
    await this.run.server.learn();
    return moved;
  }

  sees(body) {
    return hidden(body, this.user.name, this.run.server.roles.get(this.user.name));
  }

  async close() {
    if (this.kind === 'pouch') await this.local.destroy();
    else if (this.made_database) await this.run.server.ask('DELETE', `/${this.database}`);
  }
}
