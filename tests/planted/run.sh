#!/usr/bin/env bash
# Plants each bug of this folder in a copy of the checkout and shows which test finds it.
#
#   run.sh [name...]   only these bugs (names of patches without .patch)
#   OTHERS=1 run.sh    for bugs that only crash/ or faults/ finds, asks the cluster tests too, which have to pass
#   QUICK=1 run.sh     asks only the test that is expected to find it, and does not show that it passes without the bug
#
# A patch begins with "# bug: what is wrong" and "# found by: arguments of cargo test", where it is expected to be
# found; "# only" says that no unit test, decision test or conformance test finds it. It is a failure where that test does
# not find a bug, where the compiler or clippy does, and where a bug that says "only" is found elsewhere; and, when all are
# planted, where fewer than eight are found by nothing but crash/ or faults/.
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
  case "$is_only $expected" in "1 --test crash "* | "1 --test faults "*) by_faults=1 ;; *) by_faults=0 ;; esac
  holds_without "$expected"
  holds_without "--lib --test decisions"
  [ "$is_only" = 0 ] || holds_without "--test conformance"
  git -C "$tree" checkout --quiet --force .
  git -C "$tree" apply "$here/$bug.patch"
  found="" failure=""
  if [ -z "${QUICK:-}" ]; then
    (cd "$tree" && cargo clippy --locked --quiet --package password-reset-operator -- -D warnings) > "$logs/$bug.clippy" 2>&1 ||
      failure="$failure **the compiler or clippy**"
    passes "$bug.unit" --lib --test decisions || found="$found unit tests"
    [ "$is_only" = 0 ] || passes "$bug.conformance" --test conformance || found="$found conformance"
    [ "$by_faults" = 0 ] || [ -z "${OTHERS:-}" ] || passes "$bug.cluster" --test cluster || found="$found cluster"
    [ "$is_only" = 0 ] || [ -z "$found" ] || failure="$failure **not only there:**"
  fi
  # shellcheck disable=SC2086 # the arguments are words
  if ! passes "$bug.build" --no-run $expected; then
    failure="$failure **does not compile**"
  elif passes "$bug.expected" $expected; then
    if [ -n "$found" ]; then failure="$failure **not there, but:**"; else failure="$failure **nobody**"; fi
  else
    names=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p; s/^    \([A-Za-z_:0-9]*\)$/\1/p' "$logs/$bug.expected" | sort -u | head -3 | paste -sd ' ')
    if [ -n "$names" ]; then found="$found \`$names\`"; else failure="$failure **it fails without a failed test**"; fi
  fi
  if [ -n "$failure" ]; then wrong=$((wrong + 1)); else only=$((only + by_faults)); fi
  printf '| %s | %s | `%s` |%s%s |\n' "$bug" "$(said bug "$bug")" "$expected" "$failure" "$found"
done
echo
echo "$((${#bugs[@]} - wrong)) of ${#bugs[@]} bugs are found as they should be, $only of them by crash/ or faults/ only; what the tests said is in $logs"
[ "$wrong" = 0 ] || exit 1
[ $# -gt 0 ] || [ "$only" -ge 8 ] || { echo "at least 8 have to be found by crash/ or faults/ only" >&2; exit 1; }
