/** A request as a case makes it for the nth time. */
export interface CaseRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Many small requests, several at a time. */
export interface SmallCase {
  readonly kind: "small";
  readonly name: string;
  /** The ratio to the floor that is asked for. */
  readonly goal?: number;
  request(n: number): CaseRequest;
  floor(n: number): CaseRequest;
  /** Other Image APIs do not have the data that this case is about. */
  readonly isOwn?: boolean;
  /** It is about bytes, so there is a floor of workerd's disk service as well. */
  readonly isBytes?: boolean;
}

/** One thing at a time that moves many bytes. */
export interface BytesCase {
  readonly kind: "bytes";
  readonly name: string;
  readonly goal?: number;
  readonly sizeMiB: number;
  readonly isLarge?: boolean;
  /** Does it once, and gives the seconds of the part that counts. */
  run(on: Target): Promise<number>;
  floor(on: Target): Promise<number>;
}

export type Case = SmallCase | BytesCase;

/** Something that answers requests. */
export interface Target {
  readonly name: string;
  /** May have a path, which is put before that of each request. */
  readonly url: string;
  /** Sent with every request. */
  readonly headers: Readonly<Record<string, string>>;
}
