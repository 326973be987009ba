#!/bin/sh
# run.sh CMAKE SOURCE BUILD WORK: adds an op and a plugin to a copy of the tree. CMake must find both by their folders; to stay
# cheap, only their own files are compiled there and linked with the libraries of BUILD.
set -eu
cmake=$1 source=$2 build=$3 work=$4
fail() { echo "skeleton: $1" >&2; exit 1; }

rm -rf "$work"
mkdir -p "$work/tree/tools" "$work/tree/tests"
for part in CMakeLists.txt LICENSE tensor framework plugins; do cp -r "$source/$part" "$work/tree/"; done
cp -r "$source/tools/cmake" "$source/tools/cli" "$work/tree/tools/"
before=$(cd "$work/tree" && find . -type f | LC_ALL=C sort | xargs sha256sum)
[ "$(TESSERA_ROOT=$work/tree "$source/tools/new" op soft_sign)" = tensor/ops/soft_sign ] || fail "tools/new op"
[ "$(TESSERA_ROOT=$work/tree "$source/tools/new" plugin buckets)" = plugins/buckets ] || fail "tools/new plugin"
TESSERA_ROOT=$work/tree "$source/tools/new" op soft_sign 2> /dev/null && fail "tools/new overwrites a room"
TESSERA_ROOT=$work/tree "$source/tools/new" op ../up 2> /dev/null && fail "tools/new takes a path for a name"
echo "$before" | (cd "$work/tree" && sha256sum --check --quiet) || fail "tools/new edited another file"
"$source/tools/check_layers" "$work/tree" || fail "the rooms break the layers"

# -O0: the copy shares no object with the build; what matters is that it compiles and is right.
"$cmake" -S "$work/tree" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=None -DTESSERA_WERROR=ON > "$work/configure.log"
op=tensor/CMakeFiles/tessera_tensor.dir/ops/soft_sign
op_test=tensor/CMakeFiles/tensor_tests.dir/ops/soft_sign/test.cpp.o
plugin=plugins/buckets/CMakeFiles/tessera_plugin_buckets.dir/buckets.cpp.o
plugin_test=plugins/buckets/CMakeFiles/plugin_buckets_tests.dir/test.cpp.o
ninja -C "$work/build" "$op/soft_sign.cpp.o" "$op/cpu.cpp.o" "$op_test" "$plugin" "$plugin_test" > "$work/build.log" ||
  fail "$(cat "$work/build.log")"

cd "$work/build"
libraries="-L$build/lib -Wl,-rpath,$build/lib -ltessera_framework -ltessera_tensor -lgtest_main -lgtest -pthread"
mkdir -p lib/tessera/plugins
# shellcheck disable=SC2086
{
  "$CXX" ${CXXFLAGS:-} "$op/soft_sign.cpp.o" "$op/cpu.cpp.o" "$op_test" $libraries -o op_tests
  "$CXX" ${CXXFLAGS:-} -shared "$plugin" $libraries -o lib/tessera/plugins/buckets.so
  "$CXX" ${CXXFLAGS:-} "$plugin_test" $libraries -o plugin_tests
}
./op_tests > op.log || fail "$(cat op.log)"
./plugin_tests > plugin.log || fail "$(cat plugin.log)"
grep -q "PASSED.*4 tests" op.log && grep -q "PASSED.*2 tests" plugin.log || fail "not all tests ran: $(cat op.log plugin.log)"
