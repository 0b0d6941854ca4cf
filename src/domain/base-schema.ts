import { UUID_PATTERN } from "../lib/uuid.ts";
import { VISIBILITIES } from "./image.ts";
import type { ValueSchema } from "./json-schema.ts";
import type { Limits } from "./limits.ts";
import { STATUSES } from "./status.ts";

const TEXT_OR_NULL = ["null", "string"] as const;
const INTEGER_OR_NULL = ["null", "integer"] as const;

/** What `locations` may hold in a request (contract SI-25 … SI-28). */
const LOCATIONS: ValueSchema = {
  description: "Where the data lies",
  type: "array",
  items: {
    type: "object",
    required: ["url", "metadata"],
    properties: {
      url: { type: "string", maxLength: 255 },
      metadata: { type: "object" },
      validation_data: {
        description: "Hashes the data must have; given in requests only",
        type: "object",
        writeOnly: true,
        additionalProperties: false,
        required: ["os_hash_algo", "os_hash_value"],
        properties: {
          checksum: { type: "string", minLength: 32, maxLength: 32 },
          os_hash_algo: { type: "string", maxLength: 64 },
          os_hash_value: { type: "string", maxLength: 128 },
        },
      },
    },
  },
};

/** The properties every image has (contract SI-1 … SI-28). */
export function baseSchemas(limits: Limits): Readonly<Record<string, ValueSchema>> {
  return {
    id: { description: "The image's id, a UUID", type: "string", pattern: UUID_PATTERN },
    name: { description: "A name; need not be unique", type: TEXT_OR_NULL, maxLength: 255 },
    status: {
      description: "How far the image has come",
      type: "string",
      readOnly: true,
      enum: STATUSES,
    },
    visibility: { description: "Who may see the image", type: "string", enum: VISIBILITIES },
    protected: { description: "Whether the image is kept from being deleted", type: "boolean" },
    os_hidden: { description: "Whether lists leave the image out by default", type: "boolean" },
    checksum: {
      description: "MD5 of the data, in hex",
      type: TEXT_OR_NULL,
      readOnly: true,
      maxLength: 32,
    },
    os_hash_algo: {
      description: "The hash that os_hash_value was made with",
      type: TEXT_OR_NULL,
      readOnly: true,
      maxLength: 64,
    },
    os_hash_value: {
      description: "Hash of the data by os_hash_algo, in hex",
      type: TEXT_OR_NULL,
      readOnly: true,
      maxLength: 128,
    },
    owner: { description: "The project the image belongs to", type: TEXT_OR_NULL, maxLength: 255 },
    size: { description: "Bytes of data", type: INTEGER_OR_NULL, readOnly: true },
    virtual_size: {
      description: "Bytes of the disk within",
      type: INTEGER_OR_NULL,
      readOnly: true,
    },
    container_format: {
      description: "What the data is wrapped in",
      type: TEXT_OR_NULL,
      enum: [null, ...limits.containerFormats],
    },
    disk_format: {
      description: "The format of the disk within",
      type: TEXT_OR_NULL,
      enum: [null, ...limits.diskFormats],
    },
    created_at: {
      description: "When the image was created, in UTC",
      type: "string",
      readOnly: true,
    },
    updated_at: {
      description: "When the image was last changed, in UTC",
      type: "string",
      readOnly: true,
    },
    tags: {
      description: "A set of words to find the image by",
      type: "array",
      items: { type: "string", maxLength: 255 },
    },
    direct_url: { description: "Where the store keeps the data", type: "string", readOnly: true },
    min_ram: { description: "Memory needed to boot the image, in MB", type: "integer" },
    min_disk: { description: "Disk needed to boot the image, in GB", type: "integer" },
    self: { description: "Address of the image", type: "string", readOnly: true },
    file: { description: "Address of the image's data", type: "string", readOnly: true },
    stores: { description: "Ids of the stores that hold the data", type: "string", readOnly: true },
    schema: { description: "Address of this document", type: "string", readOnly: true },
    locations: LOCATIONS,
  };
}
