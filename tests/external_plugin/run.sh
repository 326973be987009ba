#!/bin/sh
# run.sh CMAKE BUILD WORK: installs BUILD, builds project/ against the installed package alone, and uses the plugin with the
# installed program.
set -eu
cmake=$1 build=$2 work=$3
project=$(cd "$(dirname "$0")" && pwd)/project
fail() { echo "external_plugin: $1" >&2; exit 1; }

rm -rf "$work"
mkdir -p "$work"
"$cmake" --install "$build" --prefix "$work/prefix" > "$work/install.log"
cp -r "$project" "$work/source"  # away from the tree, so that no include finds it by chance
"$cmake" -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" > "$work/configure.log"
"$cmake" --build "$work/build" > "$work/build.log" 2>&1 || fail "$(cat "$work/build.log")"
plugins=$work/build/lib/tessera/plugins
tessera=$work/prefix/bin/tessera
[ -f "$plugins/digits.so" ] || fail "no plugin was built"

"$tessera" plugins digits --plugin-dir "$plugins" > "$work/options.txt"
for words in "tokenizer digits" "base = 32" "2 to 65536" "shuffle_seed = 0" "head digits" "temperature = 0.07" "0.001 to 10"; do
  grep -q -e "$words" "$work/options.txt" || fail "'tessera plugins digits' does not show '$words': $(cat "$work/options.txt")"
done

"$tessera" train "$work/source/digits.toml" "$work/source/tiny.toml" --plugin-dir "$plugins" --out "$work/run" 2> "$work/train.log" ||
  fail "$(cat "$work/train.log")"
# What is read back ranks as what was trained.
"$tessera" evaluate "$work/run" --plugin-dir "$plugins" > "$work/metrics.txt"
grep "^Recall@10 " "$work/train.log" > "$work/trained.txt" || fail "training shows no Recall@10: $(cat "$work/train.log")"
grep "^Recall@10 " "$work/metrics.txt" | cmp -s - "$work/trained.txt" || fail "evaluate differs from train: $(cat "$work/metrics.txt")"

# Without the folder the program says what it lacks, ends with 2 and writes nothing.
status=0
"$tessera" train "$work/source/digits.toml" "$work/source/tiny.toml" --out "$work/none" 2> "$work/missing.txt" || status=$?
[ "$status" = 2 ] || fail "a missing plugin ends with $status, expected 2: $(cat "$work/missing.txt")"
grep -q "digits.toml:4:1: no tokenizer named 'digits'" "$work/missing.txt" || fail "$(cat "$work/missing.txt")"
[ ! -e "$work/none" ] || fail "a refused run wrote a folder"
