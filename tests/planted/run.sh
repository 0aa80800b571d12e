#!/usr/bin/env bash
# Plants each bug of this folder in a copy of the checkout and shows which test finds it.
#
#   run.sh [name...]   only these bugs (names of patches without .patch)
#   OTHERS=1 run.sh    for bugs that say "only", asks all other tests too, which have to pass
#   QUICK=1 run.sh     asks only the test that is expected to find it
#
# A patch begins with "# bug: what is wrong" and "# found by: arguments of cargo test", where it is expected to be
# found; "# only" says that no unit test, decision test or conformance test is expected to.
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
checkout=$(git rev-parse --show-toplevel)
target=$(cd "$checkout" && cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
tree=$target/planted/tree
logs=$target/planted/logs
export CARGO_TARGET_DIR=$target/planted/target

if [ $# -gt 0 ]; then bugs=("$@"); else bugs=($(ls ./*.patch | sed 's|./\(.*\)\.patch|\1|')); fi
mkdir -p "$logs"
git -C "$checkout" worktree prune
[ -d "$tree" ] || git -C "$checkout" worktree add --quiet --detach "$tree" HEAD
trap 'git -C "$checkout" worktree remove --force "$tree"' EXIT
git -C "$tree" checkout --quiet --force --detach "$(git -C "$checkout" rev-parse HEAD)"

said() { sed -n "s/^# $1: //p" "$here/$2.patch"; }
passes() { # passes LOG ARGUMENTS...
  local log=$1; shift
  (cd "$tree" && cargo test --locked --quiet --package password-reset-operator "$@") > "$logs/$log" 2>&1
}

printf '| bug | what is wrong | expected to be found by | found by |\n|---|---|---|---|\n'
missed=0
for bug in "${bugs[@]}"; do
  git -C "$tree" checkout --quiet --force .
  git -C "$tree" apply "$here/$bug.patch"
  expected=$(said 'found by' "$bug")
  found=""
  if [ -z "${QUICK:-}" ]; then
    if ! (cd "$tree" && cargo clippy --locked --quiet --package password-reset-operator -- -D warnings) > "$logs/$bug.clippy" 2>&1; then
      found="**the compiler or clippy**"
    fi
    if ! passes "$bug.unit" --lib --test decisions; then found="$found unit tests"; fi
  fi
  if [ -z "${QUICK:-}" ] && grep -q '^# only' "$here/$bug.patch"; then
    if ! passes "$bug.conformance" --test conformance; then found="$found conformance"; fi
    if [ -n "${OTHERS:-}" ] && ! passes "$bug.cluster" --test cluster; then found="$found cluster"; fi
  fi
  # shellcheck disable=SC2086 # the arguments are words
  if ! passes "$bug.build" --no-run $expected; then
    found="**does not compile**"; missed=$((missed + 1))
  elif passes "$bug.expected" $expected; then
    [ -n "$found" ] || { found="**nobody**"; missed=$((missed + 1)); }
  else
    found="$found \`$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p; s/^    \([a-z_:0-9]*\)$/\1/p' "$logs/$bug.expected" | sort -u | head -3 | paste -sd ' ')\`"
  fi
  printf '| %s | %s | `%s` |%s |\n' "$bug" "$(said bug "$bug")" "$expected" " $found"
done
echo
if [ "$missed" -gt 0 ]; then echo "$missed of ${#bugs[@]} bugs are found by nobody"; exit 1; fi
echo "all ${#bugs[@]} bugs are found; what the tests said is in $logs"
