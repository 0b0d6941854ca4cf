import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseS3Document, renderCompletion } from "../../../src/blob/s3-xml.ts";

const fieldsOf = (text: string) => Object.fromEntries(parseS3Document(text)?.fields ?? []);

describe("S3's documents", () => {
  it("UPL-1: are a root and its children's texts", () => {
    const text = `<?xml version="1.0" encoding="UTF-8"?>
<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Bucket>images</Bucket><Key>a/b</Key>
  <UploadId type="x">VXBsb2Fk~.-_</UploadId><Empty/><Also with="/"></Also>
</InitiateMultipartUploadResult>
`;
    expect(parseS3Document(text)?.root).toBe("InitiateMultipartUploadResult");
    expect(fieldsOf(text)).toEqual({
      Bucket: "images",
      Key: "a/b",
      UploadId: "VXBsb2Fk~.-_",
      Empty: "",
      Also: "",
    });
  });

  it.each([
    ["&lt;&amp;&gt;&quot;&apos;", "<&>\"'"],
    ["&#34;&#x22;&#x1F600;", '""😀'],
    ["&amp;lt;", "&lt;"],
    ["&unknown; & &#; &#x;", "&unknown; & &#; &#x;"],
    ["&#9999999;", "&#9999999;"],
  ])("UPL-1: the text %j means %j", (written, meant) => {
    expect(fieldsOf(`<Error><Code>${written}</Code></Error>`)).toEqual({ Code: meant });
  });

  it.each([
    "",
    "plain",
    "<Error>",
    "<Error></Fault>",
    "<Error><Code>A</Error>",
    "<Error><Code>A</Kode></Error>",
    "<Error>text</Error>",
    "<Error><Code><Deep/></Code></Error>",
    "<Error><!-- x --><Code>A</Code></Error>",
    "<!DOCTYPE Error [<!ENTITY e 'x'>]><Error><Code>&e;</Code></Error>",
    "<Error><Code>A</Code></Error><Error/>",
    "<html><body>503</body><br></html>",
  ])("STO-13: %j is none", (text) => {
    expect(parseS3Document(text)).toBeUndefined();
  });

  it("STO-13: any text is a document or none", () => {
    const piece = fc.constantFrom(
      "<",
      ">",
      "/",
      "Error",
      "Code",
      "?",
      "&",
      "#x",
      ";",
      " ",
      "<Error>",
      "</Error>",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string())), (pieces) => {
        expect(() => parseS3Document(pieces.join(""))).not.toThrow();
      }),
    );
  });

  it("UPL-1: an ETag comes back as it was written", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (etag) => {
        const text = renderCompletion([{ partNumber: 1, etag }]);
        const [part = ""] = /<Part>.*<\/Part>/s.exec(text) ?? [];
        expect(fieldsOf(part)).toEqual({ PartNumber: "1", ETag: etag });
      }),
    );
  });
});
