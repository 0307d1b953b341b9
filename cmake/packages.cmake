# Debian packages, one per component: `cmake --build … --target package`.
set(TR_PACKAGE_CONTACT "libtriton_runner maintainers <maintainers@users.noreply.r-seed-5f998011.example>" CACHE STRING
    "Who maintains the packages that are made: NAME <ADDRESS>")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libtriton-runner)
set(CPACK_PACKAGE_CONTACT ${TR_PACKAGE_CONTACT})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
    WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL runtime development cli)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debian_files.cmake)
set(CPACK_TR_SOURCE_DIR ${PROJECT_SOURCE_DIR}) # for the script

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/lib)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS ON)
set(CPACK_COMPONENT_DEVELOPMENT_DEPENDS runtime)
set(CPACK_COMPONENT_CLI_DEPENDS runtime)

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libtriton-runner0)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/debian/shlibs CONTENT "libtriton_runner 0 libtriton-runner0 (>= ${PROJECT_VERSION})\n")
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/debian/triggers CONTENT "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/debian/shlibs ${PROJECT_BINARY_DIR}/debian/triggers)
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "runs Triton kernels from any stage of their compilation
A C library that loads kernels of OpenAI Triton as Python, ttir, ttgir,
llir, PTX or cubin, compiles them to any later stage, and launches them on
NVIDIA GPUs, or on the CPU, where it tells what a kernel does wrong.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libtriton-runner-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libffi-dev, libjansson-dev, libxxhash-dev, libzstd-dev")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "header and manual of libtriton_runner
What programs that run Triton kernels are built with: the header, the static
library, the files of CMake and pkg-config, and the manual pages.")

set(CPACK_DEBIAN_CLI_PACKAGE_NAME triton-runner)
set(CPACK_DEBIAN_CLI_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_CLI_DESCRIPTION "inspects, compiles and runs Triton kernels from the shell
The command takes a kernel of OpenAI Triton at any stage of its
compilation to a later one, tells what it says of itself, and launches it
with arrays from files.")

include(CPack)
