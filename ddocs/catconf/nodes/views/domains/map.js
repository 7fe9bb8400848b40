// Nodes that others inherit from: those without authorization.
function (doc) {
  if (doc.metadata && doc.metadata.nodeId === doc._id && !doc.metadata.authorization) emit(doc._id, null);
}
