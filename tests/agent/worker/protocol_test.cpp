// SPDX-License-Identifier: Apache-2.0
#include "worker/protocol.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <functional>
#include <random>
#include <thread>

namespace amilift::worker {
namespace {

using core::Errc;

struct SocketPair {
    SocketPair() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        a = core::Fd(ends[0]);
        b = core::Fd(ends[1]);
    }
    core::Fd a;
    core::Fd b;
};

std::string frame(std::string_view json) {
    std::string text{'\0', '\0', static_cast<char>(json.size() >> 8U),
                     static_cast<char>(json.size() & 0xffU)};
    return text + std::string(json);
}

ConversionRequest sample_request() {
    ConversionRequest request;
    request.source = {"/dev/nvme1n1", "vol-0123456789abcdef0", "/dev/sdf"};
    request.target = {"/dev/nvme2n1", "vol-0123456789abcdef1", "/dev/sdg"};
    request.options.virtualization = job::Virtualization::paravirtual;
    request.options.architecture = "i386";
    request.options.bootloader = job::Bootloader::grub_legacy;
    request.options.consoles = {"ttyS1,9600"};
    request.options.platform = job::Platform::xen;
    request.options.layout = job::Layout::gpt;
    request.options.size_gib = 20;
    request.may_replay_source_journal = true;
    request.target_content = dev::TargetContent::zeros;
    request.is_interrupted = true;
    request.options.verify_copy = true;
    request.journaled_disks = {"vol-0123456789abcdef0", "vol-0123456789abcdef1"};
    return request;
}

TEST(Protocol, RequestArrivesAsItWasSent) {
    const auto decoded = decode_request(encode_request(sample_request()));
    ASSERT_TRUE(decoded) << decoded.error().message();
    const auto* request = std::get_if<ConversionRequest>(&*decoded);
    ASSERT_NE(request, nullptr);
    EXPECT_EQ(request->source.path, "/dev/nvme1n1");
    EXPECT_EQ(request->source.volume_id, "vol-0123456789abcdef0");
    EXPECT_EQ(request->target.path, "/dev/nvme2n1");
    EXPECT_EQ(request->target.volume_id, "vol-0123456789abcdef1");
    EXPECT_EQ(request->source.requested_device, "/dev/sdf");
    EXPECT_EQ(request->target.requested_device, "/dev/sdg");
    EXPECT_EQ(request->options.virtualization, job::Virtualization::paravirtual);
    EXPECT_EQ(request->options.architecture, "i386");
    EXPECT_EQ(request->options.bootloader, job::Bootloader::grub_legacy);
    EXPECT_EQ(request->options.consoles, std::vector<std::string>{"ttyS1,9600"});
    EXPECT_EQ(request->options.platform, job::Platform::xen);
    EXPECT_EQ(request->options.layout, job::Layout::gpt);
    EXPECT_EQ(request->options.size_gib, 20U);
    EXPECT_TRUE(request->may_replay_source_journal);
    EXPECT_EQ(request->target_content, dev::TargetContent::zeros);
    EXPECT_TRUE(request->is_interrupted);
    EXPECT_TRUE(request->options.verify_copy);
    EXPECT_EQ(request->journaled_disks, sample_request().journaled_disks);
}

TEST(Protocol, AnOpenDiskArrivesAsTheDescriptorOfTheWorker) {
    for (const auto& [here, there] : {std::pair{-1, -1}, std::pair{7, kWorkerDisk}}) {
        const auto look = decode_request(
            encode_request(InspectionRequest{{.path = "/home/caf\xe9", .descriptor = here}}));
        ASSERT_TRUE(look) << look.error().message();
        EXPECT_EQ(std::get<InspectionRequest>(*look).disk.descriptor, there);
        EXPECT_EQ(std::get<InspectionRequest>(*look).disk.path, "/home/caf\xe9");

        PlanRequest request{sample_request()};
        request.conversion.source.descriptor = here;
        const auto asked = decode_request(encode_request(request));
        ASSERT_TRUE(asked) << asked.error().message();
        const auto* conversion = &std::get<PlanRequest>(*asked).conversion;
        EXPECT_EQ(conversion->source.descriptor, there);
        EXPECT_EQ(conversion->source.path, "/dev/nvme1n1");
        EXPECT_EQ(conversion->options.size_gib, 20U);
    }
}

Inspection sample_inspection() {
    Inspection seen;
    seen.disk.layout = dev::DiskLayout::gpt;
    seen.filesystem.type = dev::Filesystem::xfs;
    seen.filesystem.size_bytes = 1ULL << 40;
    auto& partition = seen.partitions.emplace_back();
    partition.number = 15;
    partition.content = dev::PartitionContent::fat;
    partition.content_uuid = "1234-ABCD";
    auto& facts = seen.facts;
    facts.disk.volumes = {{.partition = 1, .mount_point = "/", .uuid = "u", .label = "l"}};
    facts.disk.code = image::BootCode::grub2;
    facts.os_id = "debian";
    facts.init = image::InitSystem::systemd;
    facts.menu_kind = image::BootMenuKind::grub_legacy;
    facts.menu_text = "default 0\ntitle one\n kernel /vmlinuz\n";
    facts.boot_entries.push_back({.title = "one",
                                  .where = "/boot/grub/menu.lst:2",
                                  .kernel = "/vmlinuz",
                                  .initrds = {"/a", "/b"},
                                  .arguments = "ro"});
    facts.boot_order = {0};
    facts.boot_entry = 0;
    facts.kernel_of_entry = {0};
    auto& kernel = facts.kernels.emplace_back();
    kernel.path = "/vmlinuz";
    kernel.format = image::KernelFormat::elf;
    kernel.cannot_boot_hvm = "because";
    kernel.starts_on_efi = false;
    kernel.has_initramfs_inside = true;
    kernel.nvme.place = "built in";
    kernel.initramfs.builder = image::InitramfsBuilder::dracut;
    kernel.initramfs.segments = {"cpio", "zstd cpio"};
    kernel.nvme_timeout = image::NvmeTimeout{"nvme.io_timeout", 255};
    facts.efi_start = image::EfiStart{"efi-loader-missing", "there", "nothing", "register"};
    facts.fstab_text = "LABEL=l / ext4\n";
    facts.findings.push_back({image::Severity::warning, "id", "where", "seen", "then", "do"});
    return seen;
}

TEST(Protocol, InspectionsAreAskedForAndArriveWhole) {
    const auto request =
        decode_request(encode_request(InspectionRequest{{"/dev/x", "vol-1", "/dev/sdf"}, true}));
    ASSERT_TRUE(request) << request.error().message();
    const auto& look = std::get<InspectionRequest>(*request);
    EXPECT_EQ(look.disk.path, "/dev/x");
    EXPECT_EQ(look.disk.volume_id, "vol-1");
    EXPECT_EQ(look.disk.requested_device, "/dev/sdf");
    EXPECT_TRUE(look.may_replay_journal);

    const auto text = encode(sample_inspection());
    const auto message = decode(text);
    ASSERT_TRUE(message) << message.error().message();
    const auto& seen = std::get<Inspection>(*message);
    EXPECT_EQ(encode(seen), text) << "what is sent again is what has arrived";
    EXPECT_EQ(seen.facts.kernels.at(0).cannot_boot_hvm, "because");
    EXPECT_EQ(seen.facts.kernels.at(0).starts_on_efi, false);
    EXPECT_TRUE(seen.facts.kernels.at(0).has_initramfs_inside);
    EXPECT_EQ(seen.facts.kernels.at(0).starts_on_xen_pv, std::nullopt);
    EXPECT_EQ(seen.facts.kernels.at(0).nvme_timeout->largest, 255U);
    ASSERT_TRUE(seen.facts.efi_start.has_value());
    EXPECT_EQ(seen.facts.efi_start->id, "efi-loader-missing");
    EXPECT_EQ(seen.partitions.at(0).content, dev::PartitionContent::fat);
    EXPECT_EQ(seen.facts.boot_entries.at(0).initrds, (std::vector<std::string>{"/a", "/b"}));
    ASSERT_EQ(seen.facts.menu.entries.size(), 1U) << "the menu's text is parsed again";
    EXPECT_EQ(seen.facts.menu.entries[0].title, "one");
}

TEST(Protocol, APlanArrivesWhole) {
    const PlanText plan{sample_inspection(), {"copy: it", "menu: caf\xe9"}, 5, 6};
    const auto text = encode(plan);
    const auto message = decode(text, TextForm::exact);
    ASSERT_TRUE(message) << message.error().message();
    const auto& told = std::get<PlanText>(*message);
    EXPECT_EQ(encode(told), text);
    EXPECT_EQ(told.steps, plan.steps);
    EXPECT_EQ(told.used_bytes, 5U);
    EXPECT_EQ(told.target_bytes, 6U);
    EXPECT_EQ(told.inspection.facts.kernels.size(), 1U);
}

TEST(Protocol, NoIndexOfAnInspectionIsTakenOnTrust) {
    const std::vector<std::function<void(image::ImageFacts&)>> lies{
        [](auto& f) { f.boot_entry = 1; },
        [](auto& f) { f.boot_order = {0, 7}; },
        [](auto& f) { f.kernel_of_entry = {1}; },
        [](auto& f) { f.kernel_of_entry = {0, 0}; },
        [](auto& f) { f.menu_kind = static_cast<image::BootMenuKind>(99); },
        [](auto& f) { f.menu_text = std::string(image::kTextLimit + 1, 'x'); }};
    for (std::size_t i = 0; i < lies.size(); ++i) {
        auto inspection = sample_inspection();
        lies[i](inspection.facts);
        const auto message = decode(encode(inspection));
        ASSERT_FALSE(message) << i;
        EXPECT_TRUE(message.error().is(Errc::corrupt));
    }
}

TEST(Protocol, EveryKindOfMessageArrivesAsItWasSent) {
    const auto again = [](const WorkerMessage& message) {
        auto decoded = decode(encode(message));
        EXPECT_TRUE(decoded) << decoded.error().message();
        return *std::move(decoded);
    };
    EXPECT_TRUE(std::holds_alternative<AliveMessage>(again(AliveMessage{})));
    EXPECT_EQ(std::get<StageMessage>(again(StageMessage{"verify"})).stage, "verify");
    const auto step = std::get<StepMessage>(again(StepMessage{2, 5, "copy"}));
    EXPECT_EQ(step.index, 2U);
    EXPECT_EQ(step.count, 5U);
    EXPECT_EQ(step.text, "copy");
    const auto progress = std::get<dev::CopyProgress>(
        again(dev::CopyProgress{3, 1ULL << 44, 2, dev::CopyPass::verify}));
    EXPECT_EQ(progress.done_bytes, 3U);
    EXPECT_EQ(progress.resumed_bytes, 2U);
    EXPECT_EQ(progress.pass, dev::CopyPass::verify);
    EXPECT_EQ(progress.total_bytes, 1ULL << 44);
    const auto finding = std::get<image::Finding>(again(
        image::Finding{image::Severity::warning, "id", "where", "seen", "consequence", "action"}));
    EXPECT_EQ(finding.severity, image::Severity::warning);
    EXPECT_EQ(finding.id + finding.where + finding.seen + finding.consequence + finding.action,
              "idwhereseenconsequenceaction");
    WorkerOutcome outcome;
    outcome.os_pretty_name = "Some Linux 6";
    outcome.boots_by_uefi = true;
    outcome.filesystem_uuid = "u";
    outcome.kernel_version = "2.6.32";
    outcome.ena_driver = "built in";
    outcome.steps = {"a", "b"};
    outcome.used_bytes = 1;
    outcome.target_bytes = 2;
    outcome.manifest_json = "{}";
    outcome.proofs = {"p"};
    outcome.read_bytes = 3;
    outcome.written_bytes = 4;
    outcome.resumed_bytes = 11;
    outcome.verified_bytes = 12;
    outcome.copy_seconds = 1.5;
    outcome.verify_seconds = 2.5;
    const auto back = std::get<WorkerOutcome>(again(outcome));
    EXPECT_EQ(back.os_pretty_name, outcome.os_pretty_name);
    EXPECT_TRUE(back.boots_by_uefi);
    EXPECT_EQ(back.filesystem_uuid, "u");
    EXPECT_EQ(back.kernel_version, "2.6.32");
    EXPECT_EQ(back.ena_driver, "built in");
    EXPECT_EQ(back.steps, outcome.steps);
    EXPECT_EQ(back.used_bytes, 1U);
    EXPECT_EQ(back.target_bytes, 2U);
    EXPECT_EQ(back.manifest_json, "{}");
    EXPECT_EQ(back.proofs, outcome.proofs);
    EXPECT_EQ(back.read_bytes, 3U);
    EXPECT_EQ(back.written_bytes, 4U);
    EXPECT_EQ(back.resumed_bytes, 11U);
    EXPECT_EQ(back.verified_bytes, 12U);
    EXPECT_DOUBLE_EQ(back.copy_seconds, 1.5);
    EXPECT_DOUBLE_EQ(back.verify_seconds, 2.5);
}

TEST(Protocol, EveryErrorCodeArrivesAsItWasSent) {
    for (const auto code : {Errc::invalid_input, Errc::refused, Errc::not_found,
                            Errc::already_exists, Errc::permission_denied, Errc::unavailable,
                            Errc::timed_out, Errc::io_error, Errc::corrupt, Errc::no_space,
                            Errc::conflict, Errc::cancelled, Errc::not_installed, Errc::internal}) {
        const auto decoded = decode(encode(core::Error{code, "what", "hint", "id", 5}));
        ASSERT_TRUE(decoded) << decoded.error().message();
        const auto& error = std::get<core::Error>(*decoded);
        EXPECT_EQ(error.code, code);
        EXPECT_EQ(error.what + error.hint + error.id, "whathintid");
        EXPECT_EQ(error.sys_errno, 5);
    }
}

TEST(Protocol, TextThatIsNoUtf8IsReadableUnlessItIsToBeExact) {
    const auto sent = encode(StepMessage{0, 1, "caf\xe9"});
    const auto readable = decode(sent);
    ASSERT_TRUE(readable) << readable.error().message();
    EXPECT_EQ(std::get<StepMessage>(*readable).text, "caf\xef\xbf\xbd");
    const auto exact = decode(sent, TextForm::exact);
    ASSERT_TRUE(exact) << exact.error().message();
    EXPECT_EQ(std::get<StepMessage>(*exact).text, "caf\xe9");
}

TEST(Protocol, WhatIsNotUnderstoodNamesTheField) {
    struct Case {
        const char* json;
        const char* said;
    };
    for (
        const auto& wrong : {
            Case{"", "parse error"},
            Case{"[]", "expected an object"},
            Case{"{}", "field 'v' is missing"},
            Case{R"({"v":2,"type":"stage","stage":"x"})", "different builds"},
            Case{R"({"v":1})", "field 'type' is missing"},
            Case{R"({"v":1,"type":"shell"})", "unknown value 'shell'"},
            Case{R"({"v":1,"type":"stage","stage":7})", "field 'stage'"},
            Case{R"({"v":1,"type":"step","index":5,"count":5,"text":""})", "'index'"},
            Case{R"({"v":1,"type":"step","index":-1,"count":5,"text":""})", "'index'"},
            Case{
                R"({"v":1,"type":"progress","done_bytes":2,"total_bytes":1,"resumed_bytes":0,"pass":"copy"})",
                "'done_bytes'"},
            Case{
                R"({"v":1,"type":"progress","done_bytes":1,"total_bytes":2,"resumed_bytes":2,"pass":"copy"})",
                "'resumed_bytes'"},
            Case{
                R"({"v":1,"type":"progress","done_bytes":1,"total_bytes":2,"resumed_bytes":0,"pass":"x"})",
                "'pass'"},
            Case{R"({"v":1,"type":"progress","done_bytes":1e9,"total_bytes":2})", "'done_bytes'"},
            Case{R"({"v":1,"type":"error","code":"odd","what":"","hint":"","id":"","errno":0})",
                 "'code'"},
            Case{R"({"v":1,"type":"error","code":"refused","what":"","hint":"","id":"",)"
                 R"("errno":99999999999})",
                 "'errno'"},
            Case{R"({"v":1,"type":"finding","severity":"fatal"})", "'severity'"},
        }) {
        const auto decoded = decode(wrong.json);
        ASSERT_FALSE(decoded) << wrong.json;
        EXPECT_TRUE(decoded.error().is(Errc::corrupt));
        EXPECT_NE(decoded.error().what.find(wrong.said), std::string::npos) << decoded.error().what;
    }
}

TEST(Protocol, TextsAreBounded) {
    EXPECT_TRUE(decode(encode(StepMessage{0, 1, std::string(64U << 10, 'x')})));
    EXPECT_FALSE(decode(encode(StepMessage{0, 1, std::string((64U << 10) + 1, 'x')})));
    EXPECT_FALSE(decode(R"({"v":1,"type":"stage","stage":")" + std::string(100, 'x') + "\"}"));
}

TEST(Protocol, DeepNestingIsRefusedWithoutRunningOutOfStack) {
    const std::string deep = std::string(2U << 20, '[');
    EXPECT_FALSE(decode(deep));
    const std::string balanced =
        R"({"v":)" + std::string(1U << 20, '[') + std::string(1U << 20, ']') + "}";
    EXPECT_FALSE(decode(balanced));
}

TEST(Protocol, DamagedMessagesNeverCrash) {
    std::mt19937 random(20061121);
    WorkerOutcome outcome;
    outcome.steps = {"a"};
    const std::array samples{encode_request(sample_request()), encode(outcome),
                             encode(core::Error{Errc::refused, "w", "h", "i", 1}),
                             encode(dev::CopyProgress{1, 2})};
    for (int round = 0; round < 4000; ++round) {
        auto text = samples[random() % samples.size()];
        for (unsigned change = 0; change <= random() % 3; ++change) {
            const auto at = random() % text.size();
            switch (random() % 3) {
                case 0:
                    text[at] = static_cast<char>(random());
                    break;
                case 1:
                    text.erase(at, 1 + random() % 8);
                    break;
                default:
                    text.insert(at, text.substr(random() % text.size(), 1 + random() % 8));
            }
            if (text.empty()) text = "x";
        }
        if (const auto decoded = decode(text); !decoded) {
            EXPECT_TRUE(decoded.error().is(Errc::corrupt));
        }
        if (const auto decoded = decode_request(text); !decoded) {
            EXPECT_TRUE(decoded.error().is(Errc::corrupt));
        }
    }
}

TEST(MessageReader, CutsMessagesOutOfAnyPieces) {
    const std::string stream = frame("first") + frame("second") + frame("x");
    for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
        MessageReader reader;
        std::vector<std::string> seen;
        for (std::size_t at = 0; at < stream.size(); at += piece) {
            reader.feed(std::string_view(stream).substr(at, piece));
            while (true) {
                const auto message = reader.next();
                ASSERT_TRUE(message);
                if (!*message) break;
                seen.push_back(**message);
            }
        }
        EXPECT_EQ(seen, (std::vector<std::string>{"first", "second", "x"})) << piece;
        EXPECT_FALSE(reader.in_the_middle());
    }
}

TEST(MessageReader, RefusesLengthsOutOfBounds) {
    for (const auto& header : {std::string("\0\0\0\0", 4), std::string("\xff\xff\xff\xff"),
                               std::string("\x00\x80\x00\x01", 4), std::string("GET ")}) {
        MessageReader reader;
        reader.feed(header);
        const auto message = reader.next();
        ASSERT_FALSE(message) << header;
        EXPECT_TRUE(message.error().is(Errc::corrupt));
    }
}

TEST(Messages, CrossASocketWhateverTheirSize) {
    SocketPair pair;
    for (const std::size_t size : {1UL, 4UL, 65536UL, 3UL << 20, kMessageLimit}) {
        const std::string text(size, 'm');
        std::jthread sender([&] { EXPECT_TRUE(send_message(pair.a, text)); });
        MessageReader reader;
        const auto received = receive_message(pair.b, reader, std::chrono::seconds(10));
        ASSERT_TRUE(received) << received.error().message();
        EXPECT_EQ(*received, text);
    }
    EXPECT_FALSE(send_message(pair.a, std::string(kMessageLimit + 1, 'm')));
    EXPECT_FALSE(send_message(pair.a, ""));
}

TEST(Messages, SilenceEndAndBrokenOffMessagesAreDifferentErrors) {
    SocketPair pair;
    MessageReader reader;
    auto received = receive_message(pair.b, reader, std::chrono::milliseconds(20));
    ASSERT_FALSE(received);
    EXPECT_TRUE(received.error().is(Errc::timed_out));

    ASSERT_EQ(::send(pair.a.get(), "\0\0\0\x09half", 8, 0), 8);
    pair.a.reset();
    received = receive_message(pair.b, reader, std::chrono::seconds(5));
    ASSERT_FALSE(received);
    EXPECT_TRUE(received.error().is(Errc::unavailable));
    EXPECT_NE(received.error().what.find("within a message"), std::string::npos);

    SocketPair closed;
    closed.a.reset();
    MessageReader fresh;
    received = receive_message(closed.b, fresh, std::chrono::seconds(5));
    ASSERT_FALSE(received);
    EXPECT_NE(received.error().what.find("closed"), std::string::npos);
    const auto sent = send_message(closed.b, "x");
    ASSERT_FALSE(sent);
    EXPECT_TRUE(sent.error().is(Errc::unavailable)) << sent.error().message();
}

}  // namespace
}  // namespace amilift::worker
