#!/usr/bin/env bash
# Builds both images: `k8s/images/build.sh VERSION`, from the repository's root.
#
# With docker or podman where one of them works; else with buildah, as root and without a container registry, on a base
# of Debian's packages in place of the python image. TORCH_INDEX is where torch comes from (the CPU build if empty).
set -euo pipefail
cd "$(dirname "$0")/../.."
version=${1:?the images\' version}
: "${TORCH_INDEX:=https://download.pytorch.org/whl/cpu}"

builder() {
    for tool in docker podman; do
        if "$tool" info >/dev/null 2>&1 && "$tool" version >/dev/null 2>&1; then
            echo "$tool"
            return
        fi
    done
    command -v buildah >/dev/null && echo buildah
}

# What follows is for buildah: it needs no namespaces, and asks no registry.
export BUILDAH_ISOLATION=chroot
work=${IMAGES_DIR:-/var/tmp/cascade-images}
base=localhost/cascade-build-base:3.11-bookworm

prepare_base() {
    mkdir -p "$work"
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$work/policy.json"
    buildah images --quiet "$base" >/dev/null 2>&1 && return
    local rootfs=$work/rootfs container
    [ -e "$rootfs/usr/bin/pip3" ] || debootstrap --variant=minbase \
        --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$rootfs"
    ln -sf python3 "$rootfs/usr/bin/python"
    # This machine's certificates, for a package index that has one of its own.
    cp -L /etc/ssl/certs/ca-certificates.crt "$rootfs/etc/ssl/certs/"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$rootfs" / >/dev/null
    buildah config --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
        --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt "$container"
    # A folder of wheels that this machine's pip is told of is told to the build's pip, too.
    if [ -d "${PIP_FIND_LINKS:-}" ]; then
        buildah config --env "PIP_FIND_LINKS=$PIP_FIND_LINKS" "$container"
    fi
    buildah commit --quiet --rm --signature-policy "$work/policy.json" "$container" "$base" >/dev/null
}

tool=$(builder) || { echo "docker, podman or buildah is needed to build images" >&2; exit 1; }
options=()
if [ "$tool" = buildah ]; then
    prepare_base
    options+=(--signature-policy "$work/policy.json" --build-arg "PYTHON_IMAGE=$base")
    if [ -d "${PIP_FIND_LINKS:-}" ]; then
        options+=(--volume "$PIP_FIND_LINKS:$PIP_FIND_LINKS:ro")
    fi
fi
echo "building with $tool"
"$tool" build "${options[@]}" --file k8s/images/bot.Dockerfile --tag "cascade-bot:$version" .
"$tool" build "${options[@]}" --file k8s/images/serve.Dockerfile --tag "cascade-serve:$version-cpu" \
    --build-arg "TORCH_INDEX=$TORCH_INDEX" .
