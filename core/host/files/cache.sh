#!/bin/bash
# The disk under BuildKit's cache: found, formatted only when blank, mounted by its UUID, grown when the volume grew.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# The volume's own id is its NVMe serial number (without the dash), whatever name the kernel gave the device.
find_volume() {
    local serial=${CACHE_VOLUME/-/} file
    for file in /sys/block/*/device/serial /sys/block/*/serial; do
        if [ -r "$file" ] && [ "$(tr -d ' \n' <"$file")" = "$serial" ]; then
            file=${file#/sys/block/}
            device=/dev/${file%%/*}
            return 0
        fi
    done
    for file in /dev/disk/by-id/*"$serial"; do
        [ -b "$file" ] || continue
        device=$(readlink -f "$file")
        return 0
    done
    return 1
}

# Of several disks the one that has our label (a reboot keeps them), else the first. No RAID: a lost disk would take all with it.
find_instance_store() {
    local model first=
    for model in /sys/block/nvme*/device/model; do
        grep -q 'Amazon EC2 NVMe Instance Storage' "$model" 2>/dev/null || continue
        device=${model#/sys/block/}
        device=/dev/${device%%/*}
        [ "$(blkid -p -s LABEL -o value "$device" || true)" != buildfleet ] || return 0
        first=${first:-$device}
    done
    device=$first
    [ -n "$device" ]
}

# probe <device>: "type" and "uuid" of what is there. Fails when the disk is blank: blkid finds nothing (2), and wipefs, which
# tells a disk that can't be read, agrees.
probe() {
    local found status=0
    found=$(blkid --probe --output export "$1") || status=$?
    type=$(sed -n 's/^TYPE=//p' <<<"$found")
    uuid=$(sed -n 's/^UUID=//p' <<<"$found")
    [ "$status" = 2 ] || return 0
    found=$(wipefs --noheadings "$1") || fail "$1 can't be read"
    [ -n "$found" ]
}

# ext4, because all three distributions have its tools in their images. Caches are many small files, so twice the usual
# inodes; nothing reserved for root; no discard of a disk that is blank anyway.
format() {
    need mkfs.ext4 e2fsprogs e2fsprogs
    say "$1 is blank: making a file system"
    mkfs.ext4 -q -L buildfleet -i 8192 -m 0 -E nodiscard "$1"
}

mount_cache() {
    local uuid status=0
    if ! probe "$device"; then
        format "$device"
        probe "$device"
    fi
    case $type in
    ext4)
        need e2fsck e2fsprogs e2fsprogs
        # 1: mended. More: only with questions answered, which nobody is here for.
        e2fsck -p "$device" >&2 || status=$?
        [ "$status" -le 1 ] || fail "$device: the file system needs a repair by hand (e2fsck: $status)"
        ;;
    xfs) ;;
    *) fail "$device holds ${type:-something} that is neither ext4 nor xfs; it is not formatted: use a blank volume" ;;
    esac
    mount -o noatime "UUID=$uuid" "$STATE"
    say "$device ($type, $uuid) is mounted on $STATE"
}

device=
type=
mkdir -p "$STATE"
case $CACHE_KIND in
folder)
    phase cache
    exit 0
    ;;
volume) find=find_volume what="the volume $CACHE_VOLUME" ;;
instance-store) find=find_instance_store what="an instance-store disk" ;;
*) fail "CACHE_KIND is $CACHE_KIND" ;;
esac

if ! mountpoint -q "$STATE"; then
    # A volume is attached only after its instance runs, and when it moves over, only after the old instance has drained.
    say "looking for $what"
    until "$find"; do
        [ "$SECONDS" -lt $((DRAIN_SECONDS + 600)) ] || fail "$what did not turn up; is it attached to this instance?"
        sleep 0.2
    done
    mount_cache
else
    read -r device type < <(findmnt --noheadings --output SOURCE,FSTYPE "$STATE")
fi
# Both do nothing where the file system has its disk's size already. With the old size, a builder still builds.
case $type in
ext4) resize2fs "$device" >&2 || say "the file system on $device could not be grown" ;;
xfs) xfs_growfs "$STATE" >&2 || say "the file system on $device could not be grown" ;;
esac
phase cache
