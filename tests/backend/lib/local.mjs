// `_local` documents: beside the revision tree, with revisions that only count and never conflict.

import { Refusal } from './exchange.mjs';

export function readLocal(database, id) {
  const document = database.locals.get(id);
  if (!document) throw new Refusal(404, 'not_found', 'missing');
  return document;
}

/** Writes, or deletes where `_deleted` says so; answers the new revision. */
export function writeLocal(database, { _deleted: deleted, ...document }) {
  if (deleted && !database.locals.has(document._id)) throw new Refusal(404, 'not_found', 'missing');
  if (deleted) {
    database.locals.delete(document._id);
    return '0-0';
  }
  const [, count] = /^0-(\d+)$/.exec(document._rev ?? '0-0') ?? [];
  if (count === undefined) throw new Refusal(500, 'error', 'Invalid rev format');
  const rev = `0-${Number(count) + 1}`;
  const { _id, _rev, ...body } = document;
  database.locals.set(_id, { _id, _rev: rev, ...body });
  return rev;
}
