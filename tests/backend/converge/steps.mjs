// What happens in a run: people work offline, devices sync, an administrator writes past couchwarden, rights change; some of
// it in the middle of a replication.

const INSIDE = ['_changes', '_bulk_get', '_revs_diff', '_bulk_docs', '_local'];

export class Steps {
  constructor(run) {
    this.run = run;
    this.busy = false;
    this.born = 0;
    run.inside = (place) => this.inside(place);
  }

  async next() {
    const { random, devices } = this.run;
    const device = random.pick(devices);
    const dice = random.next();
    if (dice < 0.35) return this.offline(device);
    if (dice < 0.65) return this.sync(device);
    if (dice < 0.9) return this.administer();
    return this.rights();
  }

  /** In the middle of a replication, now and then, one thing happens. */
  async inside(place) {
    const { random } = this.run;
    if (this.busy || !INSIDE.some((endpoint) => place.includes(` ${endpoint} `)) || !random.chance(0.08)) return null;
    this.busy = true;
    this.run.note(`  (${place})`);
    const dice = random.next();
    try {
      if (dice < 0.5) await this.administer();
      else if (dice < 0.85) await this.rights();
      else this.run.note('the network fails');
    } finally {
      this.busy = false;
    }
    return dice < 0.85 ? null : 'cut';
  }

  async sync(device) {
    this.run.note(`${device.name} syncs`);
    await device.sync();
  }

  async offline(device) {
    const { random } = this.run;
    const ids = await device.ids();
    const dice = random.next();
    if (dice < 0.25 || ids.length === 0) {
      this.born += 1;
      const id = `new${this.born}`;
      this.run.note(`${device.name} creates ${id}`);
      return device.create(id);
    }
    const id = random.pick(ids);
    if (dice < 0.75) {
      this.run.note(`${device.name} edits ${id}`);
      return device.edit(id);
    }
    if (dice < 0.88) {
      this.run.note(`${device.name} attaches to ${id}`);
      return device.attach(id);
    }
    this.run.note(`${device.name} deletes ${id}`);
    return device.remove(id);
  }

  /** An administrator changes what a document says, who sees it, or ends it. */
  async administer() {
    const { random, server } = this.run;
    const bodies = await server.all();
    const names = server.users.map(({ name }) => name);
    if (bodies.length === 0 || random.chance(0.12)) {
      this.born += 1;
      this.run.note(`administrator creates adm${this.born}`);
      return server.create(random, `adm${this.born}`);
    }
    const body = random.pick(bodies);
    const what = random.pick(['owner', 'members', 'members', 'public', 'state', 'state', 'price', 'note', 'delete']);
    if (what === 'owner') body.owner = random.pick(names);
    if (what === 'members') body.members = names.filter(() => random.chance(0.5));
    if (what === 'public') body.public = !body.public;
    if (what === 'state') body.state = body.state === 'draft' ? 'final' : 'draft';
    if (what === 'price' && body.price !== undefined) body.price = server.mark('price', body._id);
    if (what === 'note') body.note = server.mark('note', body._id);
    if (what === 'delete') {
      // As those delete who keep what rules decide by.
      const { _id, _rev, owner, members, public: open, state } = body;
      this.run.note(`administrator deletes ${_id}`);
      return server.ask('PUT', `/${server.db}/${encodeURIComponent(_id)}`, { _id, _rev, owner, members, public: open, state, _deleted: true });
    }
    this.run.note(`administrator sets ${what} of ${body._id}: ${JSON.stringify(body[what])}`);
    return server.put(body);
  }

  async rights() {
    const { random, server, devices } = this.run;
    const { name } = random.pick(server.users);
    const roles = random.pick([['app'], ['app', 'reader'], ['reader'], []]);
    this.run.note(`${name} has the roles ${JSON.stringify(roles)}`);
    await server.setRoles(name, roles);
    for (const device of devices) device.isDisturbed ||= device.isSyncing && device.user.name === name;
  }
}
