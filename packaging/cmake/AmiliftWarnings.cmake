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
if(AMILIFT_FUZZ AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "AMILIFT_FUZZ needs clang: -D CMAKE_CXX_COMPILER=clang++-19")
endif()
if(AMILIFT_FUZZ)
  target_compile_options(amilift_options INTERFACE
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(amilift_options INTERFACE -fsanitize=address,undefined)
elseif(AMILIFT_SANITIZE)
  target_compile_options(amilift_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(amilift_options INTERFACE -fsanitize=address,undefined)
else()
  target_compile_options(amilift_options INTERFACE -fstack-protector-strong)
  target_compile_definitions(amilift_options INTERFACE $<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  target_link_options(amilift_options INTERFACE -Wl,-z,relro,-z,now)
endif()
