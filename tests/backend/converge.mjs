// One random run of devices that sync through couchwarden: what they hold at the end, and what they saw on the way, must be
// what the rules say. The first JSON line on standard input says where; lines on standard output ask for what is to be done to
// couchwarden itself, each answered by one line, and the last one tells what was found.
//
//   in   {"seed", "couchdb": {"url", "user", "password"}, "warden", "db", "marks", "nodes", "policy", "steps",
//         "users": [{"short", "name", "password", "kind": "account" | "node"}]}
//   out  {"ask": "policy", "policy"} | {"ask": "kill"}
//        {"findings": [{"kind", "text"}], "trace": [text], "counts": {…}}
//
// The rules of the run stand in `tests/proxy/converge.rs`; `converge/model.mjs` is their slow and obvious twin.

import { createInterface } from 'node:readline';

import { Device } from './converge/device.mjs';
import { judge } from './converge/judge.mjs';
import { DRAFTS, POLICIES, READERS, SHELVES } from './converge/model.mjs';
import { Random } from './converge/random.mjs';
import { Server } from './converge/server.mjs';
import { Steps } from './converge/steps.mjs';

const MOST_ROUNDS = 25;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** One thing is asked for at a time. */
let asked = Promise.resolve();
function tell(what) {
  const told = asked.then(async () => {
    say(what);
    await lines.next();
  });
  asked = told.catch(() => {});
  return told;
}

// PouchDB lets some failures of the network go by unhandled; `Device` has seen each.
for (const event of ['unhandledRejection', 'uncaughtException']) {
  process.on(event, (error) => {
    const isExpected = error?.isCut || error?.name === 'FetchError' || error?.code === 'ERR_STREAM_PREMATURE_CLOSE';
    if (!isExpected) run.findings.push({ kind: 'broken', text: `${error?.stack}` });
  });
}

const { value: order } = await lines.next();
const run = { findings: [], trace: [], counts: { steps: 0, requests: 0, writes: 0, denied: 0, ms: {} } };
try {
  await go(JSON.parse(order));
} catch (error) {
  run.findings.push({ kind: 'broken', text: `${error.stack}` });
}
process.stdout.write(`${JSON.stringify({ findings: run.findings, trace: run.trace, counts: run.counts })}\n`, () => process.exit(0));

async function go(order) {
  const random = new Random(order.seed);
  const server = new Server(order);
  Object.assign(run, { random, server, tell, devices: [], kills: 0, killing: false, settings: new Map(), undressed: new Set(), isLogged: order.log });
  run.find = (kind, text) => run.findings.push({ kind, text });
  run.note = (text) => run.trace.push(text);
  run.timed = async (what, done) => {
    const began = Date.now();
    try {
      return await done;
    } finally {
      const { ms } = run.counts;
      ms[what] = (ms[what] ?? 0) + Date.now() - began;
    }
  };
  server.timed = run.timed;
  server.log = ({ _id, _rev, _deleted, ...rest }) => order.log && run.note(`    stored: ${_id} ${_rev}${_deleted ? ' deleted' : ''} ${JSON.stringify(rest)}`);
  await server.begin(random);
  for (const user of order.users) {
    for (const number of [1, 2]) run.devices.push(new Device(run, user, number, random.chance(0.2) ? 'replicator' : 'pouch'));
  }
  const steps = new Steps(run);
  for (let step = 0; step < order.steps; step += 1) {
    run.counts.steps += 1;
    await run.timed('steps', steps.next());
  }
  run.inside = null;
  await run.dying;
  run.note('in the end');
  await steps.policy(random.chance(0.5) ? DRAFTS | READERS | SHELVES : random.below(POLICIES));
  for (const user of order.users) {
    if (random.chance(0.8)) await steps.gives(user, server.widest(user));
    await server.knows(user.name);
  }
  await run.timed('settle', settle());
  await run.timed('judge', judge(run));
  for (const device of run.devices) {
    run.counts.writes += device.writes.length;
    run.counts.denied += device.denied.size;
    await device.close();
  }
}

/** Every device syncs until nothing moves any more. */
async function settle() {
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    let moved = 0;
    for (const device of run.devices) moved += await device.sync();
    if (moved === 0) return;
  }
  run.find('restless', `documents still move after ${MOST_ROUNDS} rounds`);
}
