// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace amilift::worker {

// JSON is UTF-8, and names and menus of an image need not be. A byte that is no UTF-8 crosses as a
// character of a private use area, U+10FE80 for 80 to U+10FEFF for FF; so do the bytes of these
// characters themselves, so that every text has one form only.

/// What is made of such a byte on the other side.
enum class TextForm {
    exact,    ///< the byte: as if the disk had been read in this process
    readable  ///< U+FFFD: what goes on to EC2 and into records must be UTF-8
};

/// Makes every text of `document` UTF-8.
void make_utf8(nlohmann::json& document);

/// The reverse, of a document that make_utf8() has made, or that anybody claims it has.
void restore_texts(nlohmann::json& document, TextForm form);

}  // namespace amilift::worker
