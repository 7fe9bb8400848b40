// Aylin's application: PouchDB and two requests, and nothing that knows of couchwarden but the path `/_warden`.
//
//   NODE_EXTRA_CA_CERTS=certs/ca.crt node examples/demo/subscriber.mjs https://localhost:6984 aylin demo
//
// Each line that it prints is what was done and what came of it, with a tab in between.

import { createRequire } from 'node:module';

// In an application of your own: import PouchDB from 'pouchdb'.
const require = createRequire(new URL('../../tests/backend/package.json', import.meta.url));
const PouchDB = require('pouchdb').plugin(require('pouchdb-adapter-memory'));

const PATIENCE = 30_000;
const [, , url, name, password] = process.argv;
const headers = { Authorization: `Basic ${btoa(`${name}:${password}`)}`, Accept: 'application/json' };

const say = (done, came) => console.log(`${done}\t${came}`);

async function ask(method, path) {
  const answer = await fetch(`${url}${path}`, { method, headers });
  if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}: ${await answer.text()}`);
  return answer;
}

/** Looks until there is something to see. */
async function until(what, look) {
  for (const end = Date.now() + PATIENCE; Date.now() < end;) {
    const seen = await look();
    if (seen) return seen;
    await new Promise((wake) => { setTimeout(wake, 100); });
  }
  throw new Error(`${what} has not come within ${PATIENCE / 1000} s; does CouchDB's replicator reach ${url}?`);
}

/** What is there once nothing has come for a second. */
async function quiet(look) {
  for (let seen = await look(), looks = 0; ;) {
    await new Promise((wake) => { setTimeout(wake, 100); });
    const now = await look();
    looks = now.length === seen.length ? looks + 1 : 0;
    seen = now;
    if (looks === 10) return seen;
  }
}

/** Hears `/_warden/provisioning/events`, and tells the ids of documents that were denied. */
async function listen(denied) {
  const { body } = await ask('GET', '/_warden/provisioning/events');
  let text = '';
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    const events = (text += chunk).split('\n\n');
    text = events.pop();
    for (const event of events) {
      if (event.includes('event: replication:denied')) denied.add(JSON.parse(event.split('data: ')[1]).id);
    }
  }
}

async function main() {
  const { database } = await (await ask('POST', '/_warden/provisioning')).json();
  say('POST /_warden/provisioning', `${database.slice(0, 9)}… is hers alone`);
  const denied = new Set();
  listen(denied).catch(() => {});

  const mine = new PouchDB('mine', { adapter: 'memory' });
  const sync = PouchDB.sync(mine, `${url}/${database}`, { live: true, retry: true, fetch: (to, options) => PouchDB.fetch(to, { ...options, headers: { ...Object.fromEntries(options.headers), ...headers } }) });
  const numbers = await until('a record', async () => {
    const { rows } = await mine.allDocs({ include_docs: true, startkey: 'number:', endkey: 'number:\uffff' });
    return rows.length > 0 && rows.map(({ doc }) => doc);
  });
  const records = await quiet(async () => {
    const { rows } = await mine.allDocs({ include_docs: true });
    return rows.map(({ doc }) => doc).filter(({ _id }) => !_id.startsWith('_design/'));
  });
  const secrets = records.filter(({ sip_secret }) => sip_secret !== undefined).length;
  say('PouchDB.sync', `${records.length} records on her device, ${secrets} with a sip_secret`);

  const [{ _id: id, display_name: shown }, { _id: other }] = numbers;
  const edit = async (which, change) => mine.put({ ...await mine.get(which), ...change, updated_by: name });
  const renamed = `${shown.split(' (')[0]} (${new Date().toLocaleTimeString()})`;
  await edit(id, { display_name: renamed });
  await until('her edit', async () => {
    const stored = await (await ask('GET', `/provisioning/${encodeURIComponent(id)}`)).json();
    return stored.display_name === renamed;
  });
  say('she renames a number', 'stored in `provisioning`, by CouchDB\'s replicator');

  await edit(other, { tariff: 'free' });
  await until('a denial', async () => denied.has(other));
  say('she changes a tariff', 'replication:denied; `provisioning` keeps what it had');
  sync.cancel();
}

main().then(() => process.exit(0), (error) => { console.error(error.message); process.exit(1); });
