// What the machine of the tests consists of: Debian's own image for EC2, as its recipe names it (debian-cloud-images,
// classes DEBIAN, SYSTEM_BOOT, CLOUD, EC2, EXTRAS), less what a test does not need. A change here is a new image.

import { createHash } from "node:crypto";
import { aptSources, readDistribution } from "../base/sources.mjs";
import { hostArchitecture, SetupError } from "../setup/context.mjs";

/** @typedef {"amd64" | "arm64"} Architecture */

/**
 * Left out of Debian's list, each with the reason; everything else that it installs on EC2 is there.
 *
 * - grub: QEMU boots the kernel itself.
 * - awscli: on Debian's and Amazon's images, not on Ubuntu's; a script that needed it would pass here and fail there.
 * - netplan.io: cloud-init writes systemd-networkd's files itself then, as it does on Amazon Linux 2023; "netplan apply"
 *   alone takes 40 s of an emulated processor.
 * - openssh-server, ssh-import-id: a builder has no SSH.
 * - unattended-upgrades, apt-listchanges, reportbug, man-db, editors: there is nothing to fetch from, and nobody logs in.
 */
const PACKAGES = [
    ...["cloud-init", "cloud-guest-utils", "amazon-ec2-utils", "cloud-initramfs-growroot"],
    ...["init", "libpam-systemd", "systemd-resolved", "libnss-myhostname", "systemd-timesyncd", "polkitd"],
    ...["apparmor", "zstd", "iptables", "iproute2", "iputils-ping", "netbase", "less", "sudo", "procps", "psmisc"],
    ...["ca-certificates", "curl", "ethtool", "pciutils", "socat", "uuid-runtime", "xz-utils", "bash-completion"],
    // Priority "important" on Debian, and so in every one of its images.
    ...["dbus", "e2fsprogs", "fdisk", "kmod", "logrotate", "openssh-client", "udev", "whiptail", "cron"],
    // Not Debian's: by it a test looks into the machine.
    "qemu-guest-agent",
];

/** Programs that BuildKit's release carries beside its own two: here they are Debian's, taken out of these packages. */
const RELEASE_PACKAGES = ["runc", "containernetworking-plugins"];

/** Files that differ from what the packages install; where Debian's image has the file, this is its content. */
const FILES = {
    "etc/fstab": "/dev/vda / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n",
    "etc/hostname": "",
    "etc/machine-id": "",
    "etc/cloud/cloud.cfg.d/01_debian_cloud.cfg": `system_info:
  default_user:
    name: admin
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
    lock_passwd: True
    gecos: Debian
    groups: [adm, audio, cdrom, dialout, dip, floppy, plugdev, sudo, video]
`,
    // Not Debian's. There is one kind of metadata, no mirrors to look for, no locales to make, and four host keys take long.
    "etc/cloud/cloud.cfg.d/99_test.cfg": `datasource_list: [Ec2]
datasource: {Ec2: {strict_id: false}}
apt: {preserve_sources_list: true}
locale: "off"
ssh_genkeytypes: [ed25519]
grub_dpkg: {enabled: false}
`,
};

/** Units that would fetch from the network, look for what is not there, or compile profiles for programs nobody runs here. */
const MASKED = [
    ...["apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service"],
    ...["apparmor.service", "systemd-pstore.service", "modprobe@drm.service", "modprobe@efi_pstore.service"],
];

const DISK_SIZE = "6G";

/**
 * UEFI for an arm64 machine, as Graviton has it: Linux on ARM learns of DMI tables, by which EC2 is known, from nothing else.
 * Debian's package qemu-efi-aarch64 has it here.
 */
export const ARM_FIRMWARE = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd";

/** The architecture of the machine that the tests boot: `BUILDFLEET_VM_ARCH`, or this machine's own. */
export function machineArchitecture(env = process.env) {
    const wanted = env.BUILDFLEET_VM_ARCH || hostArchitecture();
    if (wanted === "amd64" || wanted === "arm64") return wanted;
    throw new SetupError(`"${wanted}" is no architecture of a machine`, "amd64 or arm64");
}

/** Whether the image can be made here. */
export const canMakeImage = () => readDistribution().distribution === "debian";

/**
 * @param {Architecture} architecture
 * @returns {{packages: string[], key: string}} `key` names the image
 */
export function recipe(architecture) {
    const { distribution, suite } = readDistribution();
    if (distribution !== "debian") {
        throw new SetupError(
            `the machine's image is made of Debian's packages, and this is ${distribution}`,
            "run test:vm on Debian; the other tests run here: npm test -- --project '!vm'",
        );
    }
    const packages = [`linux-image-cloud-${architecture}`, ...PACKAGES];
    const parts = [packages, RELEASE_PACKAGES, suite, aptSources(architecture), customizeHook("", "")];
    const key = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
    return { packages, key };
}

/**
 * Script for mmdebstrap, after the packages are installed; `$1` is the new root.
 *
 * @param {string} output folder that gets disk.raw, vmlinuz, initrd, packages.txt and programs/
 * @param {string} scratch
 */
export function customizeHook(output, scratch) {
    const files = Object.entries(FILES).map(
        ([path, content]) => `mkdir -p "$(dirname ${path})"\ncat > ${path} <<'END'\n${content}END`,
    );
    return `
set -e
cd "$1"
${files.join("\n")}
ln -sf /run/systemd/resolve/resolv.conf etc/resolv.conf
chroot . systemctl enable systemd-networkd.service systemd-resolved.service
chroot . systemctl mask ${MASKED.join(" ")}
chroot . dpkg-query --show > ${output}/packages.txt
cp boot/vmlinuz-* ${output}/vmlinuz
cp boot/initrd.img-* ${output}/initrd
mkdir -p ${scratch}/packages ${scratch}/root ${output}/programs
(cd ${scratch}/packages && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download ${RELEASE_PACKAGES.join(" ")})
for package in ${scratch}/packages/*.deb; do dpkg-deb -x "$package" ${output}/programs; done
rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/*.log var/log/apt tmp/* run/*
mount --bind . ${scratch}/root
mke2fs -q -t ext4 -L root -d ${scratch}/root -E lazy_itable_init=0,lazy_journal_init=0 -N 200000 ${output}/disk.raw ${DISK_SIZE}
umount ${scratch}/root
`;
}
