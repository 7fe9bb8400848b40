// Reads revisions of documents, with what CouchDB can add to them.

import { Refusal } from './exchange.mjs';
import { contains, generation, leavesBelow, leavesOf } from './revisions.mjs';

/** What may be added to a document, from query parameters. */
export function readOptions(query) {
  return {
    revs: query.flag('revs'),
    revs_info: query.flag('revs_info') || query.flag('meta'),
    conflicts: query.flag('conflicts') || query.flag('meta'),
    deletedConflicts: query.flag('deleted_conflicts') || query.flag('meta'),
    attachments: query.flag('attachments'),
    attsSince: query.json('atts_since'),
    latest: query.flag('latest'),
  };
}

/** One revision of a document; the winner if `rev` is not given, unless that is deleted. */
export async function readRevision(database, id, rev, options = {}) {
  const tree = await database.tree(id);
  const leaves = leavesOf(tree);
  if (rev !== undefined && !/^\d+-/.test(rev)) throw new Refusal(400, 'bad_request', 'Invalid rev format');
  if (leaves.length === 0) throw new Refusal(404, 'not_found', 'missing');
  if (rev === undefined && leaves[0].deleted) throw new Refusal(404, 'not_found', 'deleted');
  const wanted = options.latest && rev !== undefined ? leavesBelow(tree, rev)[0]?.rev ?? rev : rev ?? leaves[0].rev;
  const { revs, revs_info, attachments, attsSince } = options;
  const document = inOrder(await database.pouch.get(id, { rev: wanted, revs: revs || Boolean(attsSince), revs_info, attachments: attachments || Boolean(attsSince) }));
  if (attsSince) stubKnownAttachments(document, attsSince, revs);
  return { ...document, ...otherLeaves(leaves, wanted, options) };
}

/** The document with its identity first, as CouchDB writes it. */
export function inOrder({ _id, _rev, ...body }) {
  return { ...(_id !== undefined && { _id }), ...(_rev !== undefined && { _rev }), ...body };
}

function otherLeaves(leaves, rev, { conflicts, deletedConflicts }) {
  const others = (deleted) => leaves.filter((leaf) => leaf.rev !== rev && leaf.deleted === deleted).map((leaf) => leaf.rev);
  const [alive, dead] = [others(false), others(true)];
  return {
    ...(conflicts && alive.length > 0 && { _conflicts: alive }),
    ...(deletedConflicts && dead.length > 0 && { _deleted_conflicts: dead }),
  };
}

/** Leaves inline only the attachments that are newer than the revisions the reader has. */
function stubKnownAttachments(document, known, keepRevisions) {
  const { start, ids } = document._revisions;
  const history = ids.map((hash, index) => `${start - index}-${hash}`);
  const newest = Math.max(0, ...known.filter((rev) => history.includes(rev)).map(generation));
  for (const attachment of Object.values(document._attachments ?? {})) {
    if (attachment.revpos > newest) continue;
    const length = Buffer.byteLength(attachment.data, 'base64');
    delete attachment.data;
    Object.assign(attachment, { length, stub: true });
  }
  if (!keepRevisions) delete document._revisions;
}

/** `{ok: document}` or `{missing: rev}` for each revision asked for; `'all'` asks for every leaf. */
export async function openRevisions(database, id, revs, options) {
  const tree = await database.tree(id);
  const wanted = revs === 'all' ? leavesOf(tree).map(({ rev }) => rev) : revs.flatMap((rev) => latestOf(tree, rev, options));
  return Promise.all([...new Set(wanted)].map(async (rev) => {
    if (!contains(tree, rev)) return { missing: rev };
    try {
      return { ok: await readRevision(database, id, rev, { ...options, latest: false }) };
    } catch {
      return { missing: rev };
    }
  }));
}

function latestOf(tree, rev, { latest }) {
  const leaves = latest ? leavesBelow(tree, rev) : [];
  return leaves.length > 0 ? leaves.map((leaf) => leaf.rev) : [rev];
}
