#!/bin/bash
# BuildKit's own accounting undercounts what is on the disk. When the disk itself is too full, the oldest cache goes until
# ten points below the mark are free.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

used=$(df --output=pcent "$STATE" | tail -1 | tr -dc 0-9)
[ "$used" -gt "$PRUNE_ABOVE_PERCENT" ] || exit 0
size=$(df --block-size=1 --output=size "$STATE" | tail -1)
keep=$((PRUNE_ABOVE_PERCENT > 10 ? PRUNE_ABOVE_PERCENT - 10 : 0))
# In megabytes, as buildctl wants it.
free=$((size * (100 - keep) / 100 / 1000000))
say "the disk is $used % full, more than $PRUNE_ABOVE_PERCENT %: pruning until $free MB are free"
buildctl prune --all --free-storage "$free" >/dev/null
say "now $(df --output=pcent "$STATE" | tail -1 | tr -dc 0-9) %"
