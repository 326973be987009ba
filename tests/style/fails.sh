#!/bin/sh
# tools/check_layers and tools/check_abi, each on a small tree with a fault in it.
set -eu
source=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
fail() { echo "$1" >&2; exit 1; }

# expect_arrow FILE INCLUDE: one file with one include must be refused.
expect_arrow() {
  rm -rf "$tree/tensor" "$tree/framework" "$tree/plugins" "$tree/tools" "$tree/tests"
  mkdir -p "$tree/$(dirname "$1")"
  printf '#pragma once\n#include %s\n' "$2" > "$tree/$1"
  "$source/tools/check_layers" "$tree" > "$tree/said" 2>&1 && fail "check_layers accepts $2 in $1"
  grep -q "^$1:2: " "$tree/said" || fail "check_layers does not tell $1:2 for $2: $(cat "$tree/said")"
}
expect_arrow tensor/core/a.cpp '"framework/config/config.h"'
expect_arrow framework/nn/a.cpp '"plugins/rq_vae/rq_vae.h"'
expect_arrow framework/nn/a.cpp '"tools/cli/main.h"'
expect_arrow plugins/one/a.cpp '"plugins/two/two.h"'
expect_arrow plugins/one/a.cpp '"two.h"'
expect_arrow framework/nn/a.cpp '<toml++/toml.h>'
expect_arrow framework/nn/a.cpp '<boost/dll/shared_library.hpp>'
expect_arrow tensor/core/a.h '<Eigen/Core>'
rm -rf "$tree/tensor" && mkdir -p "$tree/plugins/one" && printf '#include "plugins/one/one.h"\n#include "tensor/core/tensor.h"\n' > "$tree/plugins/one/a.cpp"
"$source/tools/check_layers" "$tree" || fail "check_layers refuses a plugin's own header"

# The lock: a comment may change, a declaration may not, unless the number is a new one.
mkdir -p "$tree/framework/plugin" "$tree/framework/roles"
printf 'inline constexpr unsigned kPluginAbi = 1;\n' > "$tree/framework/plugin/plugin.h"
printf '#include "framework/roles/b.h"\nint f();  // one\n' > "$tree/framework/roles/a.h"
printf 'int g();\n' > "$tree/framework/roles/b.h"
abi() { TESSERA_ROOT=$tree "$source/tools/check_abi" "$@" > "$tree/said" 2>&1; }
abi && fail "check_abi passes without a lock"
abi --update || fail "check_abi --update cannot write the first lock"
abi || fail "check_abi fails on the lock that it wrote"
sed -i 's/one/two/' "$tree/framework/roles/a.h"
abi || fail "check_abi counts a comment"
sed -i 's/int g/long g/' "$tree/framework/roles/b.h"
abi && fail "check_abi passes a changed header"
grep -q framework/roles/b.h "$tree/said" || fail "check_abi does not name the changed header"
abi --update && fail "check_abi --update accepts the old number"
sed -i 's/= 1/= 2/' "$tree/framework/plugin/plugin.h"
abi && fail "check_abi passes a new number that is not locked"
abi --update || fail "check_abi --update refuses a new number"
abi || fail "check_abi fails after --update"
