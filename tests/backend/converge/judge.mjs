// What must hold when all devices have synced until nothing moved.

import { createHash } from 'node:crypto';

import { essence, HIDEABLE, marks, STEADY } from './model.mjs';
import { history } from './server.mjs';

const QUIET = 500;
const QUIET_AFTER = 120_000;

export async function judge(run) {
  const { server, devices } = run;
  const leaves = await server.leaves();
  await server.seeWhatIsForgotten();
  for (const device of devices) {
    const local = await locals(device);
    for (const leaf of leaves) await arrived(run, device, leaf, local);
    const known = new Set(leaves.flatMap((leaf) => history(leaf).map((rev) => `${leaf._id} ${rev}`)));
    for (const leaf of local.values()) held(run, device, leaf, known);
    for (const [mark, url] of device.suspects) {
      if (!server.allowed.get(device.user.name).has(mark)) run.find('leak', `${device.name} was sent \`${mark}\` by ${url}`);
    }
    if (device.may('push')) accounted(run, device, local, known);
    if (device.may('pull')) await settings(run, device);
  }
  for (const leaf of leaves) if (!leaf._deleted) whole(run, leaf);
  await run.timed('idle', idle(run));
}

/** The leaves on a device that are alive, by id and revision. */
async function locals(device) {
  const found = new Map();
  for (const id of await device.ids()) {
    for (const { ok } of await device.local.get(id, { open_revs: 'all', revs: true })) {
      if (ok && !ok._deleted) found.set(`${id} ${ok._rev}`, ok);
    }
  }
  return found;
}

/** A leaf that may be seen is on the device, as it is stored but for what is hidden; an end that may be known is known. */
async function arrived(run, device, leaf, local) {
  const { server } = run;
  const { _id: id, _rev: rev } = leaf;
  if (!device.may('pull')) return;
  const ended = leaf._deleted ? server.ended.get(`${id} ${rev}`) : null;
  if (leaf._deleted && !ended) return;
  if (device.sees(ended ? told(run, leaf, ended) : leaf) === null) return;
  const after = device.isDisturbed ? ' after rights' : '';
  if (ended) {
    const stale = history(leaf).slice(1).find((one) => local.has(`${id} ${one}`));
    if (stale) run.find(`stale${after}`, `${device.name} (${device.kind}) has ${stale} of ${id}, which ${rev} has ended`);
    return;
  }
  const got = local.get(`${id} ${rev}`) ?? (await device.local.get(id, { rev }).catch(() => null));
  if (!got) {
    run.find(`missing${after}`, `${device.name} (${device.kind}) lacks ${rev} of ${id}`);
    return;
  }
  const [wanted, has] = [essence(leaf), essence(got)];
  for (const name of new Set([...Object.keys(wanted), ...Object.keys(has)])) {
    const [one, other] = [wanted[name], has[name]].map((value) => JSON.stringify(value));
    // A member that was hidden when this revision came stays away until another one comes.
    const mayLack = other === undefined && (HIDEABLE.includes(name) || name === '_attachments.secret.bin');
    if (one !== other && !mayLack && !isOfTheWinner(run, device, id, name, has[name])) run.find('content', `${device.name} (${device.kind}): \`${name}\` of ${id} ${rev}, by ${writerOf(run, id, rev)?.name}, is ${other}, not ${one}`);
  }
}

/** By what is known of what a tombstone has ended: after a compaction by what it says, if it was made through couchwarden by
 * all that rules decided by. */
function told(run, leaf, { body, isForgotten }) {
  if (!isForgotten) return body;
  return writerOf(run, leaf._id, leaf._rev) ? { ...body, shelf: leaf.shelf } : leaf;
}

/** PouchDB asks for the attachments of a leaf without its revision, and gets the winner's. */
function isOfTheWinner(run, device, id, name, digest) {
  if (device.kind !== 'pouch' || !name.startsWith('_attachments.')) return false;
  const bodies = [...run.server.bodies.values()].filter((body) => body._id === id);
  return bodies.some((body) => essence(body)[name] === digest);
}

/** Who made this revision. */
function writerOf(run, id, rev) {
  return run.devices.find(({ writes }) => writes.some((one) => one.id === id && one.rev === rev));
}

/** What a device holds its user might once see. */
function held(run, device, leaf, known) {
  const allowed = run.server.allowed.get(device.user.name);
  for (const [name, text] of marks(leaf)) {
    if (!allowed.has(text) && !device.made.has(text)) run.find('leak', `${device.name} holds ${name} \`${text}\` of ${leaf._id} ${leaf._rev}`);
  }
  const isOwn = device.writes.some(({ id, rev }) => id === leaf._id && rev === leaf._rev);
  if (!isOwn && !known.has(`${leaf._id} ${leaf._rev}`)) run.find('unknown', `${device.name} holds ${leaf._rev} of ${leaf._id}, which nobody wrote`);
}

/** Each write is known to the server, or was told to be denied, or was made over by a later one of the same device. */
function accounted(run, device, local, known) {
  for (const { id, rev } of device.writes) {
    if (!local.has(`${id} ${rev}`) || known.has(`${id} ${rev}`) || device.isDenied(id)) continue;
    run.find('lost', `${device.name} (${device.kind}) wrote ${rev} of ${id}; the server does not know it and nobody said no`);
  }
}

/** Each living leaf has what somebody has given to the document, whoever wrote it since. */
function whole(run, leaf) {
  const { server } = run;
  const { _id: id, _rev: rev } = leaf;
  const values = server.values.get(id);
  const undressed = history(leaf).some((one) => run.undressed.has(`${id} ${one}`));
  const why = server.forgotten.has(id) ? ' beside a forgotten end' : undressed ? ' after roles' : '';
  const kind = (name) => `${name}${why}`;
  for (const name of STEADY) {
    const text = JSON.stringify(leaf[name]);
    if (values && !values.get(name).has(text)) run.find(kind(name), `${id} ${rev}, by ${writerOf(run, id, rev)?.name}: ${name} is ${text}, not one of ${[...values.get(name)]}`);
  }
  const secrets = server.secrets.get(id);
  if (!secrets) return;
  const digests = secrets.map((text) => `md5-${createHash('md5').update(text).digest('base64')}`);
  const digest = leaf._attachments?.['secret.bin']?.digest;
  if (!digests.includes(digest)) run.find(kind('secret.bin'), `${id} ${rev}, by ${writerOf(run, id, rev)?.name}: secret.bin is ${digest}, not one of ${digests}`);
}

/** What an app has noted in a local document is its user's last word. */
async function settings(run, device) {
  const last = run.settings.get(device.user.name);
  if (!last || device.kind !== 'pouch') return;
  const found = await device.remote.get('_local/settings').catch((error) => error);
  if (!last.includes(found.text)) run.find('settings', `${device.name}: its settings are ${JSON.stringify(found.text ?? found)}, not ${last}`);
}

/** Live syncs that have caught up ask for nothing but their feeds. */
async function idle(run) {
  const devices = run.devices.filter((device) => device.kind === 'pouch' && device.may('pull'));
  const syncs = devices.map((device) => {
    device.asked = [];
    const { local, remote } = device;
    const options = { live: true, retry: true };
    return device.may('push') ? local.sync(remote, options) : local.replicate.from(remote, options);
  });
  const end = Date.now() + QUIET_AFTER;
  const stir = ({ url }) => !url.includes('feed=longpoll');
  const isQuiet = ({ asked, asking }) => asking === 0 && asked.some((one) => !stir(one)) && !asked.some((one) => stir(one) && one.at > Date.now() - QUIET);
  while (Date.now() < end && !devices.every(isQuiet)) await new Promise((resolve) => setTimeout(resolve, 50));
  for (const device of devices.filter((one) => !isQuiet(one))) {
    run.find('idle', `${device.name} asks on and on: ${device.asked.length} times: ${device.asked.slice(-6).map(({ url }) => url).join(' ')}`);
  }
  for (const sync of syncs) {
    sync.cancel();
    await sync.catch(() => {});
  }
}
