#include "tensor/core/export.h"

extern "C" TESSERA_API int not_a_plugin() { return 1; }
