#!/bin/sh
# Applies a Kustomize folder, an overlay of deploy/kubernetes, if each of its images has a digest:
# sh deploy/apply_kubernetes.sh FOLDER
# A tag can be moved to another image, a digest cannot. docs/production.md says where ours is from.
set -eu
made=$(kubectl kustomize "$1")
images=$(printf '%s\n' "$made" | sed -n 's/^[ -]*image: *//p' | tr -d "\"'" | sort -u)
loose=$(printf '%s\n' "$images" | grep -Ev '@sha256:[0-9a-f]{64}$' || true)
unset=$(printf '%s\n' "$images" | grep -E '@sha256:0{64}$' || true)
if [ -z "$images" ] || [ -n "$loose$unset" ]; then
    echo "Not applied: set the digest of each image in the overlay's images." >&2
    printf '%s\n' "$loose" "$unset" | sed '/^$/d; s/^/  /' >&2
    exit 1
fi
printf '%s\n' "$made" | kubectl apply -f -
