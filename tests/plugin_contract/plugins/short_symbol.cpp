#include "tensor/core/export.h"

extern "C" TESSERA_API const int tessera_plugin;
const int tessera_plugin = 7;
