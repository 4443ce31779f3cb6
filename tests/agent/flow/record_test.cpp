// SPDX-License-Identifier: Apache-2.0
#include "flow/record.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace amilift::flow {
namespace {

class RecordTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto name = (std::filesystem::temp_directory_path() / "amilift-record-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    [[nodiscard]] std::string path() const { return (directory_ / "flow.json").string(); }
    void put(const std::string& text) const { std::ofstream(path()) << text; }
    std::filesystem::path directory_;
};

TEST_F(RecordTest, ReadsBackWhatWasWritten) {
    Record r;
    r.instance_id = "i-1";
    r.job_id = "web";
    r.state = State::snapshot;
    r.outcome = Outcome::failed;
    r.error = "bytes \xff that are no UTF-8";
    r.source_volume = "vol-1";
    r.conversion_started = true;
    r.entries = {{"convert", 2}};
    ASSERT_TRUE(save_record(path(), r));
    const auto back = load_record(path());
    ASSERT_TRUE(back);
    ASSERT_TRUE(back->has_value());
    EXPECT_EQ((*back)->state, State::snapshot);
    EXPECT_EQ((*back)->outcome, Outcome::failed);
    EXPECT_EQ((*back)->source_volume, "vol-1");
    EXPECT_TRUE((*back)->conversion_started);
    EXPECT_EQ((*back)->entries.at("convert"), 2);
    EXPECT_EQ((*back)->error, "bytes \xef\xbf\xbd that are no UTF-8");
}

TEST_F(RecordTest, AnAbsentFileIsNoRecord) {
    const auto back = load_record(path());
    ASSERT_TRUE(back);
    EXPECT_FALSE(back->has_value());
}

TEST_F(RecordTest, OnlyItsOwnerMayReadIt) {
    ASSERT_TRUE(save_record(path(), Record{}));
    const auto mode = std::filesystem::status(path()).permissions();
    EXPECT_EQ(mode, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(RecordTest, EveryCutOffFileIsRefusedWithItsName) {
    ASSERT_TRUE(save_record(path(), Record{}));
    std::string text;
    {
        std::ifstream in(path());
        text.assign(std::istreambuf_iterator<char>(in), {});
    }
    // The last byte is the newline after the closing brace.
    for (std::size_t cut = 0; cut + 2 < text.size(); ++cut) {
        put(text.substr(0, cut));
        const auto back = load_record(path());
        ASSERT_FALSE(back) << cut;
        EXPECT_TRUE(back.error().is(core::Errc::corrupt));
        EXPECT_NE(back.error().what.find(path()), std::string::npos);
    }
}

TEST_F(RecordTest, RemembersTheBootInWhichItStoppedTheHelper) {
    Record r;
    r.stopped_in_boot = "5f2c";
    ASSERT_TRUE(save_record(path(), r));
    EXPECT_EQ(load_record(path()).value()->stopped_in_boot, "5f2c");
}

TEST_F(RecordTest, AnotherVersionIsRefused) {
    put(R"({"version": 2, "state": "convert"})");
    const auto back = load_record(path());
    ASSERT_FALSE(back);
    EXPECT_NE(back.error().what.find("version 2"), std::string::npos) << back.error().what;
}

}  // namespace
}  // namespace amilift::flow
