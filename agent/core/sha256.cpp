// SPDX-License-Identifier: Apache-2.0
#include "core/sha256.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <span>
#include <utility>

namespace amilift::core {

void Sha256::Free::operator()(evp_md_ctx_st* context) const noexcept {
    EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
    if (context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) context_.reset();
}

void Sha256::update(std::string_view bytes) {
    if (context_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) {
        context_.reset();
    }
}

Result<std::string> Sha256::hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    const auto context = std::move(context_);
    if (!context || EVP_DigestFinal_ex(context.get(), digest.data(), &size) != 1) {
        return fail(Errc::internal, "OpenSSL cannot compute SHA-256");
    }
    std::string text;
    for (const auto byte : std::span(digest).first(size)) text += fmt::format("{:02x}", byte);
    return text;
}

Result<std::string> sha256_hex(std::string_view bytes) {
    Sha256 sum;
    sum.update(bytes);
    return sum.hex();
}

}  // namespace amilift::core
