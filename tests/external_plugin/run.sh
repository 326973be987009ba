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
[ -x "$tessera" ] || { echo "this build has no program: the plugin was built only"; exit 0; }

"$tessera" --plugin-dir "$plugins" plugins digits > "$work/options.txt"
for word in digits base 32 "2 to 65536" shuffle_seed temperature 0.07 "0.001 to 10"; do
  grep -q -e "$word" "$work/options.txt" || fail "'tessera plugins digits' does not show '$word': $(cat "$work/options.txt")"
done

"$tessera" --plugin-dir "$plugins" train "$work/source/digits.toml" "$work/source/tiny.toml" --out "$work/run"
[ -f "$work/run/model.safetensors" ] || fail "the run wrote no model"
"$tessera" --plugin-dir "$plugins" evaluate "$work/run" > "$work/metrics.txt"
grep -q "Recall@10" "$work/metrics.txt" || fail "no metrics: $(cat "$work/metrics.txt")"

# Without the folder the program says what it looked for, and exits with 2.
status=0
"$tessera" train "$work/source/digits.toml" "$work/source/tiny.toml" --out "$work/none" 2> "$work/missing.txt" || status=$?
[ "$status" = 2 ] || fail "a missing plugin ends with $status, expected 2: $(cat "$work/missing.txt")"
grep -q "no tokenizer named 'digits'" "$work/missing.txt" || fail "$(cat "$work/missing.txt")"
[ ! -e "$work/none" ] || fail "a refused run wrote a folder"
