# Warnings, hardening and sanitizers for every target of the project.
add_library(amilift_options INTERFACE)
target_compile_options(amilift_options INTERFACE
  -Wall -Wextra -Wpedantic
  -Wconversion -Wsign-conversion      # byte and sector arithmetic must not narrow silently
  -Wshadow                            # a shadowed name in a conversion step hides which disk is meant
  -Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual
  -Wformat=2 -Wimplicit-fallthrough
  # g++ 12 reports string assignments inside libstdc++ as overlapping copies (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wsuggest-override -Wduplicated-cond -Wlogical-op -Wno-restrict>)
if(AMILIFT_WERROR)
  target_compile_options(amilift_options INTERFACE -Werror)
endif()
# _GNU_SOURCE is implied by g++; off_t must be 64 bits on 32-bit hosts too.
target_compile_definitions(amilift_options INTERFACE _FILE_OFFSET_BITS=64)
if(AMILIFT_SANITIZE)
  target_compile_options(amilift_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(amilift_options INTERFACE -fsanitize=address,undefined)
  # libFuzzer is clang's. Its instrumentation does no harm to the tests, and one build serves both.
  target_compile_options(amilift_options INTERFACE $<$<CXX_COMPILER_ID:Clang>:-fsanitize=fuzzer-no-link>)
else()
  target_compile_options(amilift_options INTERFACE -fstack-protector-strong)
  target_compile_definitions(amilift_options INTERFACE $<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  target_link_options(amilift_options INTERFACE -Wl,-z,relro,-z,now)
endif()
