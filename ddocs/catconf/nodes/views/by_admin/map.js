// The nodes that a user may write.
function (doc) {
  if (doc.metadata && Array.isArray(doc.metadata.nodeAdmins)) {
    doc.metadata.nodeAdmins.forEach(function (name) { emit(name, null); });
  }
}
