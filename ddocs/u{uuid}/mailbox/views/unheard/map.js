// What has not been listened to, oldest first.
function (doc) {
  if (doc.type === 'voicemail' && !doc.heard) emit(doc.received, { from: doc.from, seconds: doc.seconds });
}
