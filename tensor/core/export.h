#pragma once

// Everything is hidden by default (-fvisibility=hidden); what plugins may call carries this mark.
#define TESSERA_API __attribute__((visibility("default")))
