# tessera_add_plugin(<name> <sources>...): a plugin, <build>/lib/tessera/plugins/<name>.so.
# The same call inside the tree and in a stand-alone project (find_package(tessera)). Tests beside the sources
# (test.cpp, *_test.cpp) become the program plugin_<name>_tests when the tree's own tests are on.
# Load it with `tessera --plugin-dir <build>/lib/tessera/plugins`, or name that folder in TESSERA_PLUGIN_PATH.
function(tessera_add_plugin name)
  add_library(tessera_plugin_${name} MODULE ${ARGN})
  target_link_libraries(tessera_plugin_${name} PRIVATE tessera::framework)
  if(TARGET tessera_settings)
    target_link_libraries(tessera_plugin_${name} PRIVATE tessera_settings)
  endif()
  target_compile_definitions(tessera_plugin_${name} PRIVATE TESSERA_PLUGIN_NAME="${name}")
  set_target_properties(tessera_plugin_${name} PROPERTIES
    PREFIX "" OUTPUT_NAME ${name} CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/tessera/plugins)
  target_link_options(tessera_plugin_${name} PRIVATE -Wl,--no-undefined)
  if(DEFINED TESSERA_PLUGIN_DIR)
    cmake_path(RELATIVE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY ${TESSERA_PLUGIN_DIR} OUTPUT_VARIABLE libraries)
    set_target_properties(tessera_plugin_${name} PROPERTIES INSTALL_RPATH "$ORIGIN/${libraries}")
    install(TARGETS tessera_plugin_${name} LIBRARY DESTINATION ${TESSERA_PLUGIN_DIR})
  endif()
  if(COMMAND tessera_add_tests)
    add_dependencies(tessera_unit_tests tessera_plugin_${name})
    file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/test.cpp ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cpp)
    tessera_add_tests(plugin_${name}_tests SOURCES ${tests} LINK tessera::framework LABELS "unit;plugin")
    if(TARGET plugin_${name}_tests)
      add_dependencies(plugin_${name}_tests tessera_plugin_${name})
    endif()
  endif()
endfunction()
