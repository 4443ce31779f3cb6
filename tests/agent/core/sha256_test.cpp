// SPDX-License-Identifier: Apache-2.0
#include "core/sha256.hpp"

#include <gtest/gtest.h>

namespace amilift::core {
namespace {

// FIPS 180-4, as in NIST's "SHA-256 example (one block, two blocks)".
constexpr std::string_view kOfNothing =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::string_view kOfAbc =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr std::string_view kOfTwoBlocks =
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";

TEST(Sha256, IsThatOfTheStandard) {
    EXPECT_EQ(sha256_hex("").value(), kOfNothing);
    EXPECT_EQ(sha256_hex("abc").value(), kOfAbc);
    EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").value(),
              kOfTwoBlocks);
}

TEST(Sha256, PiecesCountAsOne) {
    Sha256 sum;
    for (const std::string_view piece : {"a", "", "bc"}) sum.update(piece);
    EXPECT_EQ(sum.hex().value(), kOfAbc);
    // The digest is given once: what was added later would not be in it.
    sum.update("d");
    EXPECT_EQ(sum.hex().error().code, Errc::internal);
}

}  // namespace
}  // namespace amilift::core
