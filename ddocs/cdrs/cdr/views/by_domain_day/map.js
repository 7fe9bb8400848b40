// Seconds of talk for each domain and day.
function (doc) {
  if (doc.type !== 'cdr') return;
  var day = doc.started.slice(0, 10);
  emit([doc.from.domain, day], doc.seconds);
  if (doc.to.domain !== doc.from.domain) emit([doc.to.domain, day], doc.seconds);
}
