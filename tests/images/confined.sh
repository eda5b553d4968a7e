#!/bin/sh
# Runs a command in an image's file system as its user: `confined.sh ROOT USER SHM_BYTES COMMAND ...`.
#
# As a container that docker would run with --read-only, --cap-drop ALL, no-new-privileges, the host's network and a
# process namespace of its own. BINDS ("SOURCE:TARGET ...") are writable folders or files, TMPFS ("TARGET ...") is memory.
# Called by root, in a mount and a process namespace of its own.
set -eu
root=$1 user=$2 shm=$3
shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o "mode=1777,size=$shm" tmpfs "$root/dev/shm"
for file in resolv.conf hosts; do
    touch "$root/etc/$file"
    mount --bind "/etc/$file" "$root/etc/$file"
done
for bind in ${BINDS:-}; do
    target=$root${bind#*:}
    [ -d "${bind%%:*}" ] || touch "$target"
    mount --bind "${bind%%:*}" "$target"
done
for target in ${TMPFS:-}; do
    mount -t tmpfs -o mode=1777 tmpfs "$root$target"
done
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all \
    --bounding-set=-all --no-new-privs env --ignore-environment "$@"
