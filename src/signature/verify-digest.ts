/** Whether a signature, bound to its key and hash, is the one of a digest. */
export type VerifyDigest = (digest: Uint8Array<ArrayBuffer>) => Promise<boolean>;
