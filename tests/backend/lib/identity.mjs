// Who asks: session cookie, signed token, proxy authentication, Basic, in CouchDB's order; and the passwords of `_users`.

import { createHmac, createPublicKey, pbkdf2Sync, randomBytes, timingSafeEqual, verify } from 'node:crypto';

import { Refusal } from './exchange.mjs';

export const ADMIN = { name: 'admin', password: 'pass' };
export const PROXY_SECRET = 'couchwarden-test-secret';

const COOKIE_SECRET = randomBytes(16);
const COOKIE_SECONDS = 600;
const ITERATIONS = 10;
const HANDLERS = ['cookie', 'jwt', 'proxy', 'default'];
const ANONYMOUS = { name: null, roles: [] };
const KEY_TYPES = { HS: 'hmac', ES: 'ec' };

/** CouchDB's `[jwt_keys]`: `ec:KID` and a public key as PEM, its newlines written as `\\n`; `hmac:KID` and a secret in base64. */
export const jwtKeys = new Map();

/** The caller, `{name, roles, by}`; `by` names the scheme. */
export async function authenticate(exchange, databases) {
  return await byCookie(exchange, databases) ?? byToken(exchange) ?? byProxy(exchange) ?? await byBasic(exchange, databases) ?? ANONYMOUS;
}

function byToken({ request }) {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  if (scheme !== 'Bearer') return undefined;
  const bad = (reason) => new Refusal(400, 'bad_request', reason);
  const parts = token.split('.');
  if (parts.length !== 3) throw bad('Malformed authentication token');
  const [head, claims] = parts.slice(0, 2).map((part) => {
    try {
      return JSON.parse(Buffer.from(part, 'base64url').toString());
    } catch {
      throw bad('Malformed authentication token');
    }
  });
  if (!/^(HS|ES)256$/.test(head.alg)) throw bad('Invalid alg header parameter');
  if (claims.exp === undefined) throw bad('Missing exp claim');
  if (!(claims.exp > Math.floor(Date.now() / 1000))) throw new Refusal(401, 'unauthorized', 'exp not in future');
  const key = jwtKeys.get(`${KEY_TYPES[head.alg.slice(0, 2)]}:${head.kid ?? '_default'}`);
  if (key === undefined) throw bad('Unknown kid');
  if (!isSigned(head.alg, key, `${parts[0]}.${parts[1]}`, Buffer.from(parts[2], 'base64url'))) throw bad('Bad signature in authentication token');
  if (claims.sub === undefined) throw new Refusal(401, 'unauthorized', 'Token missing sub claim.');
  const roles = claims['_couchdb.roles'] ?? [];
  return { name: claims.sub, roles: Array.isArray(roles) ? roles : roles.split(/\s*,\s*/), by: 'jwt' };
}

function isSigned(algorithm, key, message, signature) {
  if (algorithm === 'HS256') return equal(signature, createHmac('sha256', Buffer.from(key, 'base64')).update(message).digest());
  const publicKey = createPublicKey(key.replaceAll('\\n', '\n'));
  return verify('sha256', Buffer.from(message), { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
}

function byProxy({ request }) {
  const name = request.headers['x-auth-couchdb-username'];
  const token = request.headers['x-auth-couchdb-token'];
  if (name === undefined) return undefined;
  if (token === undefined || !/^([0-9a-f]{2})*$/i.test(token)) throw new Refusal(500, 'internal_server_error', 'Bad proxy token.');
  const genuine = ['sha256', 'sha1'].some((hash) => equal(Buffer.from(token, 'hex'), createHmac(hash, PROXY_SECRET).update(name).digest()));
  if (!genuine) return undefined;
  const roles = (request.headers['x-auth-couchdb-roles'] ?? '').split(',').map((role) => role.trim()).filter(Boolean);
  return { name, roles, by: 'proxy' };
}

async function byBasic({ request }, databases) {
  const [scheme, encoded] = (request.headers.authorization ?? '').split(' ');
  if (scheme.toLowerCase() !== 'basic' || !encoded) return undefined;
  const [, name, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? [];
  return { ...await logIn(databases, name, password), by: 'default' };
}

async function byCookie({ request }, databases) {
  const [, cookie] = /(?:^|;\s*)AuthSession=([^;]*)/.exec(request.headers.cookie ?? '') ?? [];
  if (!cookie) return undefined;
  const [, name, time, mac] = /^(.*):([0-9A-F]+):([0-9a-f]{64})$/s.exec(Buffer.from(cookie, 'base64url').toString()) ?? [];
  if (name === undefined) throw new Refusal(400, 'bad_request', 'Malformed AuthSession cookie. Please clear your cookies.');
  const fresh = Date.now() / 1000 < Number.parseInt(time, 16) + COOKIE_SECONDS;
  if (!fresh || !equal(Buffer.from(mac, 'hex'), macOf(name, time))) return undefined;
  const roles = await rolesOf(databases, name);
  return roles && { name, roles, by: 'cookie' };
}

const macOf = (name, time) => createHmac('sha256', COOKIE_SECRET).update(`${name}:${time}`).digest();

const equal = (left, right) => left.length === right.length && timingSafeEqual(left, right);

async function rolesOf(databases, name) {
  if (name === ADMIN.name) return ['_admin'];
  return (await userDocument(databases, name))?.roles;
}

async function userDocument(databases, name) {
  return databases.find('_users')?.pouch.get(`org.couchdb.user:${name}`).catch(() => undefined);
}

async function logIn(databases, name, password) {
  if (name === ADMIN.name && password === ADMIN.password) return { name, roles: ['_admin'] };
  const user = name && await userDocument(databases, name);
  if (user?.derived_key && password !== undefined && equal(Buffer.from(user.derived_key), Buffer.from(derive(password, user)))) {
    return { name, roles: user.roles };
  }
  throw new Refusal(401, 'unauthorized', 'Name or password is incorrect.');
}

const derive = (password, { salt, iterations, pbkdf2_prf: hash }) => pbkdf2Sync(password, salt, iterations, 32, hash).toString('hex');

/** What CouchDB does to a document of `_users` before it stores it: replaces the password by what can verify it. */
export function hashPassword({ password, ...document }) {
  if (typeof password !== 'string') return document;
  const recipe = { password_scheme: 'pbkdf2', pbkdf2_prf: 'sha256', salt: randomBytes(16).toString('hex'), iterations: ITERATIONS };
  return { ...document, ...recipe, derived_key: derive(password, recipe) };
}

/** `/_session`. */
export async function session(exchange, databases) {
  exchange.allow('GET', 'HEAD', 'POST', 'DELETE');
  if (exchange.reads) return exchange.answer(200, describe(exchange.user));
  if (exchange.method === 'DELETE') return exchange.answer(200, { ok: true }, { 'Set-Cookie': 'AuthSession=; Version=1; Path=/; HttpOnly' });
  const { name, username = name, password } = await credentials(exchange);
  if (username === undefined) throw new Refusal(400, 'bad_request', 'request body must contain a username');
  const user = await logIn(databases, username, password);
  const time = Math.floor(Date.now() / 1000).toString(16).toUpperCase();
  const cookie = Buffer.from(`${user.name}:${time}:${macOf(user.name, time).toString('hex')}`).toString('base64url');
  exchange.answer(200, { ok: true, ...user }, { 'Set-Cookie': `AuthSession=${cookie}; Version=1; Max-Age=${COOKIE_SECONDS}; Path=/; HttpOnly` });
}

async function credentials(exchange) {
  if (/^application\/json/i.test(exchange.header('content-type') ?? '')) return exchange.object();
  return Object.fromEntries(new URLSearchParams((await exchange.bytes()).toString()));
}

function describe({ name, roles, by }) {
  return { ok: true, userCtx: { name, roles }, info: { authentication_handlers: HANDLERS, ...(by && { authenticated: by }) } };
}
