// Whoever changes a message signs it with his name. Administrators need not.
function (newDoc, oldDoc, userCtx) {
  if (userCtx.roles.indexOf('_admin') !== -1) return;
  if (newDoc.updated_by !== userCtx.name) throw ({ forbidden: 'updated_by must be your name' });
}
