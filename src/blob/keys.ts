/**
 * Every key in a bucket:
 *
 *     blobs/
 *     └── {image_id}/          the image whose bytes these are
 *         └── {attempt_id}     one upload attempt; an image's record names the one that counts
 *
 * An attempt has its own key, so nothing is ever written over bytes that somebody may be reading.
 */

/** The key of one upload attempt's bytes. */
export function blobKey(imageId: string, attemptId: string): string {
  return `blobs/${asUuid(imageId)}/${asUuid(attemptId)}`;
}

// Image ids are the caller's choice. They are checked where they enter (contract CRE-3); here a
// second time, since a slash or a dot that slipped through would reach another image's bytes.
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function asUuid(id: string): string {
  if (!UUID.test(id)) throw new Error("a blob key is made of UUIDs only");
  return id;
}
