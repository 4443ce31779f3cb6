// SPDX-License-Identifier: Apache-2.0
#include "dev/device_monitor.hpp"

#include <fmt/format.h>
#include <libudev.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <optional>
#include <utility>

#include "core/log.hpp"
#include "core/owned.hpp"

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::fail_errno;
using core::Result;
using SteadyTime = std::chrono::steady_clock::time_point;

using Udev = core::Owned<udev, udev_unref>;
using UdevMonitor = core::Owned<udev_monitor, udev_monitor_unref>;
using UdevEnumerate = core::Owned<udev_enumerate, udev_enumerate_unref>;
using UdevDevice = core::Owned<udev_device, udev_device_unref>;

constexpr const char* kUdevControl = "/run/udev/control";
// Dozens of volumes may come at once; an overrun is survived, by looking at everything again.
constexpr int kReceiveBufferBytes = 16 << 20;
constexpr int kEventsAtOnce = 1000;
// Events are the rule. The slice bounds how long a cancel goes unheard, the full look how long a
// lost event does.
constexpr auto kSlice = std::chrono::milliseconds(200);
constexpr auto kFullLook = std::chrono::seconds(5);

std::string text_of(const char* text) {
    return text == nullptr ? std::string() : std::string(text);
}

std::string without_blanks(std::string text) {
    while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.pop_back();
    while (!text.empty() && text.front() == ' ') text.erase(0, 1);
    return text;
}

DeviceFacts facts_of(udev_device* device) {
    DeviceFacts facts;
    facts.sysname = text_of(udev_device_get_sysname(device));
    facts.node = text_of(udev_device_get_devnode(device));
    facts.devtype = text_of(udev_device_get_devtype(device));
    facts.initialized = udev_device_get_is_initialized(device) > 0;
    // The driver's word comes first; udev's property can be of the device that had the name before.
    facts.serial = without_blanks(text_of(udev_device_get_sysattr_value(device, "device/serial")));
    if (facts.serial.empty()) {
        facts.serial =
            without_blanks(text_of(udev_device_get_property_value(device, "ID_SERIAL_SHORT")));
    }
    const auto size = text_of(udev_device_get_sysattr_value(device, "size"));
    std::from_chars(size.data(), size.data() + size.size(), facts.size_sectors);
    return facts;
}

class UdevDeviceMonitor final : public DeviceMonitor {
  public:
    UdevDeviceMonitor(Udev context, UdevMonitor monitor, DeviceMatcher matches)
        : context_(std::move(context)),
          monitor_(std::move(monitor)),
          matches_(std::move(matches)) {}

    Result<AttachedDevice> wait_present(const std::string& volume_id,
                                        const std::string& requested_device, core::Duration timeout,
                                        const core::Cancel& cancel) override {
        std::optional<DeviceFacts> found;
        AMILIFT_TRY(const bool done, wait(timeout, cancel, [&]() -> Result<bool> {
                        AMILIFT_TRY(found, find(volume_id, requested_device));
                        return found && is_usable(*found);
                    }));
        if (done) return AttachedDevice{found->node, found->serial};
        if (found) {
            return fail(Errc::timed_out,
                        fmt::format("volume '{}' appeared as '{}' and was not usable within {} ms: "
                                    "{} sectors, udev {}",
                                    volume_id, found->sysname, timeout.count(), found->size_sectors,
                                    found->initialized ? "is done" : "is not done"),
                        "detach the volume and attach it under another device name");
        }
        return fail(Errc::timed_out,
                    fmt::format("no block device of volume '{}' (asked for as '{}') appeared "
                                "within {} ms",
                                volume_id, requested_device, timeout.count()),
                    "detach the volume and attach it under another device name");
    }

    Result<> wait_absent(const std::string& volume_id, const std::string& requested_device,
                         core::Duration timeout, const core::Cancel& cancel) override {
        std::optional<DeviceFacts> found;
        AMILIFT_TRY(const bool done, wait(timeout, cancel, [&]() -> Result<bool> {
                        AMILIFT_TRY(found, find(volume_id, requested_device));
                        return !found;
                    }));
        if (done) return {};
        return fail(Errc::timed_out,
                    fmt::format("volume '{}' is still there as '{}' after {} ms", volume_id,
                                found ? found->sysname : "?", timeout.count()),
                    "see what holds the device (lsblk), unmount it, then detach again");
    }

  private:
    /// The volume's device among those present; one that is usable comes first.
    [[nodiscard]] Result<std::optional<DeviceFacts>> find(const std::string& volume_id,
                                                          const std::string& requested_device) {
        const UdevEnumerate enumerate(udev_enumerate_new(context_.get()));
        if (!enumerate || udev_enumerate_add_match_subsystem(enumerate.get(), "block") < 0 ||
            udev_enumerate_scan_devices(enumerate.get()) < 0) {
            return fail(Errc::io_error, "cannot list block devices through udev",
                        "check that /sys is mounted");
        }
        std::optional<DeviceFacts> best;
        udev_list_entry* entry = nullptr;
        udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(enumerate.get())) {
            // Devices may vanish while the list is read: null then.
            const UdevDevice device(
                udev_device_new_from_syspath(context_.get(), udev_list_entry_get_name(entry)));
            if (!device) continue;
            auto facts = facts_of(device.get());
            if (!matches_(facts, volume_id, requested_device)) continue;
            if (!best || (!is_usable(*best) && is_usable(facts))) best = std::move(facts);
        }
        return best;
    }

    /// Looks, then looks again after each event, until `look` says true (true) or time is up
    /// (false).
    template <class Look>
    [[nodiscard]] Result<bool> wait(core::Duration timeout, const core::Cancel& cancel, Look look) {
        const SteadyTime until = std::chrono::steady_clock::now() + timeout;
        for (;;) {
            AMILIFT_TRY(const bool done, look());
            if (done) return true;
            const SteadyTime next_full = std::chrono::steady_clock::now() + kFullLook;
            for (bool changed = false; !changed;) {
                AMILIFT_CHECK(cancel.check());
                const auto now = std::chrono::steady_clock::now();
                if (now >= until) {
                    AMILIFT_TRY(const bool at_last, look());
                    return at_last;
                }
                if (now >= next_full) break;
                AMILIFT_TRY(changed,
                            drain(std::min<std::chrono::nanoseconds>(kSlice, until - now)));
            }
        }
    }

    /// Waits at most `slice` for events and takes what there is; whether there were any.
    [[nodiscard]] Result<bool> drain(std::chrono::nanoseconds slice) {
        pollfd waiting{.fd = udev_monitor_get_fd(monitor_.get()), .events = POLLIN, .revents = 0};
        const auto ms = std::chrono::ceil<std::chrono::milliseconds>(slice).count();
        const int ready = ::poll(&waiting, 1, static_cast<int>(ms));
        if (ready < 0) {
            const int saved = errno;
            if (saved == EINTR) return false;
            return fail_errno(saved, "cannot wait for udev events");
        }
        bool any = false;
        for (int event = 0; ready > 0 && event < kEventsAtOnce; ++event) {
            errno = 0;
            const UdevDevice device(udev_monitor_receive_device(monitor_.get()));
            if (!device) {
                // ENOBUFS: events were lost. Looking at everything, as the caller does, mends it.
                any = any || errno == ENOBUFS;
                break;
            }
            core::log_debug(fmt::format("udev: {} {}",
                                        text_of(udev_device_get_action(device.get())),
                                        text_of(udev_device_get_sysname(device.get()))));
            any = true;
        }
        return any;
    }

    Udev context_;
    UdevMonitor monitor_;
    DeviceMatcher matches_;
};

}  // namespace

Result<std::unique_ptr<DeviceMonitor>> make_udev_monitor(DeviceMatcher matches) {
    // Without the daemon libudev hands out a monitor that never hears anything.
    if (::access(kUdevControl, F_OK) != 0) {
        return fail(Errc::unavailable,
                    fmt::format("udev does not run on this helper: no '{}'", kUdevControl),
                    "start systemd-udevd");
    }
    Udev context(udev_new());
    if (!context) return fail(Errc::unavailable, "cannot start libudev: out of memory");
    UdevMonitor monitor(udev_monitor_new_from_netlink(context.get(), "udev"));
    if (!monitor) {
        const int saved = errno;
        return fail_errno(saved, "cannot open udev's netlink group",
                          "the sandbox must allow AF_NETLINK");
    }
    // Needs CAP_NET_ADMIN; without it the default size does, as overruns are survived.
    if (udev_monitor_set_receive_buffer_size(monitor.get(), kReceiveBufferBytes) < 0) {
        core::log_debug("cannot enlarge udev's receive buffer, ignoring");
    }
    if (udev_monitor_filter_add_match_subsystem_devtype(monitor.get(), "block", nullptr) < 0 ||
        udev_monitor_enable_receiving(monitor.get()) < 0) {
        return fail(Errc::unavailable, "cannot listen to udev's events of block devices",
                    "the sandbox must allow AF_NETLINK");
    }
    return std::make_unique<UdevDeviceMonitor>(std::move(context), std::move(monitor),
                                               std::move(matches));
}

}  // namespace amilift::dev
