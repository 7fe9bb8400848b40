// What happens in a run: people work offline, devices sync, an administrator writes past couchwarden, rights change, couchwarden
// is killed; some of it in the middle of a replication, and some of it in an order that is hard to get right.

import { DRAFTS, FINAL_ONLY, POLICIES, READERS, SHELVES } from './model.mjs';
import { history } from './server.mjs';
import { stories } from './stories.mjs';

const INSIDE = ['_changes', '_bulk_get', '_revs_diff', '_bulk_docs', '_local'];
const ODD_FILES = ['a b.png', 'ä/ö.png', 'photo#1?.png', '.', '', 'a//b', '../x', 'a/./b', '%2e%2e'];
const ODD_IDS = ['a b+c', 'ä%25', 'x/y', '.', "'\"&?#"];
const DEEP = JSON.parse(`${'['.repeat(125)}${']'.repeat(125)}`);

export class Steps {
  constructor(run) {
    this.run = run;
    this.busy = false;
    this.born = 0;
    run.inside = (device, when, endpoint) => this.inside(device, when, endpoint);
  }

  async next() {
    const { random, devices } = this.run;
    const device = random.pick(devices);
    const dice = random.next();
    if (dice < 0.2) return this.offline(device);
    if (dice < 0.33) return this.sync(device);
    if (dice < 0.48) return this.administer();
    if (dice < 0.57) return this.rights();
    if (dice < 0.6) return this.policy();
    if (dice < 0.62) return this.kill(true);
    const [name, story] = random.pick(Object.entries(stories));
    this.run.note(`story: ${name}`);
    return story(this, device);
  }

  /** In the middle of a replication, now and then, one thing happens. */
  async inside(device, when, endpoint) {
    const { random } = this.run;
    if (this.busy || !INSIDE.includes(endpoint) || !random.chance(0.05)) return null;
    this.busy = true;
    // Another request of this replication may be on its way.
    this.shake();
    this.run.note(`  (${when} ${endpoint} of ${device.name})`);
    const dice = random.next();
    try {
      if (dice < 0.45) await this.administer();
      else if (dice < 0.7) await this.rights();
      else if (dice < 0.78) await this.policy();
      else if (dice < 0.88) await this.kill(random.chance(0.5));
      else this.run.note('the network fails');
    } finally {
      this.busy = false;
    }
    this.shake();
    return dice < 0.88 ? null : 'cut';
  }

  shake() {
    for (const one of this.run.devices) one.isShaken = true;
  }

  async sync(device) {
    this.run.note(`${device.name} syncs`);
    const moved = await device.sync();
    this.run.note(`  ${moved} moved`);
  }

  async offline(device, among) {
    const { random } = this.run;
    const ids = among ?? (await device.ids());
    const dice = random.next();
    if (dice < 0.15 || ids.length === 0) {
      this.born += 1;
      const number = this.born;
      const id = random.chance(0.2) ? (number === 1 ? '.' : `${random.pick(ODD_IDS)}${number}`) : `new${number}`;
      this.run.note(`${device.name} creates ${id}`);
      return device.create(id);
    }
    const id = random.pick(ids);
    if (dice < 0.55) return this.edits(device, id);
    if (dice < 0.67) {
      this.run.note(`${device.name} edits an old revision of ${id}`);
      return device.editOld(id);
    }
    if (dice < 0.8) {
      const name = random.chance(0.3) ? random.pick(ODD_FILES) : 'photo.png';
      const bytes = Buffer.from(this.run.server.mark('photo', id).repeat(random.chance(0.1) ? 30_000 : 1));
      this.run.note(`${device.name} attaches \`${name}\` of ${bytes.length} bytes to ${id}`);
      return device.attach(id, name, bytes);
    }
    if (dice < 0.9) return this.overreaches(device, id);
    this.run.note(`${device.name} deletes ${id}`);
    await device.remove(id);
    if (!random.chance(0.3)) return undefined;
    this.run.note(`${device.name} creates ${id} again`);
    return device.create(id);
  }

  async edits(device, id) {
    this.run.note(`${device.name} edits ${id}`);
    await device.edit(id);
  }

  /** What some may do and others are refused. */
  async overreaches(device, id) {
    const { random, server } = this.run;
    const what = random.pick(['title', 'title', 'state', 'public', 'deep']);
    this.run.note(`${device.name} changes ${what} of ${id}`);
    await device.edit(id, (body) => {
      if (what === 'title') body.title = server.mark('title', id);
      if (what === 'state') body.state = body.state === 'draft' ? 'final' : 'draft';
      if (what === 'public') body.public = !body.public;
      if (what === 'deep') body.deep = DEEP;
      else server.gives(body, [what]);
    });
  }

  /** An administrator changes what a document says, who sees it, or ends it. */
  async administer() {
    const { random, server } = this.run;
    if (random.chance(0.05)) return this.compacts();
    const bodies = await server.all();
    if (bodies.length === 0 || random.chance(0.07)) {
      this.born += 1;
      this.run.note(`administrator creates adm${this.born}`);
      return server.create(random, `adm${this.born}`);
    }
    const body = random.pick(bodies);
    const what = random.pick(['owner', 'members', 'members', 'public', 'team', 'state', 'state', 'shelf', 'price', 'note', 'secret', 'beside', 'delete']);
    if (what === 'delete') return this.ends(body);
    if (what === 'beside') return this.beside(body._id);
    return this.sets(body._id, what, this.value(what, body));
  }

  async compacts() {
    this.run.note('administrator compacts');
    await this.run.timed('compact', this.run.server.compact());
  }

  value(what, body) {
    const { random, server } = this.run;
    if (what === 'owner') return random.pick(server.owners);
    if (what === 'members') return server.owners.filter(() => random.chance(0.5));
    if (what === 'public') return !body.public;
    if (what === 'team') return random.pick(['red', 'blue']);
    if (what === 'state') return body.state === 'draft' ? 'final' : 'draft';
    if (what === 'shelf') return body.shelf === 'open' ? 'shut' : 'open';
    return server.mark(what, body._id);
  }

  /** The administrator gives a member of the winner a value. */
  async sets(id, what, value) {
    const { server } = this.run;
    const body = (await server.all()).find(({ _id }) => _id === id);
    // Nobody takes back by this what was lost.
    if (!body || (what === 'price' && body.price === undefined)) return;
    this.run.note(`administrator sets ${what} of ${id}: ${JSON.stringify(value)}`);
    if (what !== 'secret') return server.put({ ...body, [what]: value }, what === 'note' ? [] : [what]);
    if (!body._attachments?.['secret.bin']) return undefined;
    body._attachments['secret.bin'] = server.secret(id);
    return server.put(body, []);
  }

  /** With what rules decide by, as those delete who keep it, or without. */
  async ends(body, bare = this.run.random.chance(0.5)) {
    const { server } = this.run;
    const { _id, _rev, owner, members, public: open, team, state, shelf } = body;
    this.run.note(`administrator deletes ${_id}${bare ? ', bare' : ''}`);
    const kept = bare ? {} : { owner, members, public: open, team, state, ...(server.policy & SHELVES && { shelf }) };
    await server.ask('PUT', `/${server.db}/${encodeURIComponent(_id)}`, { _id, _rev, ...kept, _deleted: true });
    await server.learn();
  }

  /** Another replica brings a leaf beside the others. */
  async beside(id) {
    const { random, server } = this.run;
    const leaves = (await server.leaves()).filter((leaf) => leaf._id === id && !leaf._deleted);
    const leaf = random.pick(leaves);
    if (!leaf) return;
    const revs = history(leaf);
    const from = random.below(Math.min(revs.length, 3));
    const { json } = await server.ask('GET', `/${server.db}/${encodeURIComponent(id)}?attachments=true&rev=${revs[from]}`);
    if (!json._id || json._deleted) return;
    json.note = server.mark('note', id);
    this.run.note(`administrator brings a leaf of ${id} on ${revs[from]}`);
    await server.beside(json, revs.slice(from));
  }

  async rights(user = this.run.random.pick(this.run.server.users)) {
    const { random, server } = this.run;
    const rights = user.kind === 'account'
      ? { roles: random.pick([['app'], ['app', 'reader'], ['app', 'reader'], ['reader'], []]) }
      : { team: random.pick(['red', 'red', 'blue', null]) };
    return this.gives(user, rights, !random.chance(0.2));
  }

  async gives(user, rights, waits = true) {
    const { server, devices } = this.run;
    this.run.note(`${user.short} has ${JSON.stringify(rights)}${waits ? '' : ', soon'}`);
    const theirs = devices.filter((device) => device.user.name === user.name);
    for (const device of theirs) {
      if (device.isSyncing || device.isVague || !waits) device.disturb();
      device.isVague = true;
    }
    await server.setRights(user.name, rights, waits);
    for (const device of theirs) {
      device.isVague = !waits;
      if (!waits) device.disturb();
    }
  }

  async policy(policy = this.run.random.below(POLICIES)) {
    const { server, devices } = this.run;
    const says = [policy & DRAFTS && 'drafts', policy & READERS && 'readers', policy & FINAL_ONLY && 'final only', policy & SHELVES && 'shelves'].filter(Boolean);
    this.run.note(`the policies say: ${says.join(', ')}`);
    for (const device of devices) if (device.isSyncing || device.isVague) device.disturb();
    await server.setPolicy(policy, this.run.tell);
  }

  /** couchwarden ends without a word, and another one starts; in the middle of a request, if nobody waits for it. */
  async kill(waits) {
    const { run } = this;
    run.note(`couchwarden is killed${waits ? '' : ' while it is asked'}`);
    run.killing = true;
    const done = run.tell({ ask: 'kill' }).finally(() => {
      run.killing = false;
      run.kills += 1;
    });
    run.dying = done;
    if (waits) await run.timed('kill', done);
  }
}
