// What a node must be by itself, and who may write it, for those who write past couchwarden too. What needs a
// look at other nodes (missing parents, loops, names that are taken) only couchwarden can check.
function (newDoc, oldDoc, userCtx) {
  var admin = userCtx.roles.indexOf('_admin') !== -1;
  var old = oldDoc && !oldDoc._deleted ? oldDoc : null;

  function refuse(reason) { throw ({ forbidden: reason }); }
  function isObject(value) { return typeof value === 'object' && value !== null && !Array.isArray(value); }
  function isList(value) {
    return Array.isArray(value) && value.every(function (id) { return typeof id === 'string' && id !== ''; });
  }
  function names(doc) {
    var admins = isObject(doc.metadata) && doc.metadata.nodeAdmins;
    return Array.isArray(admins) && admins.indexOf(userCtx.name) !== -1;
  }

  // The order of structural writes is couchwarden's own.
  if (newDoc._id === 'couchwarden:order') {
    if (!admin) refuse('this is not yours to write');
    return;
  }
  if (!admin && old && !names(old)) refuse('you may not write this node');
  if (newDoc._deleted) return;
  if (!admin && old && !names(newDoc)) refuse('you may not write this node');

  var metadata = newDoc.metadata;
  if (!isObject(metadata)) refuse('metadata must be an object');
  if (metadata.nodeId !== newDoc._id) refuse('metadata.nodeId must be the id of the document');
  if (newDoc._attachments) refuse('a node has no attachments');
  var known = ['nodeId', 'authorization', 'parents', 'nodeAdmins', 'nodeCreator', 'nodeCtime'];
  Object.keys(metadata).forEach(function (name) {
    if (known.indexOf(name) === -1) refuse('metadata.' + name + ' is not known');
  });
  ['parents', 'nodeAdmins'].forEach(function (name) {
    if (metadata[name] !== undefined && !isList(metadata[name])) refuse('metadata.' + name + ' must be a list of ids');
  });
  if (metadata.parents && metadata.parents.indexOf(newDoc._id) !== -1) refuse('a node is not its own parent');
  var authorization = metadata.authorization;
  if (authorization === undefined) return;
  if (!isObject(authorization) || authorization.type !== 'bcrypt' || typeof authorization.crypted !== 'string'
      || Object.keys(authorization).length !== 2) {
    refuse('metadata.authorization must be a bcrypt hash');
  }
  if (!admin && !(old && isObject(old.metadata) && old.metadata.authorization)) {
    refuse('only administrators make user nodes here');
  }
}
