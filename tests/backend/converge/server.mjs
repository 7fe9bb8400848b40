// CouchDB as its administrator sees it, past couchwarden, and everything that has ever been stored.

import { DECIDING, hidden, marks, STEADY } from './model.mjs';

const base64 = (text) => Buffer.from(text).toString('base64');
const KNOWN_AFTER = 120_000;

export class Server {
  constructor({ couchdb, db, marks: marksDb, nodes, users, warden, policy }) {
    Object.assign(this, { url: couchdb.url, db, marks: marksDb, nodes, users, warden, policy });
    this.authorization = `Basic ${base64(`${couchdb.user}:${couchdb.password}`)}`;
    /** The rights that each user has now, and all that they have had. */
    this.rights = new Map(users.map(({ name, kind }) => [name, { roles: kind === 'account' ? ['app'] : [], team: null, policy }]));
    this.had = new Map(users.map(({ name }) => [name, []]));
    /** Every leaf that was ever seen in the database, by id and revision, and up to which sequence. */
    this.bodies = new Map();
    this.since = 0;
    /** What a tombstone ended, by id and revision. */
    this.ended = new Map();
    /** The ids of documents with an end that says nothing, before which nothing is there any more. */
    this.forgotten = new Set();
    /** What each user may have read: marks, by user. */
    this.allowed = new Map(users.map(({ name }) => [name, new Set()]));
    /** The values that somebody has given to a member of a document, as JSON, by id and member. */
    this.values = new Map();
    /** What a `secret.bin` of a document has ever said, by id. */
    this.secrets = new Map();
    this.counter = 0;
  }

  mark(kind, id) {
    this.counter += 1;
    return `${kind}-${id.replace(/\W/g, '')}-${this.counter}.`;
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
    for (const user of this.users) await this.setRights(user.name, this.widest(user));
    for (let number = 0; number < 5; number += 1) await this.create(random, `doc${number}`);
  }

  get owners() {
    return this.users.filter(({ kind }) => kind === 'account').map(({ name }) => name);
  }

  widest({ kind }) {
    return kind === 'account' ? { roles: ['app', 'reader'] } : { team: 'red' };
  }

  async create(random, id) {
    const body = {
      _id: id,
      owner: random.pick(this.owners),
      members: this.owners.filter(() => random.chance(0.4)),
      public: random.chance(0.4),
      team: random.pick(['red', 'red', 'blue']),
      state: random.pick(['draft', 'final']),
      shelf: random.pick(['open', 'shut', 'shut']),
      title: this.mark('title', id),
      note: this.mark('note', id),
      salt: this.mark('salt', id),
      price: this.mark('price', id),
      _attachments: { 'secret.bin': this.secret(id) },
    };
    if (random.chance(0.3)) body._attachments['photo.png'] = { content_type: 'image/png', data: base64(this.mark('photo', id)) };
    return this.put(body);
  }

  secret(id) {
    const text = this.mark('bin', id);
    this.secrets.set(id, [...(this.secrets.get(id) ?? []), text]);
    return { content_type: 'application/octet-stream', data: base64(text) };
  }

  /** Somebody gives these members of this document their values. */
  gives(body, names = STEADY) {
    const values = this.values.get(body._id) ?? new Map();
    this.values.set(body._id, values);
    for (const name of names) values.set(name, (values.get(name) ?? new Set()).add(JSON.stringify(body[name])));
  }

  async put(body, names) {
    this.gives(body, names);
    const stored = await this.ask('PUT', `/${this.db}/${encodeURIComponent(body._id)}`, body);
    await this.learn();
    return stored;
  }

  /** A leaf that loses or wins beside the others, as another replica would bring it. */
  async beside(body, parents) {
    const _rev = `${parents.length + 1}-${this.hash()}`;
    const ids = [_rev, ...parents].map((rev) => rev.split('-')[1]);
    const docs = [{ ...body, _rev, _revisions: { start: ids.length, ids } }];
    await this.ask('POST', `/${this.db}/_bulk_docs`, { new_edits: false, docs });
    await this.learn();
  }

  hash() {
    this.counter += 1;
    return Buffer.from(`${this.counter}`.padStart(16, '0')).toString('hex');
  }

  /** Earlier revisions lose their bodies. */
  async compact() {
    await this.learn();
    for (const [leaf, ended] of this.ended) this.forget(leaf, ended);
    await this.ask('POST', `/${this.db}/_compact`, {});
    while ((await this.ask('GET', `/${this.db}`)).json.compact_running) await new Promise((resolve) => setTimeout(resolve, 40));
  }

  /** CouchDB compacts by itself, too. */
  async seeWhatIsForgotten() {
    for (const [leaf, ended] of this.ended) {
      const found = await this.read([{ id: ended.body._id, rev: ended.body._rev }]);
      if (found.length === 0) this.forget(leaf, ended);
    }
  }

  /** What a tombstone does not say of what rules decide by is known to nobody any more (`docs/guarantees.md`). */
  forget(leaf, ended) {
    const tombstone = this.bodies.get(leaf);
    const lacks = (name) => tombstone[name] === undefined && ended.body[name] !== undefined;
    ended.isForgotten ||= DECIDING.some(lacks);
    if (DECIDING.every((name) => tombstone[name] === undefined)) this.forgotten.add(tombstone._id);
  }

  /** What the database holds now; others may come to see it. */
  async learn() {
    const { json } = await this.ask('GET', `/${this.db}/_changes?style=all_docs&since=${encodeURIComponent(this.since)}`);
    const leaves = json.results.flatMap(({ id, changes }) => changes.map(({ rev }) => ({ id, rev })));
    const fresh = leaves.filter(({ id, rev }) => !id.startsWith('_design/') && !this.bodies.has(`${id} ${rev}`));
    for (const leaf of await this.read(fresh)) {
      if (leaf._deleted) await this.bury(leaf);
      this.log(leaf);
      this.remember(leaf);
    }
    this.since = json.last_seq;
  }

  /** Revisions with their histories; those that are not there any more are left out. */
  async read(docs) {
    if (docs.length === 0) return [];
    const { json } = await this.ask('POST', `/${this.db}/_bulk_get?revs=true`, { docs });
    return json.results.flatMap(({ docs: rows }) => rows.flatMap((row) => (row.ok ? [row.ok] : [])));
  }

  /** What this tombstone ended: the nearest revision before it that was stored. */
  async bury(leaf) {
    const before = await this.read(history(leaf).slice(1).map((rev) => ({ id: leaf._id, rev })));
    const order = history(leaf);
    const body = before.filter((one) => !one._deleted).sort((one, other) => order.indexOf(one._rev) - order.indexOf(other._rev))[0];
    if (body) this.ended.set(`${leaf._id} ${leaf._rev}`, { body });
  }

  /** Notes what a stored body may show to whom, by any rights they have had. */
  remember(body) {
    this.bodies.set(`${body._id} ${body._rev}`, body);
    for (const { name } of this.users) for (const rights of this.had.get(name)) this.allow(name, rights, body);
  }

  allow(name, rights, body) {
    const paths = hidden(body, name, rights);
    if (paths === null) return;
    const allowed = this.allowed.get(name);
    for (const [member, text] of marks(body)) if (!paths.includes(member)) allowed.add(text);
    if (body._attachments?.['secret.bin'] && !paths.includes('_attachments.secret.bin')) {
      for (const text of this.secrets.get(body._id) ?? []) allowed.add(text);
    }
  }

  note(name, rights) {
    this.rights.set(name, rights);
    this.had.get(name).push(rights);
    for (const body of this.bodies.values()) this.allow(name, rights, body);
  }

  /** Other roles, or another team, of a user; done when couchwarden knows, if it is waited for. */
  async setRights(name, { roles = [], team = null }, waits = true) {
    this.note(name, { roles: [...roles].sort(), team, policy: this.policy });
    const isNode = this.users.find((user) => user.name === name).kind === 'node';
    const path = isNode ? `/${this.nodes}/${name}` : `/_users/org.couchdb.user:${name}`;
    for (;;) {
      const { json } = await this.ask('GET', path);
      const { status } = await this.ask('PUT', path, { ...json, ...(isNode ? { team: team ? [team] : [] } : { roles }) });
      if (status === 201) break;
      if (status !== 409) throw new Error(`the rights of ${name} can't be set: ${status}`);
    }
    if (waits) await this.knows(name);
  }

  async setPolicy(policy, tell) {
    this.policy = policy;
    for (const [name, rights] of this.rights) this.note(name, { ...rights, policy });
    await tell({ ask: 'policy', policy });
    for (const { name } of this.users) await this.knows(name);
  }

  /** Waits until couchwarden judges this user by the rights that they have: what they see of the marks says so. */
  knows(name) {
    return this.timed('knows', this.waitUntilKnown(name));
  }

  async waitUntilKnown(name) {
    const { password } = this.users.find((user) => user.name === name);
    const authorization = `Basic ${base64(`${name}:${password}`)}`;
    const end = Date.now() + KNOWN_AFTER;
    for (;;) {
      const { roles, team, policy } = this.rights.get(name);
      const wanted = [...roles, ...(team ? [team] : []), `policy-${policy}`].sort().join(' ');
      const response = await fetch(`${this.warden}/${this.marks}/_all_docs`, { headers: { authorization } }).catch(() => null);
      const text = response ? await response.text().catch(() => '') : 'no answer';
      if (response?.status === 200 && ids(text) === wanted) return;
      if (Date.now() > end) throw new Error(`couchwarden does not know the rights of ${name}: ${wanted}, not ${text}`);
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
  }

  /** The leaves of all documents, with their histories. */
  async leaves() {
    const { json } = await this.ask('GET', `/${this.db}/_changes?style=all_docs`);
    const all = json.results.filter(({ id }) => !id.startsWith('_design/'));
    return this.read(all.flatMap(({ id, changes }) => changes.map(({ rev }) => ({ id, rev }))));
  }

  async all() {
    const { json } = await this.ask('GET', `/${this.db}/_all_docs?include_docs=true`);
    return json.rows.map(({ doc }) => doc).filter(({ _id }) => !_id.startsWith('_design/'));
  }
}

/** The revisions of a document that came with its history, the newest first. */
export function history({ _revisions: { start, ids } }) {
  return ids.map((id, index) => `${start - index}-${id}`);
}

function ids(text) {
  try {
    return JSON.parse(text).rows.map(({ id }) => id).sort().join(' ');
  } catch {
    return text;
  }
}

