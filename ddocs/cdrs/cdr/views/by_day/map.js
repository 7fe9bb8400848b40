// Seconds of talk for each number and day.
function (doc) {
  if (doc.type !== 'cdr') return;
  var day = doc.started.slice(0, 10);
  emit([doc.from.number, day], doc.seconds);
  emit([doc.to.number, day], doc.seconds);
}
