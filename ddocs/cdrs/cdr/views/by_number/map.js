// Every call under each number that took part in it. Dashboards ask for their own numbers (policies/cdrs.toml).
function (doc) {
  if (doc.type !== 'cdr') return;
  emit([doc.from.number, doc.started], doc);
  emit([doc.to.number, doc.started], doc);
}
