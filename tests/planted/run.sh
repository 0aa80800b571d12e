#!/usr/bin/env bash
# Plants each bug of this folder in a copy of the checkout and shows which test finds it.
#
#   run.sh [name...]   only these bugs (names of patches without .patch)
#   OTHERS=1 run.sh    for bugs that say "only", asks the cluster tests too, which have to pass
#   QUICK=1 run.sh     asks only the test that is expected to find it
#
# A patch begins with "# bug: what is wrong" and "# found by: arguments of cargo test", where it is expected to be
# found; "# only" says that no unit test, decision test or conformance test finds it. It is a failure where nobody finds
# a bug, where the compiler or clippy does, and where a bug that says "only" is found elsewhere.
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

# What is expected to find a bug has to pass without it, or it would find anything.
declare -A passed
holds_without() {
  [ -z "${QUICK:-}" ] || return 0
  [ -z "${passed[$1]:-}" ] || return 0
  git -C "$tree" checkout --quiet --force .
  # shellcheck disable=SC2086 # the arguments are words
  passes "baseline" $1 || { echo "without any bug, \`$1\` fails; see $logs/baseline" >&2; exit 2; }
  passed[$1]=yes
}

printf '| bug | what is wrong | expected to be found by | found by |\n|---|---|---|---|\n'
wrong=0 only=0
for bug in "${bugs[@]}"; do
  expected=$(said 'found by' "$bug")
  is_only=$(grep -c '^# only' "$here/$bug.patch" || true)
  holds_without "$expected"
  holds_without "--lib --test decisions"
  [ "$is_only" = 0 ] || holds_without "--test conformance"
  git -C "$tree" checkout --quiet --force .
  git -C "$tree" apply "$here/$bug.patch"
  found="" elsewhere=""
  if [ -z "${QUICK:-}" ]; then
    (cd "$tree" && cargo clippy --locked --quiet --package password-reset-operator -- -D warnings) > "$logs/$bug.clippy" 2>&1 ||
      elsewhere="$elsewhere **the compiler or clippy**"
    passes "$bug.unit" --lib --test decisions || found="$found unit tests"
    if [ "$is_only" = 1 ]; then
      passes "$bug.conformance" --test conformance || found="$found conformance"
      [ -z "${OTHERS:-}" ] || passes "$bug.cluster" --test cluster || found="$found cluster"
      [ -z "$found" ] || elsewhere="$elsewhere **not only there:**"
    fi
  fi
  # shellcheck disable=SC2086 # the arguments are words
  if ! passes "$bug.build" --no-run $expected; then
    elsewhere="$elsewhere **does not compile**"
  elif passes "$bug.expected" $expected; then
    [ -n "$found" ] || elsewhere="$elsewhere **nobody**"
  else
    found="$found \`$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p; s/^    \([a-z_:0-9]*\)$/\1/p' "$logs/$bug.expected" | sort -u | head -3 | paste -sd ' ')\`"
    only=$((only + is_only))
  fi
  [ -z "$elsewhere" ] || wrong=$((wrong + 1))
  printf '| %s | %s | `%s` |%s%s |\n' "$bug" "$(said bug "$bug")" "$expected" "$elsewhere" "$found"
done
echo
if [ "$wrong" -gt 0 ]; then echo "$wrong of ${#bugs[@]} bugs are not found as they should be; what the tests said is in $logs"; exit 1; fi
echo "all ${#bugs[@]} bugs are found, $only of them by the enumeration or the fault tests only; what the tests said is in $logs"
