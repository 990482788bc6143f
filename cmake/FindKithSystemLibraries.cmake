# libcsv and xxHash ship no CMake package of their own.
include(FindPackageHandleStandardArgs)

find_path(CSV_INCLUDE_DIR csv.h)
find_library(CSV_LIBRARY csv)
find_path(XXHASH_INCLUDE_DIR xxhash.h)
find_library(XXHASH_LIBRARY xxhash)
find_package_handle_standard_args(KithSystemLibraries
    REQUIRED_VARS CSV_LIBRARY CSV_INCLUDE_DIR XXHASH_LIBRARY XXHASH_INCLUDE_DIR)

foreach(name CSV XXHASH)
  if(KithSystemLibraries_FOUND AND NOT TARGET kith_system::${name})
    add_library(kith_system::${name} UNKNOWN IMPORTED)
    set_target_properties(kith_system::${name} PROPERTIES
        IMPORTED_LOCATION "${${name}_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${${name}_INCLUDE_DIR}")
  endif()
endforeach()
mark_as_advanced(CSV_INCLUDE_DIR CSV_LIBRARY XXHASH_INCLUDE_DIR XXHASH_LIBRARY)
