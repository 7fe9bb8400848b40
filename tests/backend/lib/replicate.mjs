// `POST /_replicate`, one-shot, between databases named here or by URL.

import { requireServerAdmin } from './access.mjs';
import { PouchDB } from './store.mjs';

export async function replicate(exchange, databases) {
  exchange.allow('POST');
  requireServerAdmin(exchange.user);
  const { source, target, create_target: create, doc_ids, selector } = await exchange.object();
  if (create && typeof target === 'string' && !databases.find(target)) databases.create(target);
  const outcome = await PouchDB.replicate(side(databases, source), side(databases, target), { ...(doc_ids && { doc_ids }), ...(selector && { selector }) });
  databases.find(target)?.touch();
  const { docs_read, docs_written, doc_write_failures, last_seq } = outcome;
  exchange.answer(200, { ok: outcome.ok, source_last_seq: last_seq, history: [{ docs_read, docs_written, doc_write_failures }] });
}

function side(databases, place) {
  const { url, headers } = typeof place === 'string' ? { url: place } : place;
  if (!/^https?:/.test(url)) return databases.get(url).pouch;
  return new PouchDB(url, { skip_setup: true, fetch: (to, options) => PouchDB.fetch(to, withHeaders(options, headers)) });
}

function withHeaders(options, headers = {}) {
  for (const [name, value] of Object.entries(headers)) options.headers.set(name, value);
  return options;
}
