#pragma once

// What must be equal on both sides for C++ types to cross the boundary, as lines of text.
#define TESSERA_TEXT_(x) #x
#define TESSERA_TEXT(x) TESSERA_TEXT_(x)

#ifdef __clang__
#define TESSERA_COMPILER "clang " TESSERA_TEXT(__clang_major__)
#else
#define TESSERA_COMPILER "gcc " TESSERA_TEXT(__GNUC__)
#endif
#if defined(__SANITIZE_ADDRESS__)
#define TESSERA_SANITIZER "address"
#elif defined(__SANITIZE_THREAD__)
#define TESSERA_SANITIZER "thread"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TESSERA_SANITIZER "address"
#elif __has_feature(thread_sanitizer)
#define TESSERA_SANITIZER "thread"
#else
#define TESSERA_SANITIZER "none"
#endif
#else
#define TESSERA_SANITIZER "none"
#endif
#ifdef _GLIBCXX_DEBUG
#define TESSERA_STL_DEBUG "on"
#else
#define TESSERA_STL_DEBUG "off"
#endif

#define TESSERA_BUILD_TAG                                                                                            \
  "tessera 0.1\ncompiler " TESSERA_COMPILER "\nlanguage " TESSERA_TEXT(__cplusplus) "\nlibstdc++ abi " TESSERA_TEXT( \
      _GLIBCXX_USE_CXX11_ABI) "\nlibstdc++ debug " TESSERA_STL_DEBUG "\nsanitizer " TESSERA_SANITIZER
