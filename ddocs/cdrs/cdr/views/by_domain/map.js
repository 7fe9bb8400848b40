// Every call under each domain that took part in it, once. Who looks after a domain asks for it (policies/cdrs.toml).
function (doc) {
  if (doc.type !== 'cdr') return;
  emit([doc.from.domain, doc.started], doc);
  if (doc.to.domain !== doc.from.domain) emit([doc.to.domain, doc.started], doc);
}
