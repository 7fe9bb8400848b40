// `multipart/related` as CouchDB's replicator sends it: the document as JSON, then the attachments marked `follows`, in order.

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
