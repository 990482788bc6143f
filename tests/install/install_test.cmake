# Usage: cmake -D BUILD=... -D CONFIG=... -D OUTSIDE=... -D WORK=... -D COMPILER=... -D GENERATOR=... -P install_test.cmake
file(REMOVE_RECURSE ${WORK})

function(run_step)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()
run_step(${CMAKE_COMMAND} --install ${BUILD} --config ${CONFIG} --prefix ${WORK}/prefix)
# The sources are copied, so that nothing of the project can be found by a relative path.
file(COPY ${OUTSIDE}/ DESTINATION ${WORK}/source)
run_step(${CMAKE_COMMAND} -S ${WORK}/source -B ${WORK}/build -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${COMPILER}
         -D CMAKE_BUILD_TYPE=${CONFIG} -D CMAKE_PREFIX_PATH=${WORK}/prefix
         -D CMAKE_FIND_USE_PACKAGE_REGISTRY=OFF)
run_step(${CMAKE_COMMAND} --build ${WORK}/build)

execute_process(COMMAND ${WORK}/build/example OUTPUT_VARIABLE printed COMMAND_ERROR_IS_FATAL ANY)
if(NOT printed MATCHES "^45\\.79, from\n")
  message(FATAL_ERROR "the outside program printed '${printed}', expected 45.79 first")
endif()

# The program is installed too, and starts from where it lies.
if(EXISTS ${WORK}/prefix/bin)
  run_step(${WORK}/prefix/bin/kith --version)
endif()
