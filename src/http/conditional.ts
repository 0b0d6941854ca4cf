/** What a request's preconditions come to. */
export type Preconditions =
  | {
      readonly outcome: "proceed";
      /** False when the client's copy is of other data: Range is ignored, the whole is sent. */
      readonly rangeApplies: boolean;
    }
  /** Answer 304. */
  | { readonly outcome: "not_modified" }
  /** Answer 412. */
  | { readonly outcome: "precondition_failed" };

/** The strong validator of an image's data: its hash (RFC 9110 §8.8.3). */
export function strongEtag(osHashValue: string): string {
  return `"${osHashValue}"`;
}

/**
 * Evaluates the conditions of a GET or HEAD on existing data in the order of RFC 9110 §13.2.2;
 * `etag` is undefined for data without a known hash. Data carries no Last-Modified, so conditions
 * on dates are ignored, and a date in If-Range never matches. A header that is not well-formed
 * names no tag at all: the caller is then told nothing stale, and nothing happens that it wanted to
 * prevent.
 */
export function evaluateConditions(headers: Headers, etag: string | undefined): Preconditions {
  const ifMatch = headers.get("if-match");
  if (ifMatch !== null && !matches(ifMatch, etag, isStrongMatch)) {
    return { outcome: "precondition_failed" };
  }
  const ifNoneMatch = headers.get("if-none-match");
  if (ifNoneMatch !== null && matches(ifNoneMatch, etag, isWeakMatch)) {
    return { outcome: "not_modified" };
  }
  const ifRange = headers.get("if-range");
  return {
    outcome: "proceed",
    rangeApplies: ifRange === null || isStrongMatch(ifRange, etag),
  };
}

type Comparison = (candidate: string, etag: string | undefined) => boolean;

function matches(header: string, etag: string | undefined, isMatch: Comparison): boolean {
  if (header === "*") return true;
  return parseEtags(header).some((candidate) => isMatch(candidate, etag));
}

/** RFC 9110 §8.8.3.2. Our own tags are strong, and a weak one never equals them. */
function isStrongMatch(candidate: string, etag: string | undefined): boolean {
  return candidate === etag;
}

function isWeakMatch(candidate: string, etag: string | undefined): boolean {
  return candidate.replace(/^W\//, "") === etag;
}

// A list element is an entity tag or empty (RFC 9110 §5.6.1, §8.8.3). Tags may hold commas. A run
// of blanks can match in one place only, so that a hostile header costs no time.
const LIST_ELEMENT = /[ \t]*(?:((?:W\/)?"[!#-~\x80-\xff]*")[ \t]*)?(?:,|$)/y;

function parseEtags(header: string): string[] {
  const etags: string[] = [];
  let position = 0;
  while (position < header.length) {
    LIST_ELEMENT.lastIndex = position;
    const match = LIST_ELEMENT.exec(header);
    if (match === null) return [];
    if (match[1] !== undefined) etags.push(match[1]);
    position = LIST_ELEMENT.lastIndex;
  }
  return etags;
}
