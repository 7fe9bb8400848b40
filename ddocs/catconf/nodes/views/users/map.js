// Nodes that users log in by.
function (doc) {
  if (doc.metadata && doc.metadata.nodeId === doc._id && doc.metadata.authorization) emit(doc._id, null);
}
