// One random run of devices that sync through couchwarden: what they hold at the end, and what they saw on the way, must be
// what the rules say. One JSON line on standard input says where; one JSON line on standard output tells what was found.
//
//   in   {"seed", "couchdb": {"url", "user", "password"}, "db", "users": [{"name", "password", "warden"}], "steps"}
//   out  {"findings": [{"kind", "text"}], "trace": [text], "counts": {…}}
//
// The rules of the run stand in `tests/proxy/converge.rs`; `converge/model.mjs` is their slow and obvious twin.

import { createInterface } from 'node:readline';

import { Device } from './converge/device.mjs';
import { judge } from './converge/judge.mjs';
import { Random } from './converge/random.mjs';
import { Server } from './converge/server.mjs';
import { Steps } from './converge/steps.mjs';

const QUIET_ROUNDS = 2;
const MOST_ROUNDS = 25;

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    told = await run(JSON.parse(line));
  } catch (error) {
    told = { findings: [{ kind: 'broken', text: `${error.stack}` }], trace: [], counts: {} };
  }
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

async function run(order) {
  const random = new Random(order.seed);
  const server = new Server(order);
  const run = { random, server, findings: [], trace: [], counts: { steps: 0, requests: 0 }, devices: [] };
  run.find = (kind, text) => run.findings.push({ kind, text });
  run.note = (text) => run.trace.push(text);
  await server.begin(random);
  for (const user of order.users) {
    for (const number of [1, 2]) {
      run.devices.push(new Device(run, user, number, random.chance(0.2) ? 'replicator' : 'pouch'));
    }
  }
  const steps = new Steps(run);
  for (let step = 0; step < order.steps; step += 1) {
    run.counts.steps += 1;
    await steps.next();
  }
  run.inside = null;
  await server.giveBackRoles();
  await settle(run);
  await judge(run);
  for (const device of run.devices) await device.close();
  return { findings: run.findings, trace: run.trace, counts: run.counts };
}

/** Every device syncs until nothing moves any more. */
async function settle(run) {
  let quiet = 0;
  for (let round = 0; round < MOST_ROUNDS && quiet < QUIET_ROUNDS; round += 1) {
    let moved = 0;
    for (const device of run.devices) moved += await device.sync();
    quiet = moved === 0 ? quiet + 1 : 0;
  }
  if (quiet < QUIET_ROUNDS) run.find('restless', `documents still move after ${MOST_ROUNDS} rounds`);
}
