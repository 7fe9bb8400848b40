// The rules of `tests/proxy/converge.rs`, read slowly and obviously.
//
//   owners   see their documents whole; they create, update and delete them
//   members  see documents that name them, without price and without the attachment `secret.bin`; they change the note
//   readers  (a role) see public documents, without price, salt and `secret.bin`
//   teams    see documents of the team of their node, without salt and `secret.bin`; they change the note
//   shelves  from an open shelf everybody reads
//   drafts   from everybody the price of a draft is hidden
//
// Rights are `{ roles, team, policy }`. The bits of `policy` are what a reload of the policies switches:

export const DRAFTS = 1;
export const READERS = 2;
export const FINAL_ONLY = 4;
export const SHELVES = 8;
export const POLICIES = 16;
/** The members that rules decide by; by the shelf only while that rule is in force. */
export const DECIDING = ['owner', 'members', 'public', 'team', 'state', 'shelf'];

const SECRET = '_attachments.secret.bin';

/** What of a body may be seen: nothing (`null`), or the names of what is hidden. */
export function hidden(body, user, { roles, team, policy }) {
  const app = roles.includes('app');
  const member = app && (body.members ?? []).includes(user) && (!(policy & FINAL_ONLY) || body.state === 'final');
  const shows = [];
  if (app && body.owner === user) shows.push([]);
  if (member) shows.push(['price', SECRET]);
  if (roles.includes('reader') && body.public === true && policy & READERS) shows.push(['price', 'salt', SECRET]);
  if (policy & SHELVES && body.shelf === 'open') shows.push([]);
  if (team && body.team === team) shows.push(['salt', SECRET]);
  if (shows.length === 0) return null;
  const everywhere = shows[0].filter((path) => shows.every((paths) => paths.includes(path)));
  const draft = policy & DRAFTS && body.state === 'draft' ? ['price'] : [];
  return [...new Set([...everywhere, ...draft])];
}

/** The members that some rule may hide: a device may lack them, whatever its rights are now. */
export const HIDEABLE = ['price', 'salt'];
/** The members that nobody changes but by saying so. */
export const STEADY = ['price', 'salt', 'title', 'owner', 'members', 'public', 'team', 'state', 'shelf'];

/** What there is to compare of a body: its own members, and its attachments by their digests. */
export function essence(body) {
  const own = Object.entries(body).filter(([name]) => !name.startsWith('_'));
  const files = Object.entries(body._attachments ?? {}).map(([name, { digest }]) => [`_attachments.${name}`, digest]);
  return Object.fromEntries([...own, ...files]);
}

/** The texts of a body that no one else's body holds: whoever reads one of them has read that member. */
export function marks(body) {
  return ['price', 'salt', 'note'].flatMap((name) => (typeof body[name] === 'string' ? [[name, body[name]]] : []));
}
