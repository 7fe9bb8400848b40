// The records of each customer, by kind and name.
function (doc) {
  var at = doc._id.lastIndexOf('@');
  if (at > 0) emit([doc._id.slice(at + 1), doc._id.slice(0, at)], doc.display_name);
}
