// CouchDB as its administrator sees it, past couchwarden, and everything that has ever been stored.

import { hidden, marks } from './model.mjs';

const base64 = (text) => Buffer.from(text).toString('base64');

export class Server {
  constructor({ couchdb, db, users }) {
    this.url = couchdb.url;
    this.db = db;
    this.users = users;
    this.authorization = `Basic ${Buffer.from(`${couchdb.user}:${couchdb.password}`).toString('base64')}`;
    /** The roles that each user has now, and all that they have had. */
    this.roles = new Map();
    this.hadRoles = new Map();
    /** Every leaf that was seen in the database, by id, and up to which sequence. */
    this.bodies = new Map();
    this.known = new Set();
    this.since = 0;
    /** Documents that have been deleted, whoever did it. */
    this.ended = new Set();
    /** What each user may have read: marks, by user. */
    this.allowed = new Map(users.map(({ name }) => [name, new Set()]));
    /** The prices that a document has had, and what its `secret.bin` says, by id. */
    this.prices = new Map();
    this.secrets = new Map();
    this.counter = 0;
  }

  mark(kind, id) {
    this.counter += 1;
    return `${kind}-${id}-${this.counter}.`;
  }

  async ask(method, path, body) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: { authorization: this.authorization, 'content-type': 'application/json', accept: 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { status: response.status, json: await response.json() };
  }

  async begin(random) {
    for (const { name } of this.users) await this.setRoles(name, ['app', ...(random.chance(0.5) ? ['reader'] : [])]);
    for (let number = 0; number < 8; number += 1) await this.create(random, `doc${number}`);
  }

  async create(random, id) {
    const names = this.users.map(({ name }) => name);
    const body = {
      _id: id,
      owner: random.pick(names),
      members: names.filter(() => random.chance(0.4)),
      public: random.chance(0.3),
      state: random.pick(['draft', 'final']),
      note: this.mark('note', id),
      salt: this.mark('salt', id),
      price: this.mark('price', id),
    };
    if (random.chance(0.4)) {
      const secret = this.mark('bin', id);
      this.secrets.set(id, secret);
      body._attachments = {
        'photo.png': { content_type: 'image/png', data: base64(this.mark('photo', id)) },
        'secret.bin': { content_type: 'text/plain', data: base64(secret) },
      };
    }
    return this.put(body);
  }

  async put(body) {
    const stored = await this.ask('PUT', `/${this.db}/${encodeURIComponent(body._id)}`, body);
    await this.learn();
    return stored;
  }

  /** What the database holds now; others may come to see it. */
  async learn() {
    const { json } = await this.ask('GET', `/${this.db}/_changes?style=all_docs&since=${encodeURIComponent(this.since)}`);
    for (const { id } of json.results) {
      if (id.startsWith('_design/')) continue;
      for (const leaf of await this.leaves(id)) {
        if (leaf._deleted) this.ended.add(id);
        if (this.known.has(`${id} ${leaf._rev}`)) continue;
        this.known.add(`${id} ${leaf._rev}`);
        this.remember(leaf);
      }
    }
    this.since = json.last_seq;
  }

  /** Notes what a stored body may show to whom, by any roles they have had. */
  remember(body) {
    const known = this.bodies.get(body._id) ?? [];
    known.push(body);
    this.bodies.set(body._id, known);
    if (typeof body.price === 'string') {
      const prices = this.prices.get(body._id) ?? new Set();
      this.prices.set(body._id, prices.add(body.price));
    }
    for (const { name } of this.users) this.allow(name, body);
  }

  allow(name, body) {
    for (const roles of this.hadRoles.get(name) ?? []) {
      const paths = hidden(body, name, roles);
      if (paths === null) continue;
      for (const [member, text] of marks(body)) {
        if (!paths.includes(member)) this.allowed.get(name).add(text);
      }
      const secret = body._attachments?.['secret.bin'] && this.secrets.get(body._id);
      if (secret && !paths.includes('_attachments.secret.bin')) this.allowed.get(name).add(secret);
    }
  }

  async setRoles(name, roles) {
    this.roles.set(name, roles);
    this.hadRoles.set(name, [...(this.hadRoles.get(name) ?? []), roles]);
    for (const bodies of this.bodies.values()) for (const body of bodies) this.allow(name, body);
    const path = `/_users/org.couchdb.user:${encodeURIComponent(name)}`;
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const { json } = await this.ask('GET', path);
      const { status } = await this.ask('PUT', path, { ...json, roles });
      if (status === 201) return;
    }
    throw new Error(`the roles of ${name} can't be set`);
  }

  /** In the end everybody has the widest rights that they have had. */
  async giveBackRoles() {
    for (const { name } of this.users) await this.setRoles(name, ['app', 'reader']);
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }

  async document(id) {
    const { status, json } = await this.ask('GET', `/${this.db}/${encodeURIComponent(id)}`);
    return status === 200 ? json : null;
  }

  async leaves(id) {
    const { status, json } = await this.ask('GET', `/${this.db}/${encodeURIComponent(id)}?open_revs=all&revs=true`);
    return status === 200 ? json.flatMap((row) => (row.ok ? [row.ok] : [])) : [];
  }

  async all() {
    const { json } = await this.ask('GET', `/${this.db}/_all_docs?include_docs=true`);
    return json.rows.map(({ doc }) => doc).filter(({ _id }) => !_id.startsWith('_design/'));
  }

  async ids() {
    const { json } = await this.ask('GET', `/${this.db}/_changes?style=all_docs`);
    return json.results.map(({ id }) => id).filter((id) => !id.startsWith('_design/'));
  }
}
