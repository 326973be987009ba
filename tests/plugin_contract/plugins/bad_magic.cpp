#include "tensor/core/export.h"

extern "C" TESSERA_API const char tessera_plugin[400];
const char tessera_plugin[400] = "something else by the same name";
