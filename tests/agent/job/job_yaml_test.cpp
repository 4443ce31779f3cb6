// SPDX-License-Identifier: Apache-2.0
#include "job/job_yaml.hpp"

#include <gtest/gtest.h>

#include "corpus.hpp"

namespace amilift::job {
namespace {

using namespace std::chrono_literals;
using core::Errc;

Job job_of(std::string_view text) {
    auto parsed = parse_job(text, "job.yaml");
    EXPECT_TRUE(parsed) << parsed.error().what;
    if (!parsed || !std::holds_alternative<Job>(*parsed)) return {};
    return std::get<Job>(std::move(*parsed));
}

std::string error_of(std::string_view text) {
    const auto parsed = parse_job(text, "job.yaml");
    return parsed ? "no error" : parsed.error().what;
}

/// A description in ".expect" may end with lines that begin with '#': they are for other readers
/// of the corpus.
std::string expectation(const std::filesystem::path& path) {
    std::istringstream in(read_whole(path));
    std::string out;
    for (std::string line; std::getline(in, line);) {
        if (!line.starts_with('#')) out += (out.empty() ? "" : "\n") + line;
    }
    return out;
}

TEST(JobYaml, ValidCorpusIsAccepted) {
    const auto files = corpus("jobs/valid", ".yaml");
    EXPECT_GE(files.size(), 15U);
    for (const auto& file : files) {
        const auto parsed = parse_job(read_whole(file), file.filename().string());
        EXPECT_TRUE(parsed) << parsed.error().what;
    }
}

TEST(JobYaml, InvalidCorpusIsRefusedWithTheExpectedWords) {
    const auto files = corpus("jobs/invalid", ".yaml");
    EXPECT_GE(files.size(), 80U);
    for (const auto& file : files) {
        const auto parsed = parse_job(read_whole(file), file.filename().string());
        ASSERT_FALSE(parsed) << file;
        EXPECT_EQ(parsed.error().what, expectation(beside(file, ".expect")));
        EXPECT_EQ(parsed.error().code, Errc::invalid_input);
        EXPECT_EQ(parsed.error().id, "invalid-job");
    }
}

TEST(JobYaml, EveryExampleOfTheConfigurationFolderThatIsAJobIsValid) {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("conf/jobs")) {
        if (entry.path().extension() != ".yaml") continue;
        const auto name = entry.path().filename().string();
        const auto parsed = parse_job(read_whole(entry.path()), name);
        EXPECT_TRUE(parsed) << parsed.error().what;
        ++count;
    }
    EXPECT_GE(count, 5U);
}

TEST(JobYaml, DefaultsAreThoseOfTheModel) {
    const auto job = job_of("source: {ami: ami-0abc1234}");
    const Job model;
    EXPECT_EQ(job.source.ami, "ami-0abc1234");
    EXPECT_EQ(job.id, "");
    EXPECT_EQ(job.target.name, model.target.name);
    EXPECT_EQ(job.target.description, model.target.description);
    EXPECT_TRUE(job.target.tags.empty());
    EXPECT_TRUE(job.target.copy_source_tags);
    EXPECT_EQ(job.target.root_device_name, "/dev/xvda");
    EXPECT_EQ(job.target.volume_type, "gp3");
    EXPECT_EQ(job.target.on_name_collision, NameCollision::fail);
    EXPECT_EQ(job.conversion.layout, Layout::mbr);
    EXPECT_EQ(job.conversion.virtualization, Virtualization::hvm);
    EXPECT_EQ(job.target.aki, "auto");
    EXPECT_EQ(job.conversion.bootloader, Bootloader::grub2);
    EXPECT_EQ(job.conversion.consoles, model.conversion.consoles);
    EXPECT_FALSE(job.conversion.verify_copy);
    EXPECT_FALSE(job.conversion.platform.has_value());
    EXPECT_EQ(job.finish.on_success, FinishAction::terminate);
    EXPECT_EQ(job.finish.on_failure, FinishAction::terminate);
    EXPECT_EQ(job.deadline, 2h);
    EXPECT_TRUE(job.endpoints.empty());
}

TEST(JobYaml, AParavirtualTargetHasDefaultsOfItsOwn) {
    const auto job = job_of(read_whole("tests/data/jobs/valid/paravirtual.yaml"));
    EXPECT_EQ(job.conversion.virtualization, Virtualization::paravirtual);
    EXPECT_EQ(job.target.aki, "auto");
    EXPECT_EQ(job.target.name, "{source.name}-pv-{date}");
    EXPECT_EQ(job.target.description,
              "Paravirtual conversion of {source.ami} ({source.name}) by amilift");
    EXPECT_EQ(job.target.root_device_name, "/dev/sda1");
    const auto full = job_of(read_whole("tests/data/jobs/valid/paravirtual-aki.yaml"));
    EXPECT_EQ(full.target.aki, "aki-0123456789abcdef0");
    EXPECT_EQ(full.target.name, "{source.name}-old");
    EXPECT_EQ(full.target.description, "old");
    EXPECT_EQ(full.target.root_device_name, "/dev/xvda");
    EXPECT_EQ(job_of("source: {ami: ami-0abc1234}\ntarget: {aki: auto}").target.aki, "auto");
}

TEST(JobYaml, ReadsEveryKey) {
    const auto job = job_of(read_whole("tests/data/jobs/valid/full.yaml"));
    EXPECT_EQ(job.id, "web-2011");
    EXPECT_EQ(job.source.ami, "ami-0123456789abcdef0");
    EXPECT_EQ(job.target.name, "{source.name}-hvm-{date}-{time}");
    EXPECT_EQ(job.target.description, "Lifted from {source.ami} by {job.id}");
    EXPECT_EQ(job.target.tags,
              (std::map<std::string, std::string>{{"42", "17"},
                                                  {"Empty", ""},
                                                  {"Note", "{{kept}} from {source.name}"},
                                                  {"Project", "migration"}}));
    EXPECT_FALSE(job.target.copy_source_tags);
    EXPECT_EQ(job.target.root_device_name, "/dev/sda1");
    EXPECT_EQ(job.target.volume_type, "gp2");
    EXPECT_EQ(job.target.on_name_collision, NameCollision::suffix);
    EXPECT_EQ(job.conversion.layout, Layout::gpt);
    EXPECT_EQ(job.conversion.size_gib, 20U);
    EXPECT_EQ(job.conversion.bootloader, Bootloader::grub_legacy);
    EXPECT_EQ(job.conversion.platform, Platform::nitro);
    EXPECT_EQ(job.conversion.consoles, (std::vector<std::string>{"tty0", "ttyS0,9600n8r"}));
    EXPECT_TRUE(job.conversion.verify_copy);
    EXPECT_EQ(job.finish.on_success, FinishAction::stop);
    EXPECT_EQ(job.finish.on_failure, FinishAction::keep);
    EXPECT_EQ(job.deadline, 90min);
    EXPECT_EQ(job.endpoints.size(), 2U);
    EXPECT_EQ(job.endpoints.at("s3"), "http://127.0.0.1:5000/s3");
}

TEST(JobYaml, ReadsThePointer) {
    const auto parsed = parse_job(read_whole("tests/data/jobs/valid/pointer.yaml"), "user-data");
    ASSERT_TRUE(parsed);
    const auto* pointer = std::get_if<JobPointer>(&*parsed);
    ASSERT_NE(pointer, nullptr);
    EXPECT_EQ(pointer->bucket, "my-jobs");
    EXPECT_EQ(pointer->key, "2026/web.yaml");
    EXPECT_EQ(pointer->version, "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY");
    EXPECT_EQ(pointer->sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(JobYaml, PointerWithoutVersionHasNone) {
    const auto parsed = parse_job(read_whole("tests/data/jobs/valid/pointer-url.yaml"), "x");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(std::get<JobPointer>(*parsed).version, std::nullopt);
    EXPECT_EQ(std::get<JobPointer>(*parsed).bucket, "my-jobs");
}

TEST(JobYaml, CloudConfigLeavesTheOtherKeysAlone) {
    EXPECT_EQ(job_of("#cloud-config\nid: [not, ours]\namilift: {source: {ami: ami-0abc1234}}").id,
              "");
    EXPECT_EQ(job_of("packages: [a]\namilift: {source: {ami: ami-0abc1234}, id: x}").id, "x");
    EXPECT_EQ(error_of("#amilift\namilift: {source: {ami: ami-0abc1234}}"),
              "job.yaml:2:1: unknown key 'amilift' (valid keys here: id, source, target, "
              "conversion, finish, deadline, endpoints)\n"
              "job.yaml:2:1: 'source' is missing");
}

TEST(JobYaml, ErrorsComeInTheOrderOfTheTextAndAreCounted) {
    std::string text = "source: {ami: ami-0abc1234}\n";
    for (int i = 0; i < 30; ++i) text += "bad" + std::to_string(i) + ": 1\n";
    const auto what = error_of(text);
    EXPECT_EQ(std::ranges::count(what, '\n'), 20);
    EXPECT_TRUE(what.ends_with("job.yaml: and 10 more"));
    EXPECT_LT(what.find("job.yaml:2:1"), what.find("job.yaml:10:1"));
}

TEST(JobYaml, MessagesNeverRepeatAnEndpointsPassword) {
    EXPECT_EQ(error_of("source: {ami: ami-0abc1234}\nendpoints: {ec2: 'https://u:hunter2@x'}\n")
                  .find("hunter2"),
              std::string::npos);
}

TEST(JobYaml, NoVariantOfAValidJobDoesHarm) {
    std::size_t refused = 0;
    std::size_t count = 0;
    for (const auto* name : {"full", "cloud-config", "pointer"}) {
        const auto text = read_whole(std::string("tests/data/jobs/valid/") + name + ".yaml");
        ASSERT_FALSE(text.empty());
        each_variant(text, [&](const std::string& variant) {
            const auto parsed = parse_job(variant, "x");
            ++count;
            if (parsed) return;
            ++refused;
            EXPECT_EQ(parsed.error().code, Errc::invalid_input);
            EXPECT_TRUE(parsed.error().what.starts_with("x:")) << parsed.error().what;
        });
    }
    EXPECT_GT(count, 7000U);
    EXPECT_GT(refused, count / 2);
}

TEST(JobYaml, AJobThatWasCutOffPassesOnlyAtTheEndOfAValue) {
    const std::string text = "source:\n  ami: ami-0abc1234\nfinish: {on_failure: stop}\n";
    const auto ami_end = text.find("\nfinish");
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool complete = i == ami_end || i == ami_end + 1 || i == text.size() - 1;
        EXPECT_EQ(parse_job(text.substr(0, i), "x").has_value(), complete) << text.substr(0, i);
    }
}

TEST(CloudConfig, KnowsWhetherThereIsAJob) {
    EXPECT_TRUE(cloud_config_has_job("#cloud-config\namilift: {}\n"));
    EXPECT_TRUE(cloud_config_has_job("#cloud-config\n{\"amilift\": {}}\n"));
    EXPECT_FALSE(cloud_config_has_job("#cloud-config\npackages: [amilift]\n"));
    EXPECT_FALSE(cloud_config_has_job("#cloud-config\nx: {amilift: {}}\n"));
    EXPECT_FALSE(cloud_config_has_job("#cloud-config\nruncmd:\n- |\n  amilift: x\n"));
    EXPECT_FALSE(cloud_config_has_job(""));
}

TEST(CloudConfig, BrokenYamlWithTheKeyCountsSoThatItsErrorIsShown) {
    EXPECT_TRUE(cloud_config_has_job("#cloud-config\namilift: {\n"));
    EXPECT_TRUE(cloud_config_has_job("#cloud-config\nx: [\n'amilift' : {}\n"));
    EXPECT_FALSE(cloud_config_has_job("#cloud-config\nx: [\n amilift: {}\n"));
    EXPECT_FALSE(cloud_config_has_job("#cloud-config\nx: [\namilifted: {}\n"));
}

}  // namespace
}  // namespace amilift::job
