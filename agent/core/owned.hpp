// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

namespace amilift::core {

/// A stateless deleter for any C free function: `using EasyCurl = Owned<CURL, curl_easy_cleanup>;`
template <auto Free>
struct FreeWith {
    void operator()(auto* p) const noexcept { Free(p); }
};

/// The owner of a C handle. Moving from it leaves it null.
template <class T, auto Free>
using Owned = std::unique_ptr<T, FreeWith<Free>>;

}  // namespace amilift::core
