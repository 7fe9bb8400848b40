// Multipart bodies as CouchDB's replicator sends them and CouchDB answers them: a document as JSON, then the attachments
// marked `follows`, in order.

import { randomBytes } from 'node:crypto';

import { Refusal } from './exchange.mjs';

export function parseRelated(bytes, contentType) {
  const [, quoted, plain] = /boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType) ?? [];
  const [head, ...bodies] = parts(bytes, quoted ?? plain);
  if (!head) throw new Refusal(400, 'bad_request', 'multipart body without a document');
  const document = JSON.parse(head);
  const following = Object.values(document._attachments ?? {}).filter((attachment) => attachment.follows);
  following.forEach((attachment, index) => {
    delete attachment.follows;
    attachment.data = bodies[index].toString('base64');
  });
  return document;
}

/** The bodies of the parts. */
function parts(bytes, boundary) {
  const framed = Buffer.concat([Buffer.from('\r\n'), bytes]);
  const mark = Buffer.from(`\r\n--${boundary}`);
  const starts = [];
  for (let at = framed.indexOf(mark); at >= 0; at = framed.indexOf(mark, at + mark.length)) starts.push(at);
  return starts.slice(0, -1).map((start, index) => {
    const part = framed.subarray(start + mark.length, starts[index + 1]);
    return part.subarray(part.indexOf('\r\n\r\n') + 4);
  });
}

/** Whether the client takes this type; one that says nothing takes everything. */
export function accepts(exchange, type) {
  const [main] = type.split('/');
  const listed = (exchange.header('accept') ?? '*/*').split(',').map((each) => each.split(';')[0].trim());
  return listed.some((each) => ['*/*', `${main}/*`, type].includes(each));
}

/** One document and its attachments; as JSON where it has none. */
export function sendRelated(exchange, document, headers) {
  const { type, body } = partOf(document);
  exchange.send(200, type === 'application/json' ? Buffer.concat([body, Buffer.from('\n')]) : body, { ...headers, 'Content-Type': type });
}

/** Leaves, as `open_revs` answers them. */
export function sendMixed(exchange, rows) {
  const boundary = randomBytes(16).toString('hex');
  const mark = Buffer.from(`\r\n--${boundary}`);
  const parts = rows.flatMap((row) => {
    const { type, body } = row.ok ? partOf(row.ok) : { type: 'application/json; error="true"', body: Buffer.from(JSON.stringify(row)) };
    return [Buffer.from(`\r\nContent-Type: ${type}\r\n\r\n`), body, mark];
  });
  const bytes = Buffer.concat([mark.subarray(2), ...parts, Buffer.from('--')]);
  exchange.send(200, bytes, { 'Content-Type': `multipart/mixed; boundary="${boundary}"` });
}

/** Documents and errors, as `_bulk_get` answers them. */
export function sendBulk(exchange, kind, rows) {
  const boundary = `--${randomBytes(16).toString('hex')}`;
  const parts = rows.flatMap(({ ok, error }) => {
    const { type, body, inner } = ok ? partOf(ok, '--') : { type: 'application/json; error="true"', body: Buffer.from(JSON.stringify(error)) };
    const head = inner ? `X-Doc-Id: ${ok._id}\r\nX-Rev-Id: ${ok._rev}\r\nContent-Type: multipart/related; boundary=${inner}` : `Content-Type: ${type}`;
    return [Buffer.from(`\r\n--${boundary}\r\n${head}\r\n\r\n`), body];
  });
  const end = rows.length > 0 ? `\r\n--${boundary}--\r\n` : '';
  exchange.send(200, Buffer.concat([...parts, Buffer.from(end)]), { 'Content-Type': `${kind}; boundary="${boundary}"` });
}

function partOf(document, dashes = '') {
  const attachments = Object.entries(document._attachments ?? {});
  const following = attachments.filter(([, { data }]) => data !== undefined).map(([name, { content_type: type, data }]) => ({ name, type, bytes: Buffer.from(data, 'base64') }));
  if (following.length === 0) return { type: 'application/json', body: Buffer.from(JSON.stringify(document)) };
  const inner = dashes + randomBytes(16).toString('hex');
  const mark = Buffer.from(`\r\n--${inner}`);
  const stubs = Object.fromEntries(attachments.map(([name, { data, ...stub }]) => [name, data === undefined ? stub : { ...stub, length: Buffer.from(data, 'base64').length, follows: true }]));
  const json = Buffer.from(JSON.stringify({ ...document, _attachments: stubs }));
  const parts = following.flatMap(({ name, type, bytes }) => [
    Buffer.from(`\r\nContent-Disposition: attachment; filename="${name}"\r\nContent-Type: ${type}\r\nContent-Length: ${bytes.length}\r\n\r\n`), bytes, mark,
  ]);
  const body = Buffer.concat([mark.subarray(2), Buffer.from('\r\nContent-Type: application/json\r\n\r\n'), json, mark, ...parts, Buffer.from('--')]);
  return { type: `multipart/related; boundary="${inner}"`, body, inner };
}
