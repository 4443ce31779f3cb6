// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.hpp"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace amilift::core {

/// SHA-256 (FIPS 180-4), computed by OpenSSL, of bytes that come in pieces.
class Sha256 {
  public:
    Sha256();
    void update(std::string_view bytes);
    /// Lower-case hex of all bytes that were given; nothing can be added or asked for afterwards.
    /// Errc::internal if OpenSSL failed at any step.
    [[nodiscard]] Result<std::string> hex();

  private:
    struct Free {
        void operator()(evp_md_ctx_st* context) const noexcept;
    };
    std::unique_ptr<evp_md_ctx_st, Free> context_;  ///< null: OpenSSL failed
};

/// Lower-case hex SHA-256 of `bytes`. Errc::internal only if OpenSSL fails.
[[nodiscard]] Result<std::string> sha256_hex(std::string_view bytes);

}  // namespace amilift::core
