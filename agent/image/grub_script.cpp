// SPDX-License-Identifier: Apache-2.0
#include "image/grub_script.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace amilift::image::grub_script {

namespace {

constexpr int kMaxDepth = 24;
constexpr std::size_t kMaxNodes = 100000;

enum class TokenKind { word, separator, open, close, end };

struct Token {
    TokenKind kind = TokenKind::end;
    int line = 0;
    Word word;
    std::string plain;  ///< the word when it is bare text, which may be a keyword; else empty
};

bool is_name_char(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

class Lexer {
  public:
    explicit Lexer(std::string_view text) : text_(text) {}

    Token next() {
        skip_blanks();
        Token token;
        token.line = line_;
        if (at_ >= text_.size()) return token;
        const char c = text_[at_];
        if (c == '\n' || c == ';') {
            if (c == '\n') ++line_;
            ++at_;
            token.kind = TokenKind::separator;
            return token;
        }
        if (c == '{' || c == '}') {
            const bool alone = at_ + 1 >= text_.size() || ends_word(text_[at_ + 1]);
            if (alone || c == '}') {
                ++at_;
                token.kind = c == '{' ? TokenKind::open : TokenKind::close;
                return token;
            }
        }
        token.kind = TokenKind::word;
        read_word(token);
        return token;
    }

  private:
    static bool ends_word(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ';';
    }

    void skip_blanks() {
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c == ' ' || c == '\t' || c == '\r') {
                ++at_;
            } else if (c == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') {
                at_ += 2;
                ++line_;
            } else if (c == '#') {
                while (at_ < text_.size() && text_[at_] != '\n') ++at_;
            } else {
                return;
            }
        }
    }

    static void add(Token& token, std::string_view text, bool quoted) {
        auto& word = token.word;
        if (!word.empty() && !word.back().is_variable && word.back().is_quoted == quoted) {
            word.back().text += text;
        } else {
            word.push_back({std::string(text), false, quoted});
        }
    }

    void read_word(Token& token) {
        bool bare = true;
        while (at_ < text_.size() && !ends_word(text_[at_])) {
            const char c = text_[at_];
            if (c == '\\') {
                bare = false;
                read_escape(token, false);
            } else if (c == '\'') {
                bare = false;
                read_single(token);
            } else if (c == '"') {
                bare = false;
                read_double(token);
            } else if (c == '$' && read_variable(token, false)) {
                bare = false;
            } else {
                add(token, text_.substr(at_, 1), false);
                ++at_;
            }
        }
        if (bare && token.word.size() == 1) token.plain = token.word.front().text;
    }

    void read_escape(Token& token, bool quoted) {
        ++at_;
        if (at_ >= text_.size()) return;
        if (text_[at_] == '\n') {
            ++line_;
        } else {
            const char c = text_[at_];
            // In double quotes, a backslash stays before what needs none.
            if (quoted && c != '$' && c != '"' && c != '\\') add(token, "\\", true);
            add(token, text_.substr(at_, 1), true);
        }
        ++at_;
    }

    void read_single(Token& token) {
        const auto end = std::min(text_.find('\'', at_ + 1), text_.size());
        const auto inside = text_.substr(at_ + 1, end - at_ - 1);
        line_ += static_cast<int>(std::ranges::count(inside, '\n'));
        add(token, inside, true);
        at_ = std::min(end + 1, text_.size());
    }

    void read_double(Token& token) {
        ++at_;
        add(token, "", true);
        while (at_ < text_.size() && text_[at_] != '"') {
            const char c = text_[at_];
            if (c == '\\') {
                read_escape(token, true);
            } else if (c == '$' && read_variable(token, true)) {
                continue;
            } else {
                if (c == '\n') ++line_;
                add(token, text_.substr(at_, 1), true);
                ++at_;
            }
        }
        if (at_ < text_.size()) ++at_;
    }

    /// False, and nothing is read, where the dollar sign names no variable.
    bool read_variable(Token& token, bool quoted) {
        auto at = at_ + 1;
        const bool braced = at < text_.size() && text_[at] == '{';
        if (braced) ++at;
        auto end = at;
        while (end < text_.size() && is_name_char(text_[end])) ++end;
        if (end == at && end < text_.size() &&
            std::string_view("?#*@").find(text_[end]) != std::string_view::npos) {
            ++end;
        }
        if (end == at || (braced && (end >= text_.size() || text_[end] != '}'))) return false;
        token.word.push_back({std::string(text_.substr(at, end - at)), true, quoted});
        at_ = braced ? end + 1 : end;
        return true;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    int line_ = 1;
};

class Parser {
  public:
    explicit Parser(std::string_view text) : lexer_(text) { advance(); }

    Script run() {
        Script script;
        while (token_.kind != TokenKind::end && script_.bad_line == 0) {
            if (token_.kind == TokenKind::separator) {
                advance();
                continue;
            }
            Node node;
            if (!statement(node, 0)) break;
            script.block.push_back(std::move(node));
        }
        script.bad_line = script_.bad_line;
        script.bad_because = std::move(script_.bad_because);
        return script;
    }

  private:
    void advance() { token_ = lexer_.next(); }

    bool bad(std::string because) {
        if (script_.bad_line == 0) {
            script_.bad_line = std::max(token_.line, 1);
            script_.bad_because = std::move(because);
        }
        return false;
    }

    void skip_separators() {
        while (token_.kind == TokenKind::separator) advance();
    }

    bool statement(Node& node, int depth) {
        if (depth > kMaxDepth) return bad("it is nested too deeply");
        if (++nodes_ > kMaxNodes) return bad("it has too many statements");
        node.line = token_.line;
        if (token_.kind != TokenKind::word) return bad("a brace stands where a command should");
        if (token_.plain == "if") return condition(node, depth);
        if (token_.plain == "for") return loop_for(node, depth);
        if (token_.plain == "while" || token_.plain == "until") return loop_while(node, depth);
        if (token_.plain == "function") return function(node, depth);
        constexpr std::array<std::string_view, 7> kClosing{"then", "else", "elif", "fi",
                                                           "do",   "done", "in"};
        if (std::ranges::find(kClosing, token_.plain) != kClosing.end()) {
            return bad(fmt::format("'{}' opens nothing", token_.plain));
        }
        return command(node, depth);
    }

    bool command(Node& node, int depth) {
        while (token_.kind == TokenKind::word) {
            node.words.push_back(std::move(token_.word));
            advance();
        }
        if (token_.kind == TokenKind::open) return braces(node, depth);
        return true;
    }

    bool braces(Node& node, int depth) {
        advance();
        auto block = std::make_shared<Block>();
        skip_separators();
        while (token_.kind != TokenKind::close) {
            if (token_.kind == TokenKind::end) return bad("a '}' is missing");
            if (!statement(block->emplace_back(), depth + 1)) return false;
            skip_separators();
        }
        advance();
        node.body = std::move(block);
        return true;
    }

    /// Statements up to one of the words, which becomes the token.
    bool block_until(Block& block, std::initializer_list<std::string_view> words, int depth) {
        skip_separators();
        while (token_.kind != TokenKind::word || token_.plain.empty() ||
               std::ranges::find(words, token_.plain) == words.end()) {
            if (token_.kind == TokenKind::end)
                return bad(fmt::format("'{}' is missing", *words.begin()));
            if (!statement(block.emplace_back(), depth + 1)) return false;
            skip_separators();
        }
        return true;
    }

    bool condition(Node& node, int depth) {
        node.kind = NodeKind::condition;
        do {
            advance();
            auto& branch = node.branches.emplace_back();
            if (!block_until(branch.first, {"then"}, depth)) return false;
            advance();
            if (!block_until(branch.second, {"fi", "elif", "else"}, depth)) return false;
        } while (token_.plain == "elif");
        if (token_.plain == "else") {
            advance();
            if (!block_until(node.otherwise, {"fi"}, depth)) return false;
        }
        advance();
        return true;
    }

    bool loop_for(Node& node, int depth) {
        node.kind = NodeKind::loop_for;
        advance();
        if (token_.kind != TokenKind::word) return bad("'for' has no variable");
        node.words.push_back(std::move(token_.word));
        advance();
        if (token_.plain != "in") return bad("'in' is missing");
        advance();
        while (token_.kind == TokenKind::word) {
            node.words.push_back(std::move(token_.word));
            advance();
        }
        skip_separators();
        return loop_body(node, depth);
    }

    bool loop_while(Node& node, int depth) {
        node.kind = NodeKind::loop_while;
        node.negated = token_.plain == "until";
        advance();
        if (!block_until(node.branches.emplace_back().first, {"do"}, depth)) return false;
        return loop_body(node, depth);
    }

    bool loop_body(Node& node, int depth) {
        if (token_.plain != "do") return bad("'do' is missing");
        advance();
        auto block = std::make_shared<Block>();
        if (!block_until(*block, {"done"}, depth)) return false;
        advance();
        node.body = std::move(block);
        return true;
    }

    bool function(Node& node, int depth) {
        node.kind = NodeKind::function;
        advance();
        if (token_.kind != TokenKind::word) return bad("'function' has no name");
        node.words.push_back(std::move(token_.word));
        advance();
        skip_separators();
        if (token_.kind != TokenKind::open) return bad("'{' is missing");
        return braces(node, depth);
    }

    Lexer lexer_;
    Token token_;
    Script script_;
    std::size_t nodes_ = 0;
};

}  // namespace

Script parse(std::string_view text) {
    return Parser(text).run();
}

}  // namespace amilift::image::grub_script
