// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace amilift::image::grub_script {

/// A part of a word: text, or a variable to be put in.
struct Piece {
    std::string text;
    bool is_variable = false;
    bool is_quoted = false;  ///< not split at blanks, and a word of its own even when empty
};
using Word = std::vector<Piece>;

struct Node;
using Block = std::vector<Node>;

enum class NodeKind { command, condition, loop_for, loop_while, function };

/// A statement of a GRUB 2 script.
struct Node {
    NodeKind kind = NodeKind::command;
    int line = 0;             ///< 1-based
    std::vector<Word> words;  ///< the command; of `for`, variable and items; of `function`, a name
    std::shared_ptr<const Block> body;  ///< of menuentry, submenu, function and the loops
    /// if and elif, in order: what is asked, what is done. Of `while`, only the first's question.
    std::vector<std::pair<Block, Block>> branches;
    Block otherwise;       ///< of else
    bool negated = false;  ///< `until`
};

struct Script {
    Block block;
    int bad_line = 0;         ///< where the text stopped to make sense; 0: nowhere
    std::string bad_because;  ///< "'fi' is missing"
};

/// Parses a grub.cfg as far as it makes sense. Never fails: a script is text of unknown authorship;
/// callers bound its size, and nesting and the number of statements are bounded here. Source: GRUB
/// manual 2.06, "Writing full configuration files directly".
[[nodiscard]] Script parse(std::string_view text);

}  // namespace amilift::image::grub_script
