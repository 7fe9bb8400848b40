// Revision trees in PouchDB's form: a list of roots `{pos, ids: [hash, {status, deleted}, children]}`.

/** The leaves, `{rev, deleted, path}` with the path from the leaf back to its root; the winner first. */
export function leavesOf(tree) {
  return [...walk(tree)].filter((node) => node.leaf).sort(byPrecedence);
}

/** The leaves that are `rev` itself or descend from it. */
export const leavesBelow = (tree, rev) => leavesOf(tree).filter((leaf) => leaf.path.includes(rev));

export const contains = (tree, rev) => [...walk(tree)].some((node) => node.rev === rev);

export const generation = (rev) => Number.parseInt(rev, 10);

/** The ancestors that a document with `_revisions` names, its own revision left out, nearest first. */
export function ancestorsNamedBy({ _revisions: revisions }) {
  return (revisions?.ids ?? []).map((hash, index) => `${revisions.start - index}-${hash}`).slice(1);
}

function* walk(tree) {
  const pending = tree.map(({ pos, ids }) => ({ pos, ids, path: [] }));
  while (pending.length > 0) {
    const { pos, ids: [hash, { deleted = false }, children], path } = pending.pop();
    const rev = `${pos}-${hash}`;
    const own = [rev, ...path];
    yield { rev, deleted, path: own, leaf: children.length === 0 };
    for (const ids of children) pending.push({ pos: pos + 1, ids, path: own });
  }
}

function byPrecedence(left, right) {
  return Number(left.deleted) - Number(right.deleted)
    || generation(right.rev) - generation(left.rev)
    || (left.rev < right.rev ? 1 : -1);
}
