import { describe, expect, it } from "vitest";
import { assertMove, STATUSES } from "../../../src/domain/status.ts";

describe("the status machine", () => {
  const legal = new Set([
    ...["queued>saving", "saving>active", "saving>queued", "saving>killed", "queued>uploading"],
    ...["uploading>queued", "uploading>importing", "queued>importing", "importing>active"],
    ...["importing>queued", "queued>active", "active>deactivated", "deactivated>active"],
    ...["pending_delete>deleted", "pending_delete>active", "queued>deleted", "saving>deleted"],
    ...["uploading>deleted", "importing>deleted", "active>deleted", "deactivated>deleted"],
    ...["killed>deleted"],
  ]);

  it("has the moves of the contract's table and no other", () => {
    for (const from of STATUSES) {
      for (const to of STATUSES) {
        const move = () => assertMove(from, to);
        if (from === to || legal.has(`${from}>${to}`)) expect(move).not.toThrow();
        else expect(move, `${from}>${to}`).toThrow(`from ${from} to ${to}`);
      }
    }
  });
});
