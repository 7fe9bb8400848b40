// Who may do what: CouchDB's server administrators, and the administrators and members of a database's `_security`.

import { Refusal } from './exchange.mjs';

/** What CouchDB 3 gives a new database: administrators only. */
export const DEFAULT_SECURITY = { members: { roles: ['_admin'] }, admins: { roles: ['_admin'] } };

export const isServerAdmin = (user) => user.roles.includes('_admin');

export function isDatabaseAdmin(user, security) {
  return isServerAdmin(user) || listed(user, security.admins);
}

function isMember(user, security) {
  const { names = [], roles = [] } = security.members ?? {};
  return names.length + roles.length === 0 || listed(user, security.members) || isDatabaseAdmin(user, security);
}

function listed(user, { names = [], roles = [] } = {}) {
  return names.includes(user.name) || roles.some((role) => user.roles.includes(role));
}

export function requireServerAdmin(user) {
  if (!isServerAdmin(user)) throw new Refusal(401, 'unauthorized', 'You are not a server admin.');
}

export function requireDatabaseAdmin(user, security) {
  if (!isDatabaseAdmin(user, security)) throw denied(user, 'You are not a db or server admin.', 'You are not a db or server admin.');
}

export function requireMember(user, security) {
  if (!isMember(user, security)) throw denied(user, 'You are not authorized to access this db.', 'You are not allowed to access this db.');
}

/** CouchDB asks the anonymous to log in and tells the others no. */
function denied(user, toAnonymous, toOthers) {
  return user.name === null ? new Refusal(401, 'unauthorized', toAnonymous) : new Refusal(403, 'forbidden', toOthers);
}
