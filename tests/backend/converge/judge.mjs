// What must hold when all devices have synced until nothing moved.

import { seen, without } from './model.mjs';

export async function judge(run) {
  const { server, devices } = run;
  const bodies = await server.all();
  for (const device of devices) {
    for (const body of bodies) await arrived(run, device, body);
    for (const [mark, url] of device.suspects) {
      if (!server.allowed.get(device.user.name).has(mark)) run.find('leak', `${device.name} was sent \`${mark}\` by ${url}`);
    }
    await accounted(run, device);
  }
  for (const id of new Set(await server.ids())) await priced(run, id);
  for (const device of devices) await idle(run, device);
}

/** A visible document is on the device, with the winner's content, unless the device has an edit of its own that was denied. */
async function arrived(run, device, body) {
  const paths = device.sees(body);
  if (paths === null) return;
  const roles = run.server.roles.get(device.user.name);
  const denied = device.denied.some(({ id }) => id === body._id || id === '*');
  const local = await device.local.get(body._id, { conflicts: true }).catch((error) => error);
  if (local.status) {
    if (!denied) run.find(device.isDisturbed ? 'missing after rights' : 'missing', `${device.name} (${device.kind}) lacks ${body._id} ${body._rev}: ${local.reason ?? local.message}`);
    return;
  }
  if (local._rev !== body._rev) {
    if (!denied) run.find(device.isDisturbed ? 'other after rights' : 'other', `${device.name} (${device.kind}) has ${local._rev} of ${body._id}, the server ${body._rev}`);
    return;
  }
  const [wanted, got] = [seen(body, device.user.name, roles), without(local, [])].map(sorted);
  // A field that has become visible with no new revision does not come; it is never another one.
  for (const [name, value] of Object.entries(got)) {
    const text = JSON.stringify(value);
    if (text !== JSON.stringify(wanted[name]) && !mayBeOlder(run, body._id, name, value)) {
      run.find('content', `${device.name}: \`${name}\` of ${body._id} ${body._rev} is ${text}, not ${JSON.stringify(wanted[name])}`);
    }
  }
  for (const name of ['note', 'owner', 'members']) {
    if (wanted[name] !== undefined && got[name] === undefined) run.find('content', `${device.name}: ${body._id} ${body._rev} lacks \`${name}\``);
  }
}

/** What was seen under other rights under the same revision stays on a device; it is never anything else. */
function mayBeOlder(run, id, name, value) {
  const bodies = run.server.bodies.get(id) ?? [];
  // CouchDB stores texts compressed, which gives them another digest.
  if (name === '_attachments') {
    const own = Object.entries(value).filter(([file]) => file !== 'secret.bin');
    return own.every(([file, digest]) => bodies.some((body) => body._attachments?.[file]?.digest === digest));
  }
  return ['price', 'salt'].includes(name) && bodies.some((body) => body[name] === value);
}

const sorted = (body) => Object.fromEntries(Object.entries(body).sort(([one], [other]) => (one < other ? -1 : 1)));

/** Each write is known to the server, or was told to be denied, or was made over by a later one of the same device. */
async function accounted(run, device) {
  const { server } = run;
  const revs = {};
  for (const { id, rev } of device.writes) (revs[id] ??= []).push(rev);
  const { json } = await server.ask('POST', `/${server.db}/_revs_diff`, revs);
  for (const [id, { missing }] of Object.entries(json)) {
    const local = await device.local.get(id, { open_revs: 'all', revs: true }).catch(() => []);
    const leaves = Array.isArray(local) ? local.flatMap((row) => (row.ok ? [row.ok._rev] : [])) : [];
    for (const rev of missing) {
      if (!leaves.includes(rev)) continue;
      const denied = device.denied.some((one) => one.id === id || one.id === '*');
      if (!denied) run.find('lost', `${device.name} (${device.kind}) wrote ${rev} of ${id}; the server does not know it and nobody said no`);
    }
  }
}

/** A price is one that the document has had, on each living leaf. */
async function priced(run, id) {
  const { server } = run;
  const prices = server.prices.get(id);
  if (!prices) return;
  for (const leaf of await server.leaves(id)) {
    if (leaf._deleted || prices.has(leaf.price)) continue;
    const kind = server.ended.has(id) ? 'price beside an end' : 'price';
    run.find(kind, `${id} ${leaf._rev}: the price is ${JSON.stringify(leaf.price)}, not one of ${JSON.stringify([...prices])}`);
  }
}

/** A live sync that has caught up asks for nothing but the feed. */
async function idle(run, device) {
  if (device.kind !== 'pouch') return;
  const sync = device.local.sync(device.remote, { live: true, retry: true });
  await new Promise((resolve) => {
    sync.on('paused', resolve);
    setTimeout(resolve, 3000);
  });
  const asked = [];
  const fetch = device.fetch.bind(device);
  device.fetch = (url, options) => {
    asked.push(url);
    return fetch(url, options);
  };
  await new Promise((resolve) => setTimeout(resolve, 700));
  device.fetch = fetch;
  sync.cancel();
  await sync.catch(() => {});
  if (asked.length > 6) run.find('idle', `${device.name} asked ${asked.length} times while nothing happened: ${asked.slice(0, 4).join(' ')}`);
}
