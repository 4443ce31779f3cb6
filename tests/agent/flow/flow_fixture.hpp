// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "fakes/fake_ec2.hpp"
#include "fakes/manual_clock.hpp"
#include "flow/runner.hpp"

namespace amilift::fakes {

/// Devices that follow the fake EC2's attachments.
class FakeDevices final : public dev::DeviceMonitor {
  public:
    explicit FakeDevices(FakeEc2& ec2) : ec2_(ec2) {}
    bool appears = true;
    core::Result<dev::AttachedDevice> wait_present(const std::string& volume_id, const std::string&,
                                                   core::Duration, const core::Cancel&) override {
        const auto v = ec2_.volumes.find(volume_id);
        if (!appears || v == ec2_.volumes.end() || v->second.attachments.empty()) {
            return core::fail(core::Errc::timed_out, "volume '" + volume_id + "' did not appear");
        }
        return dev::AttachedDevice{"/dev/fake-" + volume_id, volume_id};
    }
    core::Result<> wait_absent(const std::string&, const std::string&, core::Duration,
                               const core::Cancel&) override {
        return {};
    }

  private:
    FakeEc2& ec2_;
};

class FakeWorker final : public flow::DiskWorker {
  public:
    std::vector<flow::ConvertOrder> orders;
    core::Result<flow::ConvertOutcome> outcome = flow::ConvertOutcome{
        {"changed /etc/fstab"}, {"grub-fstest reads /boot/vmlinuz"}, "6.1", "built in"};
    std::function<void()> during;
    core::Result<flow::ConvertOutcome> convert(
        const flow::ConvertOrder& order,
        const std::function<void(flow::Update::Kind, std::string)>& say,
        const std::function<void(const dev::CopyProgress&)>& progress,
        const core::Cancel& cancel) override {
        orders.push_back(order);
        if (during) during();
        if (auto told = cancel.check(); !told) return std::unexpected(told.error());
        say(flow::Update::Kind::message, "a step");
        progress({.done_bytes = 1U << 30, .total_bytes = 2U << 30});
        return outcome;
    }
};

class FakeControl final : public flow::HelperControl {
  public:
    std::vector<std::chrono::seconds> armed;
    int disarmed = 0;
    int powered_off = 0;
    core::Result<> arm_deadline(std::chrono::seconds left) override {
        armed.push_back(left);
        return {};
    }
    core::Result<> disarm_deadline() override {
        ++disarmed;
        return {};
    }
    core::Result<> power_off() override {
        ++powered_off;
        return {};
    }
};

class RecordingObserver final : public flow::Observer {
  public:
    std::vector<std::string> states;
    std::vector<std::string> warnings;
    std::string finished;
    void on_update(const flow::Record& record, const flow::Update& update) override {
        if (update.kind == flow::Update::Kind::state_entered) {
            states.emplace_back(flow::to_string(record.state));
        }
        if (update.kind == flow::Update::Kind::warning) warnings.push_back(update.text);
        if (update.kind == flow::Update::Kind::finished) finished = update.text;
    }
};

/// A helper with a PV source AMI, ready to run a job.
class FlowTest : public ::testing::Test {
  protected:
    static constexpr const char* kHelper = "i-0000000000000000a";
    static constexpr const char* kSource = "ami-0000000000000000b";

    void SetUp() override {
        // In memory where that is possible: the crash tests write thousands of durable records.
        const std::filesystem::path memory = "/dev/shm";
        const auto parent =
            std::filesystem::exists(memory) ? memory : std::filesystem::temp_directory_path();
        auto name = (parent / "amilift-flow-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;

        aws::Instance helper;
        helper.id = kHelper;
        helper.state = "running";
        helper.availability_zone = "eu-west-1a";
        helper.block_devices.emplace_back().device_name = "/dev/xvda";
        ec2.instances[kHelper] = helper;

        aws::Image source;
        source.id = kSource;
        source.name = "web-2011";
        source.state = "available";
        source.owner_id = "123456789012";
        source.architecture = "x86_64";
        source.virtualization_type = "paravirtual";
        source.root_device_type = "ebs";
        source.root_device_name = "/dev/sda1";
        aws::BlockDeviceMapping root;
        root.device_name = "/dev/sda1";
        root.snapshot_id = "snap-0000000000000000c";
        root.volume_size_gib = 8;
        root.delete_on_termination = true;
        source.block_devices.push_back(root);
        source.tags = {{"Team", "web"}, {"aws:cloudformation:stack-name", "old"}};
        ec2.images[kSource] = source;

        job.source.ami = kSource;
    }

    void TearDown() override { std::filesystem::remove_all(directory_); }

    /// An HVM AMI, and a job that takes one.
    void make_source_hvm() {
        ec2.images.at(kSource).virtualization_type = "hvm";
        job.conversion.platform = job::Platform::nitro;
    }

    [[nodiscard]] flow::Services services() {
        return flow::Services{
            ec2,
            devices,
            worker,
            control,
            clock,
            stop,
            job_cancel,
            observer,
            [this]() -> core::Result<job::Job> { return fetched ? *fetched : job; },
            {kHelper, "eu-west-1a", "eu-west-1"},
            record_path(),
            "0.1.0",
            true,
            {},
            boot_id};
    }
    [[nodiscard]] std::string record_path() const { return (directory_ / "flow.json").string(); }
    [[nodiscard]] core::Result<flow::Record> run() {
        auto s = services();
        return flow::run_job(s);
    }

    std::filesystem::path directory_;
    FakeEc2 ec2;
    FakeDevices devices{ec2};
    FakeWorker worker;
    FakeControl control;
    ManualClock clock;
    std::string boot_id = "first";
    core::Cancel stop;
    core::Cancel job_cancel;
    RecordingObserver observer;
    job::Job job;
    std::optional<core::Result<job::Job>> fetched;
};

}  // namespace amilift::fakes
