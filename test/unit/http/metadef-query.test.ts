import { describe, expect, it } from "vitest";
import {
  checkObjectList,
  parseNamespaceList,
  parseResourceType,
  parseTagList,
} from "../../../src/http/metadef-query.ts";
import { limits } from "../domain/builders.ts";

const list = (search: string) => parseNamespaceList(search, limits);
const refused = expect.objectContaining({ code: "invalid_parameter", status: 400 });

describe("a list of namespaces", () => {
  it("MN-64, MN-66, MN-67: has a page of 25, the newest first", () => {
    expect(list("")).toEqual({
      limit: 25,
      marker: undefined,
      sortKey: "createdAtMs",
      sortDirection: "desc",
      visibility: undefined,
      resourceTypes: undefined,
      include: new Set(),
    });
  });

  it("MN-64: limit is cut to 1000, and may be 0", () => {
    expect([list("limit=1001").limit, list("limit=0").limit]).toEqual([1000, 0]);
  });

  it.each([
    "limit=-1",
    "limit=x",
    "limit=",
    "limit=1.5",
    "sort_key=colour",
    "sort_key=",
    "sort_key=name",
    "sort_dir=up",
    "visibility=shared",
    "visibility=",
    "include=colour",
  ])("MN-64, MN-66, MN-67, MN-68: %s is refused", (search) => {
    expect(() => list(search)).toThrow(refused);
  });

  it.each([
    ...["id", "namespace", "display_name", "description", "visibility", "protected", "owner"],
    ...["created_at", "updated_at"],
  ])("MN-66: %s is a key to sort by", (key) => {
    expect(list(`sort_key=${key}`).sortKey).toBeTruthy();
  });

  it("MN-69: resource_types are separated by commas", () => {
    expect(list("resource_types=OS::A,,OS%3A%3AB+C").resourceTypes).toEqual(["OS::A", "OS::B C"]);
    expect(list("resource_types=").resourceTypes).toEqual([]);
  });

  it("MN-65: an empty marker is none", () => {
    expect(list("marker=").marker).toBeUndefined();
    expect(list("marker=OS%3A%3AA").marker).toBe("OS::A");
  });

  it("MN-70: takes no notice of others, and the last of two counts", () => {
    expect(list("namespace=x&zzz=1&limit=1&limit=2")).toEqual(list("limit=2"));
  });

  it("include names parts that come along, and shortens the page", () => {
    expect(list("include=objects,tags,properties").include).toEqual(
      new Set(["objects", "tags", "properties"]),
    );
    expect([list("include=tags&limit=1000").limit, list("include=tags&limit=7").limit]).toEqual([
      50, 7,
    ]);
    expect(list("include=&limit=1000")).toEqual(list("limit=1000"));
  });
});

it("MN-53, MN-54, MN-55: one namespace is shown for a resource type", () => {
  expect(parseResourceType("?resource_type=OS::A&zzz=1&visibility=public")).toBe("OS::A");
  expect(parseResourceType("?resource_type=&limit=x")).toBeUndefined();
  expect(() => parseResourceType("?visibility=community")).toThrow(refused);
});

it("MT-12: a list of tags is whole unless a limit is named", () => {
  expect(parseTagList("")).toEqual({
    limit: undefined,
    marker: undefined,
    sortKey: "createdAtMs",
    sortDirection: "desc",
  });
  for (const search of [
    "limit=-1",
    "limit=",
    "sort_key=colour",
    "sort_dir=",
    "visibility=shared",
  ]) {
    expect(() => parseTagList(search), search).toThrow(refused);
  }
});

it("MO-6: a list of objects checks what it takes no notice of", () => {
  for (const search of ["", "limit=1&marker=x&sort_key=colour&sort_dir=asc", "visibility=shared"]) {
    expect(() => checkObjectList(search), search).not.toThrow();
  }
  for (const search of ["limit=0", "limit=x", "sort_dir=up", "visibility=all"]) {
    expect(() => checkObjectList(search), search).toThrow(refused);
  }
});
