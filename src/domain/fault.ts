/**
 * Every error a caller may see: a stable code, its HTTP status and its text, in which `{name}` is filled
 * from the fault's detail. Anything thrown that is not a Fault is a bug and becomes a 500.
 */
export const FAULTS = {
  bad_request: { status: 400, text: "{reason}" },
  body_not_allowed: { status: 400, text: "This call takes no request body." },
  body_required: { status: 400, text: "A JSON request body is required." },
  body_malformed: { status: 400, text: "The request body is not valid JSON: {reason}" },
  body_too_large: { status: 413, text: "The request body is larger than {maxBytes} bytes." },
  invalid_value: { status: 400, text: "Invalid value for {name}: {reason}" },
  invalid_parameter: { status: 400, text: "Invalid query parameter {name}: {reason}" },
  invalid_marker: {
    status: 400,
    text: "The marker names no image that this list could start after.",
  },
  invalid_encoding: { status: 400, text: "The {part} of the address is not valid UTF-8." },
  unsupported_characters: {
    status: 400,
    text: "{name} has a character beyond U+FFFF, which image records cannot hold.",
  },
  formats_missing: {
    status: 400,
    text: "Set {missing} on image {imageId} before you upload data to it.",
  },
  size_exceeded: {
    status: 400,
    text: "The data exceeds the {declared} bytes that were announced; nothing was stored.",
  },
  size_mismatch: {
    status: 400,
    text: "The data has {received} bytes: a mismatch with the {declared} that were announced; nothing was stored.",
  },
  size_unannounced: {
    status: 413,
    text: "Data of unannounced size may have {maximum} bytes at the most. Announce the size with the header x-openstack-image-size.",
  },
  body_broken_off: {
    status: 400,
    text: "The request body broke off before its end; nothing was stored.",
  },
  uri_refused: { status: 400, text: "The address is refused: {reason}" },
  source_rejected: { status: 400, text: "The source does not give the data: {reason}" },
  image_unpackable: { status: 400, text: "The data cannot be unpacked: {reason}" },
  hash_mismatch: {
    status: 400,
    text: "The data has the {algorithm} {actual}, not {expected} as was expected.",
  },
  import_timed_out: {
    status: 400,
    text: "The import was not done within the time that imports may take.{reason}",
  },
  signature_unusable: {
    status: 400,
    text: "The signature of the image cannot be verified: {reason}.",
  },
  signature_mismatch: {
    status: 400,
    text: "The signature of the image is not one of this data by the image's certificate.",
  },
  store_unknown: { status: 400, text: "There is no store '{storeId}'." },
  range_unsupported: {
    status: 400,
    text: "The server that has the data gives no ranges of it. Ask for the whole.",
  },
  location_exists: {
    status: 400,
    text: "The image already has this location with the same metadata.",
  },
  locations_differ: {
    status: 400,
    text: "The image has other locations than these; only their metadata can be replaced.",
  },
  store_read_only: { status: 400, text: "The store '{storeId}' is read-only." },
  stores_ambiguous: {
    status: 400,
    text: "The request says in several ways which stores are meant, with {given}. Choose one of them.",
  },
  store_has_copy: {
    status: 400,
    text: "Image {imageId} already has a copy in the store '{storeId}'. Leave that store out.",
  },
  import_method_disabled: {
    status: 400,
    text: "The import method '{name}' is not enabled. Enabled methods: {enabled}.",
  },
  multiple_ranges: { status: 400, text: "Only one range a request is supported." },
  unauthorized: { status: 401, text: "{reason}" },
  upload_final: { status: 403, text: "A final upload takes no bytes of its own." },
  forbidden: { status: 403, text: "You are not authorized to complete {rule} action." },
  forbidden_reason: { status: 403, text: "{reason}" },
  property_read_only: { status: 403, text: "Property '{name}' is read-only." },
  property_reserved: { status: 403, text: "Property '{name}' is reserved." },
  property_protected: {
    status: 403,
    text: "You are not permitted to {operation} the property '{name}'.",
  },
  property_not_removable: { status: 403, text: "Property '{name}' may not be removed." },
  property_fixed: {
    status: 403,
    text: "Property '{name}' cannot be changed while the image is in status {status}.",
  },
  image_protected: { status: 403, text: "Image {imageId} is protected and cannot be deleted." },
  image_deactivated: {
    status: 403,
    text: "The requested image has been deactivated. Image data download is forbidden.",
  },
  not_shared: { status: 403, text: "Only shared images have members." },
  namespace_protected: {
    status: 403,
    text: "The namespace '{name}' is protected: nothing of it can be deleted.",
  },
  last_copy: {
    status: 403,
    text: "Image {imageId} has one copy only, which cannot be removed; delete the image instead.",
  },
  wrong_status: {
    status: 403,
    text: "Cannot {action} image {imageId}: it is in status {status}.",
  },
  not_found: { status: 404, text: "The resource could not be found." },
  identity_not_found: { status: 404, text: "Could not find {what}." },
  upload_not_found: {
    status: 404,
    text: "There is no upload {uploadId}: it was never there, has expired, or was given up.",
  },
  image_not_found: { status: 404, text: "No image found with ID {imageId}" },
  member_not_found: {
    status: 404,
    text: "{memberId} not found in the member list of the image {imageId}.",
  },
  task_not_found: { status: 404, text: "No task found with ID {taskId}" },
  tag_not_found: { status: 404, text: "Image {imageId} does not have the tag {tag}." },
  metadef_not_found: { status: 404, text: "There is no {kind} '{name}'." },
  data_not_found: { status: 404, text: "The data of image {imageId} is no longer in its store." },
  not_in_store: { status: 404, text: "Image {imageId} has no copy in the store '{storeId}'." },
  method_not_allowed: {
    status: 405,
    text: "The method {method} is not allowed for this resource.",
  },
  image_exists: { status: 409, text: "Image ID {imageId} already exists!" },
  image_not_queued: {
    status: 409,
    text: "Image {imageId} is in status {status}; data can be uploaded only while it is queued.",
  },
  upload_offset: {
    status: 409,
    text: "The upload goes on at byte {current}, not at {offset}. Ask for its offset and go on from there.",
  },
  upload_incomplete: {
    status: 409,
    text: "The partial upload {uploadId} does not have all its bytes yet.",
  },
  upload_overlaps: {
    status: 409,
    text: "The partial upload {uploadId} has bytes at the same place. Go on with it, or delete it.",
  },
  upload_superseded: {
    status: 409,
    text: "This upload to image {imageId} was given up because no data came for too long. Upload again.",
  },
  metadef_exists: { status: 409, text: "There is a {kind} '{name}' already." },
  namespace_changed: {
    status: 409,
    text: "The namespace '{name}' was changed at the same time, again and again. Try again.",
  },
  property_exists: { status: 409, text: "Property {name} already present." },
  property_missing: { status: 409, text: "Property {name} does not exist." },
  member_exists: {
    status: 409,
    text: "The target member {memberId} is already associated with image {imageId}.",
  },
  store_in_conflict: { status: 409, text: "There is no store '{storeId}'." },
  staging_incomplete: {
    status: 409,
    text: "The data of image {imageId} is still being staged. Import it when that is done.",
  },
  store_not_writable: {
    status: 409,
    text: "The store '{storeId}' is read-only. Leave it out.",
  },
  import_wrong_status: {
    status: 409,
    text: "Image {imageId} is in status {status}; {method} imports into an image that is {needed}.",
  },
  import_formats_missing: {
    status: 409,
    text: "Set {missing} on image {imageId} before you import data into it.",
  },
  import_under_way: {
    status: 409,
    text: "Task {taskId} is importing into image {imageId}. Wait for its end and try again.",
  },
  image_not_active: {
    status: 409,
    text: "Image {imageId} is in status {status}; copies are removed only while it is active.",
  },
  locations_fixed: {
    status: 409,
    text: "The locations of image {imageId} cannot be changed so while it is in status {status}.",
  },
  validation_conflict: {
    status: 409,
    text: "The validation data cannot be taken over: {reason}.",
  },
  image_changed: { status: 409, text: "Image {imageId} was changed at the same time. Try again." },
  signature_changed: {
    status: 409,
    text: "The properties of the image's signature were changed while its data came, so it was not verified. Try again.",
  },
  formats_changed: {
    status: 409,
    text: "The formats of the image were changed while its data came, again and again.",
  },
  image_gone: {
    status: 410,
    text: "Image {imageId} was deleted while its data was uploaded; the data was dropped.",
  },
  parts_lost: {
    status: 410,
    text: "The store no longer has what came of this upload so far. Upload the data again from its beginning.",
  },
  tus_version_unknown: {
    status: 412,
    text: "Send the header Tus-Resumable: {version}, the version of the protocol that is spoken here.",
  },
  precondition_failed: {
    status: 412,
    text: "The image does not match the request's precondition.",
  },
  quota_exceeded: { status: 413, text: "Attempted: {attempted} {what}, maximum: {maximum}." },
  quota_over: {
    status: 413,
    text: "{name} is over limit of {maximum} due to current usage {usage} and delta {delta}",
  },
  image_too_large: {
    status: 413,
    text: "The image is larger than the {maximum} bytes an image may have.",
  },
  body_over_limit: {
    status: 413,
    text: "This service takes at most {maximum} bytes in one request. Send more in pieces, with `glimpse upload` or any tus client at /v2/images/{imageId}/uploads, or have it imported from an address: see docs/uploads.md.",
  },
  unsupported_media_type: {
    status: 415,
    text: "Unsupported Content-Type '{given}'. Send {accepted}.",
  },
  content_refused: { status: 415, text: "The data is refused: {reason}." },
  range_not_satisfiable: { status: 416, text: "The requested range is not satisfiable." },
  upload_locked: {
    status: 423,
    text: "Another request is adding bytes to this upload. Try again in a moment.",
  },
  too_many_failures: {
    status: 429,
    text: "Too many sign-ins have failed. Try again in {retryAfter} seconds.",
  },
  request_id_too_long: {
    status: 431,
    text: "The X-Openstack-Request-ID header is longer than {maximum} characters.",
  },
  checksum_mismatch: {
    status: 460,
    text: "The bytes do not have the {algorithm} that came with them; they were dropped.",
  },
  internal: {
    status: 500,
    text: "The server has failed to perform this operation. Request id: {requestId}",
  },
  unknown_method: { status: 501, text: "The method {method} is not known." },
  schema_incomplete: {
    status: 503,
    text: "The database is not up to date: {missing}. `npm run deploy` applies the migrations that it lacks.",
  },
  misdirected: {
    status: 421,
    text: "The development users, whose passwords are public, are served under this machine's own addresses only. The variable DEVELOPMENT_HOSTS names further ones.",
  },
  origin_refused: {
    status: 403,
    text: "The development users, whose passwords are public, are served to pages of this machine only. The variable CORS_ALLOWED_ORIGINS names the origins of further ones.",
  },
  misconfigured: { status: 503, text: "{reason}" },
  store_unavailable: {
    status: 503,
    text: "The image store did not take or give the data. Try again.",
  },
  copy_differs: { status: 503, text: "The store gave back other data than was put there." },
  source_changed: {
    status: 503,
    text: "The data at the source was replaced while it was read, again and again.",
  },
  resolver_unreachable: {
    status: 503,
    text: "The resolver of RESOLVER_URL, which is asked for the addresses of host names, could not be used: {reason}. Try again; if it stays so, the operator has to correct that setting.",
  },
  source_unreachable: { status: 503, text: "The source could not be read: {reason}" },
  sign_ins_waiting: {
    status: 503,
    text: "Too many sign-ins are waiting for their turn. Try again in {retryAfter} seconds.",
  },
  try_again: { status: 503, text: "The service could not do this just now. Try again." },
} as const satisfies Record<string, { status: number; text: string }>;

export type FaultCode = keyof typeof FAULTS;

/** What fills a fault's text. Values come back to the caller, so they hold nothing secret. */
export type FaultDetail = Readonly<Record<string, string | number>>;

/** An error the caller may see; `http/errors.ts` turns it into a response. */
export class Fault extends Error {
  readonly code: FaultCode;
  readonly detail: FaultDetail;
  readonly status: number;

  constructor(code: FaultCode, detail: FaultDetail = {}, cause?: unknown) {
    super(code, cause === undefined ? undefined : { cause });
    this.code = code;
    this.detail = detail;
    this.name = "Fault";
    this.status = FAULTS[code].status;
  }

  /** The sentence for the caller. */
  get text(): string {
    return FAULTS[this.code].text.replace(/\{(\w+)\}/g, (_, name: string) =>
      String(this.detail[name] ?? name),
    );
  }
}
