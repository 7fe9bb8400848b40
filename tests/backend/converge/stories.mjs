// Orders of events that are hard to get right, about one document and one or two devices that hold it. What happens in the
// middle of their replications is left to chance.

import { DRAFTS, SHELVES } from './model.mjs';

/** A document that this device holds after it has synced, by what the administrator makes of it first. */
async function held(steps, device, prepare) {
  const { random, server } = steps.run;
  const bodies = (await server.all()).filter(({ price }) => price);
  const body = random.pick(bodies);
  if (!body) return null;
  await prepare?.(body);
  await steps.sync(device);
  return body._id;
}

async function work(steps, device, id) {
  const { random } = steps.run;
  if (random.chance(0.25)) return steps.offline(device, [id]);
  return steps.edits(device, id);
}

/** Makes a document one of this user's, by one of the rules that show it. */
async function shown(steps, device, body, ways = ['owner', 'members', 'public']) {
  const { random, server } = steps.run;
  const { user } = device;
  if (user.kind === 'node') return steps.sets(body._id, 'team', device.rights.team ?? 'red');
  const way = random.pick(ways);
  if (way === 'public') return steps.sets(body._id, 'public', true);
  if (way === 'owner') return steps.sets(body._id, 'owner', user.name);
  await steps.sets(body._id, 'owner', server.owners.find((name) => name !== user.name));
  return steps.sets(body._id, 'members', [user.name]);
}

/** A document that this device holds, and whoever may by other rules than those about owners. */
async function heldByAll(steps, device) {
  const { random } = steps.run;
  const id = await held(steps, device, async (body) => {
    await shown(steps, device, body, ['owner']);
    await steps.sets(body._id, 'public', true);
    await steps.sets(body._id, 'team', 'red');
  });
  if (!id) return null;
  for (const other of others(steps, device)) if (random.chance(0.5)) await steps.sync(other);
  return id;
}

function others(steps, device) {
  const { devices } = steps.run;
  return devices.filter((one) => one !== device);
}

export const stories = {
  /** A draft is made final while a device edits the draft. */
  async 'a draft is made final'(steps, device) {
    const id = await held(steps, device, async (body) => {
      await shown(steps, device, body, ['owner']);
      await steps.sets(body._id, 'state', 'draft');
    });
    if (!id) return;
    if (steps.run.random.chance(0.3)) await work(steps, device, id);
    await steps.sets(id, 'state', 'final');
    await work(steps, device, id);
    await steps.sync(device);
  },

  async 'a rule that hides is put out of force'(steps, device) {
    const { server } = steps.run;
    await steps.policy(server.policy | DRAFTS);
    const id = await held(steps, device, async (body) => {
      await shown(steps, device, body, ['owner']);
      await steps.sets(body._id, 'state', 'draft');
    });
    if (!id) return;
    await steps.policy(server.policy & ~DRAFTS);
    await work(steps, device, id);
    await steps.sync(device);
  },

  async 'a reader becomes the owner'(steps, device) {
    if (device.user.kind === 'node') return;
    const id = await held(steps, device, (body) => shown(steps, device, body, ['members', 'members', 'public']));
    if (!id) return;
    await steps.sets(id, 'owner', device.user.name);
    if (steps.run.random.chance(0.5)) await steps.sync(steps.run.random.pick(others(steps, device)));
    await work(steps, device, id);
    await steps.sync(device);
  },

  async 'two edit the same'(steps, device) {
    const { random } = steps.run;
    const other = random.pick(others(steps, device));
    const id = await held(steps, device, async (body) => {
      await shown(steps, device, body);
      await shown(steps, other, body, ['members']);
    });
    if (!id) return;
    await steps.sync(other);
    for (const one of [device, other]) for (let count = 1 + random.below(3); count > 0; count -= 1) await work(steps, one, id);
    await steps.sync(device);
    await steps.sync(other);
    if (random.chance(0.3)) await steps.offline(device, [id]);
    await steps.sync(device);
  },

  async 'what another holds is deleted'(steps, device) {
    const { random, server } = steps.run;
    const other = random.pick(others(steps, device));
    const id = await held(steps, device, async (body) => {
      await shown(steps, device, body, ['owner', 'owner', 'members']);
      await shown(steps, other, body, ['public']);
    });
    if (!id) return;
    await steps.sync(other);
    if (random.chance(0.5)) {
      steps.run.note(`${device.name} deletes ${id}`);
      await device.remove(id);
      await steps.sync(device);
      if (random.chance(0.5)) await steps.compacts();
    } else {
      const body = (await server.all()).find(({ _id }) => _id === id);
      if (body) await steps.ends(body);
    }
    if (random.chance(0.3)) await work(steps, other, id);
    await steps.sync(other);
  },

  /** What an owner deletes is known though nothing but its tombstone is left. */
  async 'an end is compacted'(steps) {
    const { random, devices } = steps.run;
    const device = random.pick(devices.filter(({ user }) => user.kind === 'account'));
    const id = await heldByAll(steps, device);
    if (!id) return;
    if (random.chance(0.3)) await steps.offline(random.pick(others(steps, device)), [id]);
    if (random.chance(0.3)) await steps.sets(id, 'team', 'blue');
    steps.run.note(`${device.name} deletes ${id}`);
    await device.remove(id);
    await steps.sync(device);
    await steps.compacts();
    await steps.sync(random.pick(others(steps, device)));
  },

  /** An administrator deletes past couchwarden, by tombstones that say nothing. */
  async 'an end says nothing'(steps, device) {
    const { random, server } = steps.run;
    const id = await heldByAll(steps, device);
    if (!id) return;
    // Out of the sight of some.
    if (random.chance(0.3)) await steps.sets(id, random.pick(['owner', 'members', 'public', 'team']), null);
    if (random.chance(0.3)) await steps.sync(device);
    if (random.chance(0.3)) await work(steps, device, id);
    const body = (await server.all()).find(({ _id }) => _id === id);
    if (body) await steps.ends(body, true);
    await steps.sync(device);
    if (random.chance(0.3)) await steps.compacts();
  },

  /** What was deleted while a rule was out of force is known to those who had it by this rule. */
  async 'a rule is out of force while it ends'(steps, device) {
    const { random, server } = steps.run;
    await steps.policy(server.policy | SHELVES);
    const id = await held(steps, device, async (body) => {
      await steps.sets(body._id, 'shelf', 'open');
      if (random.chance(0.5)) await steps.sets(body._id, 'owner', random.pick(server.owners));
    });
    if (!id) return;
    const owner = (await server.all()).find(({ _id }) => _id === id)?.owner;
    const writer = others(steps, device).find(({ user }) => user.name === owner);
    if (writer) await steps.sync(writer);
    await steps.policy(server.policy & ~SHELVES);
    if (writer && random.chance(0.5)) {
      steps.run.note(`${writer.name} deletes ${id}`);
      await writer.remove(id);
      await steps.sync(writer);
    } else {
      const body = (await server.all()).find(({ _id }) => _id === id);
      if (body) await steps.ends(body);
    }
    if (random.chance(0.5)) await steps.sync(device);
    await steps.policy(server.policy | SHELVES);
    await steps.sync(device);
  },

  async 'a member edits what has a hidden attachment'(steps, device) {
    const id = await held(steps, device, (body) => shown(steps, device, body, ['members']));
    if (!id) return;
    await steps.edits(device, id);
    if (steps.run.random.chance(0.5)) await steps.sets(id, 'secret', '');
    await work(steps, device, id);
    await steps.sync(device);
  },

  /** What changes while its user may not see it has to come when they may again. */
  async 'rights are lost and given back'(steps, device) {
    const { random } = steps.run;
    const { user } = device;
    const before = device.rights;
    const id = await held(steps, device, async (body) => {
      await steps.sets(body._id, 'public', false);
      await shown(steps, device, body, ['owner', 'members']);
    });
    const account = random.pick([['reader'], ['reader'], ['app'], []]);
    await steps.gives(user, user.kind === 'node' ? { team: random.pick(['blue', 'blue', null]) } : { roles: account });
    if (id) await steps.sets(id, 'note', steps.run.server.mark('note', id));
    if (random.chance(0.5)) await steps.administer();
    if (random.chance(0.5)) await steps.offline(device);
    await steps.sync(device);
    await steps.gives(user, before);
    await steps.sync(device);
  },

  async 'a losing leaf comes and is edited'(steps, device) {
    const { random } = steps.run;
    const id = await held(steps, device, (body) => shown(steps, device, body));
    if (!id) return;
    await steps.beside(id);
    if (random.chance(0.5)) await steps.sets(id, 'state', random.pick(['draft', 'final']));
    await steps.sync(device);
    steps.run.note(`${device.name} edits an old revision of ${id}`);
    await device.editOld(id);
    await steps.sync(device);
  },

  /** What an app notes beside its documents is its user's own. */
  async 'an app keeps its settings'(steps, device) {
    for (const one of [device, steps.run.random.pick(others(steps, device))]) {
      steps.run.note(`${one.name} keeps its settings`);
      await one.settle();
    }
  },
};
