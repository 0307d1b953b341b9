# Cross-compiles for 64-bit ARM with Debian's compiler and Debian's own libraries of that architecture (multiarch);
# what is built runs under qemu-user. scripts/test.sh --tier aarch64 installs all of it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
# qemu notes every page that a program reserves; the CPU device reserves as many as it may.
set(CMAKE_CROSSCOMPILING_EMULATOR prlimit --as=17179869184 qemu-aarch64-static)
# pkg-config answers for the target, not for this machine.
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
