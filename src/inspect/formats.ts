import type { Format } from "./format.ts";
import { gpt } from "./gpt.ts";
import { iso } from "./iso.ts";
import { luks } from "./luks.ts";
import { qcow2 } from "./qcow2.ts";
import { qed } from "./qed.ts";
import { vdi } from "./vdi.ts";
import { vhd } from "./vhd.ts";
import { vhdx } from "./vhdx.ts";
import { vmdk } from "./vmdk.ts";

/** Every format that can be told from its content; what is none of them is raw. */
export const FORMATS: readonly Format[] = [qcow2, qed, vhd, vhdx, vmdk, vdi, iso, gpt, luks];
