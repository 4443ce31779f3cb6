// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/owned.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

namespace {

class Sha256 {
  public:
    Sha256() : context_(EVP_MD_CTX_new()) {
        EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
    }
    void update(std::string_view bytes) {
        EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
    }
    [[nodiscard]] std::string hex() {
        std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
        unsigned size = 0;
        EVP_DigestFinal_ex(context_.get(), digest.data(), &size);
        std::string out;
        for (unsigned i = 0; i < size; ++i) out += fmt::format("{:02x}", digest[i]);
        return out;
    }

  private:
    core::Owned<EVP_MD_CTX, EVP_MD_CTX_free> context_;
};

}  // namespace

std::string sha256_hex(std::string_view bytes) {
    Sha256 sum;
    sum.update(bytes);
    return sum.hex();
}

core::Result<std::string> sha256_of(const SafeRoot& root, std::string_view path) {
    AMILIFT_TRY(const core::Fd fd, root.open_regular(path));
    Sha256 sum;
    std::string chunk(1 << 18, '\0');
    for (;;) {
        const auto n = ::read(fd.get(), chunk.data(), chunk.size());
        if (n < 0) {
            const int saved = errno;
            if (saved == EINTR) continue;
            return core::fail_errno(saved, fmt::format("cannot read '{}' of the image", path));
        }
        if (n == 0) return sum.hex();
        sum.update(std::string_view(chunk).substr(0, static_cast<std::size_t>(n)));
    }
}

}  // namespace amilift::image
