// @ts-check
// How a file is cut: into ranges that are sent at the same time, and those into requests.

const MiB = 1024 ** 2;

/** Below the 100 MB that Cloudflare takes as a request's body on its smaller plans. */
export const DEFAULT_CHUNK_BYTES = 64 * MiB;

/**
 * The bytes of a request: a multiple of the service's parts, if one fits.
 * @param {number} wanted
 * @param {number | undefined} partBytes
 */
export function chooseChunkBytes(wanted, partBytes) {
  if (partBytes === undefined || partBytes > wanted) return wanted;
  return wanted - (wanted % partBytes);
}

/**
 * The ranges of a file that are sent at the same time, each of them whole parts; fewer than wanted where there are
 * not as many parts.
 * @param {number} size bytes
 * @param {number} parallel
 * @param {number | undefined} partBytes without it the file cannot be cut
 * @returns {{offset: number, length: number}[]}
 */
export function cutFile(size, parallel, partBytes) {
  const parts = partBytes === undefined ? 1 : Math.ceil(size / partBytes);
  const ranges = Math.min(parallel, parts);
  if (partBytes === undefined || ranges <= 1) return [{ offset: 0, length: size }];
  return Array.from({ length: ranges }, (_, n) => {
    const offset = Math.floor((n * parts) / ranges) * partBytes;
    const end = Math.min(Math.floor(((n + 1) * parts) / ranges) * partBytes, size);
    return { offset, length: end - offset };
  });
}
