// Whoever changes a message signs it with their name. Administrators need not, nor does the replication that brings what
// others have written.
function (newDoc, oldDoc, userCtx) {
  var brings = userCtx.roles.some(function (role) { return role.indexOf('couchwarden:replication:') === 0; });
  if (brings || userCtx.roles.indexOf('_admin') !== -1) return;
  if (newDoc.updated_by !== userCtx.name) throw ({ forbidden: 'updated_by must be your name' });
}
