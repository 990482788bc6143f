# `cmake --install`, and the package that find_package(kith) finds.
include(CMakePackageConfigHelpers)

install(TARGETS kith EXPORT kithTargets)
if(TARGET kith_program)
  install(TARGETS kith_program)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/kith TYPE INCLUDE FILES_MATCHING PATTERN "*.h")

set(kith_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/kith)
install(EXPORT kithTargets NAMESPACE kith:: DESTINATION ${kith_package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/kithConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/kithConfig.cmake
                              INSTALL_DESTINATION ${kith_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/kithConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/kithConfig.cmake
              ${PROJECT_BINARY_DIR}/kithConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindKithSystemLibraries.cmake
        DESTINATION ${kith_package_dir})
