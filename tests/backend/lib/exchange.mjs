// One HTTP exchange as our handlers see it: decoded path, typed query parameters, the body, and answers in CouchDB's form.

import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';

/** An answer other than success: status, and CouchDB's `error` and `reason`. */
export class Refusal extends Error {
  constructor(status, error, reason) {
    super(reason);
    Object.assign(this, { status, error, reason });
  }
}

/** Whatever was thrown, as a refusal. PouchDB's errors carry `status`, `name`, `message` and sometimes `reason`. */
export function asRefusal(thrown) {
  if (thrown instanceof Refusal) return thrown;
  if (thrown.name === 'conflict') return new Refusal(409, 'conflict', 'Document update conflict.');
  if (thrown.name === 'not_found') return new Refusal(404, 'not_found', thrown.reason === 'deleted' ? 'deleted' : 'missing');
  if (thrown.status) return new Refusal(thrown.status, thrown.error === true || !thrown.error ? thrown.name : thrown.error, thrown.reason ?? thrown.message);
  return new Refusal(500, 'internal_server_error', thrown.stack ?? String(thrown));
}

export class Exchange {
  constructor(request, response) {
    this.request = request;
    this.response = response;
    this.method = request.method;
    this.reads = this.method === 'GET' || this.method === 'HEAD';
  }

  /** Reads path and query; refuses what cannot be read. */
  parse() {
    const [path, ...query] = this.request.url.replace(/^https?:\/\/[^/]*/, '').split('?');
    this.segments = path.split('/').filter((segment) => segment !== '').map(decode);
    this.query = new Query(query.join('?'));
  }

  header(name) {
    return this.request.headers[name];
  }

  /** Where the client says that it has come. */
  get host() {
    return this.header('x-forwarded-host') ?? this.header('host');
  }

  /** The request body as bytes, inflated if it came compressed. */
  async bytes() {
    const chunks = [];
    for await (const chunk of this.request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const encoding = this.header('content-encoding') ?? 'identity';
    if (encoding === 'identity') return body;
    if (encoding === 'gzip') return promisify(gunzip)(body);
    throw new Refusal(415, 'bad_ctype', `${encoding} is not a supported content encoding.`);
  }

  /** The request body as JSON; an empty body is `undefined`. */
  async json() {
    const body = await this.bytes();
    return body.length === 0 ? undefined : parse(body, 'invalid UTF-8 JSON');
  }

  /** Refuses a body that does not call itself JSON, as CouchDB does of a POST. */
  requireJson() {
    if (/^application\/json/i.test(this.header('content-type') ?? '')) return;
    throw new Refusal(415, 'bad_content_type', 'Content-Type must be application/json');
  }

  /** The request body as a JSON object. */
  async object() {
    if (this.method === 'POST') this.requireJson();
    const body = await this.json();
    if (body === null || typeof body !== 'object' || Array.isArray(body)) {
      throw new Refusal(400, 'bad_request', 'Request body must be a JSON object');
    }
    return body;
  }

  allow(...methods) {
    if (methods.includes(this.method)) return;
    this.response.setHeader('Allow', methods.join(','));
    throw new Refusal(405, 'method_not_allowed', `Only ${methods.join(',')} allowed`);
  }

  /** Starts an answer whose body is written piece by piece. */
  begin(status, headers = {}) {
    this.response.writeHead(status, {
      'Cache-Control': 'must-revalidate',
      'Content-Type': 'application/json',
      Server: 'CouchDB/3.5.0 (couchwarden test backend)',
      'X-Couch-Request-ID': this.header('x-couch-request-id') ?? randomBytes(5).toString('hex'),
      'X-CouchDB-Body-Time': '0',
      ...headers,
    });
  }

  answer(status, value, headers = {}) {
    this.send(status, Buffer.from(`${JSON.stringify(value)}\n`), headers);
  }

  send(status, bytes, headers = {}) {
    this.begin(status, { 'Content-Length': bytes.length, ...headers });
    this.response.end(bytes);
  }

  /** Answers rows, one on each line as CouchDB frames them. `head` holds the members that stand before the rows. */
  answerRows(head, rows) {
    this.begin(200);
    this.response.end(`${frameRows(head, rows)}\n`);
  }

  /** Answers with an ETag, or 304 where the client has that version already. */
  answerTagged(tag, value) {
    if (this.notModified(tag)) return;
    this.answer(200, value, { ETag: `"${tag}"` });
  }

  notModified(tag) {
    const known = (this.header('if-none-match') ?? '').split(',').map((each) => each.trim());
    if (!known.includes(`"${tag}"`)) return false;
    this.response.writeHead(304, { ETag: `"${tag}"`, 'Cache-Control': 'must-revalidate' }).end();
    return true;
  }

  refuse(thrown) {
    const { status, error, reason } = asRefusal(thrown);
    if (this.response.headersSent) this.response.destroy();
    else this.answer(status, { error, reason });
  }
}

export function frameRows(head, rows) {
  const members = Object.entries(head).map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)},`).join('');
  return `{${members}"rows":[\r\n${rows.map((row) => JSON.stringify(row)).join(',\r\n')}\r\n]}`;
}

/** Query parameters, typed as they are asked for. Of a repeated parameter the last counts. */
class Query {
  constructor(text) {
    this.values = new Map(new URLSearchParams(text.replaceAll(';', '&')));
  }

  text(name) {
    return this.values.get(name);
  }

  flag(name) {
    return this.values.get(name) === 'true';
  }

  json(name) {
    const text = this.values.get(name);
    return text === undefined ? undefined : parse(text, `invalid UTF-8 JSON: ${name}`);
  }
}

function decode(segment) {
  try {
    return decodeURIComponent(segment.replaceAll('+', ' '));
  } catch {
    throw new Refusal(400, 'bad_request', 'Invalid percent-encoding in path');
  }
}

function parse(text, complaint) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, 'bad_request', complaint);
  }
}
