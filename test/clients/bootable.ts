import { execFile } from "node:child_process";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

const installer = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64";

/**
 * Makes a small bootable disk image as people upload them: Debian's network installer as a hybrid ISO,
 * which also boots as a disk. It needs the packages that .ci/run installs.
 */
export async function makeIso(dir: string): Promise<string> {
  const tree = join(dir, "tree");
  await mkdir(tree);
  await copyFile(join(installer, "linux"), join(tree, "linux"));
  await copyFile(join(installer, "initrd.gz"), join(tree, "initrd.gz"));
  await copyFile("/usr/lib/ISOLINUX/isolinux.bin", join(tree, "isolinux.bin"));
  await copyFile("/usr/lib/syslinux/modules/bios/ldlinux.c32", join(tree, "ldlinux.c32"));
  await writeFile(
    join(tree, "isolinux.cfg"),
    "default install\nlabel install\n  kernel /linux\n  append initrd=/initrd.gz\n",
  );
  const iso = join(dir, "mini.iso");
  await run("xorriso", [
    ...["-as", "mkisofs", "-quiet", "-o", iso],
    ...["-isohybrid-mbr", "/usr/lib/ISOLINUX/isohdpfx.bin"],
    ...["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4"],
    ...["-boot-info-table", tree],
  ]);
  return iso;
}

/** The same disk as a qcow2. */
export async function makeQcow2(dir: string, iso: string): Promise<string> {
  const qcow2 = join(dir, "mini.qcow2");
  await run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", iso, qcow2]);
  return qcow2;
}
