# libcsv and xxHash ship no CMake package of their own, and oneDNN's asks for OpenCL, of which nothing is used here.
# oneDNN runs on GCC's OpenMP library, whose number of threads is set; the compiler may be another.
include(FindPackageHandleStandardArgs)

find_path(CSV_INCLUDE_DIR csv.h)
find_library(CSV_LIBRARY csv)
find_path(XXHASH_INCLUDE_DIR xxhash.h)
find_library(XXHASH_LIBRARY xxhash)
find_path(DNNL_INCLUDE_DIR dnnl.h)
find_library(DNNL_LIBRARY dnnl)
find_library(GOMP_LIBRARY NAMES gomp libgomp.so.1)
find_package_handle_standard_args(KithSystemLibraries
    REQUIRED_VARS CSV_LIBRARY CSV_INCLUDE_DIR XXHASH_LIBRARY XXHASH_INCLUDE_DIR DNNL_LIBRARY DNNL_INCLUDE_DIR
                  GOMP_LIBRARY)

foreach(name CSV XXHASH DNNL)
  if(KithSystemLibraries_FOUND AND NOT TARGET kith_system::${name})
    add_library(kith_system::${name} UNKNOWN IMPORTED)
    set_target_properties(kith_system::${name} PROPERTIES
        IMPORTED_LOCATION "${${name}_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${${name}_INCLUDE_DIR}")
  endif()
endforeach()
if(TARGET kith_system::DNNL)
  set_target_properties(kith_system::DNNL PROPERTIES INTERFACE_LINK_LIBRARIES "${GOMP_LIBRARY}")
endif()
mark_as_advanced(CSV_INCLUDE_DIR CSV_LIBRARY XXHASH_INCLUDE_DIR XXHASH_LIBRARY DNNL_INCLUDE_DIR DNNL_LIBRARY
                 GOMP_LIBRARY)
