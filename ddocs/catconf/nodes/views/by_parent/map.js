// The children of each node.
function (doc) {
  if (doc.metadata && Array.isArray(doc.metadata.parents)) {
    doc.metadata.parents.forEach(function (parent) { emit(parent, null); });
  }
}
