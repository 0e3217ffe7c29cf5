#!/bin/sh
# Names each image of docker-compose.yml and the Dockerfile by the digest that its tag has now in its registry:
# sh deploy/pin_images.sh writes docker-compose.images.yml, which compose reads beside the other file. It
# needs docker with buildx, and asks the registries.
set -eu
cd "$(dirname "$0")/.."

digest() {
    docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1"
}

pinned() {
    tag=${1%@sha256:*}
    found=$(digest "$tag")
    case "$found" in
        sha256:*) echo "$tag@$found" ;;
        *) echo "No digest of $tag: $found" >&2; exit 1 ;;
    esac
}

compose=docker-compose.images.yml
{
    echo "# Written by deploy/pin_images.sh. COMPOSE_FILE=docker-compose.yml:$compose"
    echo "services:"
} >"$compose.new"
# Two spaces and a name begin a service; four and "image:" are its image. Ours is built.
awk '/^[a-z]/ {top = $1} top == "services:" && /^  [a-z]+:/ {sub(":", "", $1); name = $1}
     top == "services:" && /^    image:/ {print name, $2}' docker-compose.yml |
while read -r service image; do
    name=$(pinned "$image")
    printf '  %s:\n    image: %s\n' "$service" "$name" >>"$compose.new"
done
base=$(pinned "$(awk '/^ARG BASE=/ {sub("ARG BASE=", ""); print; exit}' Dockerfile)")
for service in web worker beat flower smtp migrate; do
    printf '  %s:\n    build: {context: ., args: {BASE: "%s"}}\n' "$service" "$base" >>"$compose.new"
done
mv "$compose.new" "$compose"
echo "Wrote $compose. Have compose read it: COMPOSE_FILE=docker-compose.yml:$compose"
