// The rules of `tests/proxy/converge.rs`, read slowly and obviously.
//
//   owners   see their documents whole, but for the price while it is a draft; they create, update and delete them
//   members  see documents that name them, without price and without the attachment `secret.bin`; they change the note
//   readers  (a role) see public documents, without price, salt and `secret.bin`

/** What of a body may be seen: nothing (`null`), or the names of what is hidden. */
export function hidden(body, user, roles) {
  const draft = body.state === 'draft' ? ['price'] : [];
  const shows = [];
  if (roles.includes('app') && body.owner === user) shows.push([]);
  if (roles.includes('app') && (body.members ?? []).includes(user)) shows.push(['price', '_attachments.secret.bin']);
  if (roles.includes('reader') && body.public === true) shows.push(['price', 'salt', '_attachments.secret.bin']);
  if (shows.length === 0) return null;
  const everywhere = shows[0].filter((path) => shows.every((paths) => paths.includes(path)));
  return [...new Set([...everywhere, ...draft])];
}

/** The body as this user sees it, without CouchDB's own members but `_attachments`, as names and digests. */
export function seen(body, user, roles) {
  const paths = hidden(body, user, roles);
  return paths === null ? null : without(body, paths);
}

export function without(body, paths) {
  const shown = {};
  for (const [name, value] of Object.entries(body)) {
    if (paths.includes(name) || (name.startsWith('_') && name !== '_attachments')) continue;
    shown[name] = value;
  }
  if (shown._attachments) {
    const kept = Object.entries(shown._attachments).filter(([name]) => !paths.includes(`_attachments.${name}`));
    shown._attachments = Object.fromEntries(kept.map(([name, { digest }]) => [name, digest]));
    if (kept.length === 0) delete shown._attachments;
  }
  return shown;
}

/** The texts of a body that no one else's body holds: whoever reads one of them has read that member. */
export function marks(body) {
  return ['price', 'salt', 'note'].flatMap((name) => (typeof body[name] === 'string' ? [[name, body[name]]] : []));
}
