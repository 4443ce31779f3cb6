// SPDX-License-Identifier: Apache-2.0
#include "fakes/fake_ec2.hpp"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>

namespace amilift::fakes {
namespace {

using core::Errc;
using core::fail;

bool matches_tags(const aws::Tags& tags, const std::string& filter,
                  const std::vector<std::string>& values) {
    const auto tag = tags.find(filter.substr(4));
    // EC2 takes * and ? for wildcards.
    return tag != tags.end() && std::ranges::any_of(values, [&](const auto& pattern) {
               return ::fnmatch(pattern.c_str(), tag->second.c_str(), 0) == 0;
           });
}

template <class Object, class Field>
bool matches(const Object& object, const aws::Filters& filters, const Field& field) {
    for (const auto& [name, values] : filters) {
        if (name.starts_with("tag:")) {
            if (!matches_tags(object.tags, name, values)) return false;
        } else if (std::ranges::none_of(values, [value = field(object, name)](const auto& wanted) {
                       return wanted.ends_with('*')
                                  ? value.starts_with(wanted.substr(0, wanted.size() - 1))
                                  : value == wanted;
                   })) {
            return false;
        }
    }
    return true;
}

bool owned(const aws::Image& image, const std::vector<std::string>& owners) {
    return owners.empty() || std::ranges::find(owners, image.owner_id) != owners.end();
}

std::string image_field(const aws::Image& image, const std::string& filter) {
    if (filter == "image-type") return image.id.starts_with("aki-") ? "kernel" : "machine";
    return image.name;
}

std::unexpected<core::Error> not_found(const std::string& code, const std::string& id) {
    return fail(Errc::not_found, fmt::format("{}: '{}' does not exist", code, id), "", code);
}

}  // namespace

core::Result<> FakeEc2::enter(const std::string& action) {
    calls.push_back(action);
    return hook ? hook(action, true) : core::Result<>{};
}

core::Result<> FakeEc2::leave(const std::string& action) {
    return hook ? hook(action, false) : core::Result<>{};
}

std::string FakeEc2::new_id(const std::string& prefix) {
    auto id = fmt::format("{}-{:017x}", prefix, next_id_++);
    hidden_[id] = invisible;
    return id;
}

bool FakeEc2::still_invisible(const std::string& id) {
    auto& left = hidden_[id];
    if (left <= 0) return false;
    --left;
    return true;
}

bool FakeEc2::settled(const std::string& id) {
    return ++looks_[id] > slowness;
}

int FakeEc2::count(const std::string& action) const {
    return static_cast<int>(std::ranges::count(calls, action));
}

void FakeEc2::reset() {
    images.clear();
    volumes.clear();
    snapshots.clear();
    instances.clear();
    calls.clear();
    registered.clear();
    instance_tags.clear();
    delete_on_termination.clear();
    created.clear();
    hook = nullptr;
    looks_.clear();
    hidden_.clear();
    tokens_.clear();
}

core::Result<std::vector<aws::Image>> FakeEc2::describe_images(
    const std::vector<std::string>& ids, const std::vector<std::string>& owners,
    const aws::Filters& filters) {
    AMILIFT_CHECK(enter("DescribeImages"));
    for (auto& [id, image] : images) {
        if (image.state == "pending" && settled(id)) image.state = "available";
    }
    std::vector<aws::Image> out;
    for (const auto& id : ids) {
        if (!images.contains(id) || still_invisible(id)) {
            return not_found("InvalidAMIID.NotFound", id);
        }
        if (owned(images.at(id), owners)) out.push_back(images.at(id));
    }
    if (ids.empty()) {
        for (const auto& [id, image] : images) {
            if (owned(image, owners) && matches(image, filters, image_field)) out.push_back(image);
        }
    }
    AMILIFT_CHECK(leave("DescribeImages"));
    return out;
}

core::Result<std::vector<aws::Volume>> FakeEc2::describe_volumes(
    const std::vector<std::string>& ids, const aws::Filters& filters) {
    AMILIFT_CHECK(enter("DescribeVolumes"));
    for (auto& [id, v] : volumes) {
        const bool attaching = !v.attachments.empty() && v.attachments.front().state == "attaching";
        const bool detaching = !v.attachments.empty() && v.attachments.front().state == "detaching";
        if (v.state != "creating" && !attaching && !detaching) continue;
        if (!settled(id)) continue;
        looks_[id] = 0;
        if (v.state == "creating") v.state = "available";
        if (attaching && !stuck) v.attachments.front().state = "attached";
        if (detaching) {
            v.attachments.clear();
            v.state = "available";
        }
    }
    std::vector<aws::Volume> out;
    for (const auto& id : ids) {
        if (!volumes.contains(id) || still_invisible(id)) {
            return not_found("InvalidVolume.NotFound", id);
        }
        out.push_back(volumes.at(id));
    }
    if (ids.empty()) {
        for (const auto& [id, v] : volumes) {
            if (hidden_[id] > 0) continue;
            if (matches(v, filters, [](const auto& x, const std::string&) { return x.state; })) {
                out.push_back(v);
            }
        }
    }
    AMILIFT_CHECK(leave("DescribeVolumes"));
    return out;
}

core::Result<std::vector<aws::Snapshot>> FakeEc2::describe_snapshots(
    const std::vector<std::string>& ids, const aws::Filters& filters) {
    AMILIFT_CHECK(enter("DescribeSnapshots"));
    for (auto& [id, s] : snapshots) {
        if (s.state == "pending" && settled(id)) {
            s.state = "completed";
            s.progress = "100%";
        }
    }
    std::vector<aws::Snapshot> out;
    for (const auto& id : ids) {
        if (!snapshots.contains(id) || still_invisible(id)) {
            return not_found("InvalidSnapshot.NotFound", id);
        }
        out.push_back(snapshots.at(id));
    }
    if (ids.empty()) {
        for (const auto& [id, s] : snapshots) {
            if (hidden_[id] > 0) continue;
            if (matches(s, filters,
                        [](const auto& x, const std::string&) { return x.volume_id; })) {
                out.push_back(s);
            }
        }
    }
    AMILIFT_CHECK(leave("DescribeSnapshots"));
    return out;
}

core::Result<std::vector<aws::Instance>> FakeEc2::describe_instances(
    const std::vector<std::string>& ids, const aws::Filters&) {
    AMILIFT_CHECK(enter("DescribeInstances"));
    std::vector<aws::Instance> out;
    for (const auto& id : ids) {
        if (!instances.contains(id)) return not_found("InvalidInstanceID.NotFound", id);
        out.push_back(instances.at(id));
    }
    AMILIFT_CHECK(leave("DescribeInstances"));
    return out;
}

core::Result<aws::Volume> FakeEc2::create_volume(const aws::CreateVolumeRequest& r) {
    AMILIFT_CHECK(enter("CreateVolume"));
    if (!r.client_token.empty() && tokens_.contains(r.client_token)) {
        return volumes.at(tokens_.at(r.client_token));
    }
    aws::Volume v;
    v.id = new_id("vol");
    v.state = "creating";
    v.snapshot_id = r.snapshot_id.value_or("");
    v.availability_zone = r.availability_zone;
    v.size_gib = r.size_gib.value_or(8);
    v.tags = r.tags;
    volumes[v.id] = v;
    created[v.id] = r;
    if (!r.client_token.empty()) tokens_[r.client_token] = v.id;
    AMILIFT_CHECK(leave("CreateVolume"));
    return v;
}

core::Result<> FakeEc2::attach_volume(const std::string& volume_id, const std::string& instance_id,
                                      const std::string& device) {
    AMILIFT_CHECK(enter("AttachVolume"));
    auto& v = volumes.at(volume_id);
    if (!v.attachments.empty()) {
        return fail(Errc::conflict, "VolumeInUse: already attached", "", "VolumeInUse");
    }
    v.state = "in-use";
    v.attachments.push_back({instance_id, device, "attaching", false});
    return leave("AttachVolume");
}

core::Result<> FakeEc2::detach_volume(const std::string& volume_id, const std::string&,
                                      aws::Detach how) {
    AMILIFT_CHECK(enter("DetachVolume"));
    auto& v = volumes.at(volume_id);
    if (v.attachments.empty()) {
        return fail(Errc::conflict, "IncorrectState: not attached", "", "IncorrectState");
    }
    const bool lets_go = !stuck || how == aws::Detach::forced;
    v.attachments.front().state = lets_go ? "detaching" : "busy";
    return leave("DetachVolume");
}

core::Result<> FakeEc2::delete_volume(const std::string& volume_id) {
    AMILIFT_CHECK(enter("DeleteVolume"));
    const auto found = volumes.find(volume_id);
    if (found == volumes.end()) return not_found("InvalidVolume.NotFound", volume_id);
    if (!found->second.attachments.empty()) {
        return fail(Errc::conflict, "VolumeInUse", "", "VolumeInUse");
    }
    volumes.erase(found);
    return leave("DeleteVolume");
}

core::Result<> FakeEc2::delete_volume_on_termination(const std::string&,
                                                     const std::string& device) {
    AMILIFT_CHECK(enter("ModifyInstanceAttribute"));
    for (auto& [id, v] : volumes) {
        for (auto& a : v.attachments) {
            if (a.device != device) continue;
            if (marks_attached_only && a.state != "attached") {
                return fail(Errc::invalid_input, "no device is currently mapped at " + device, "",
                            "InvalidInstanceAttributeValue");
            }
            a.delete_on_termination = true;
            marked_while.push_back(a.state);
        }
    }
    delete_on_termination.insert(device);
    return leave("ModifyInstanceAttribute");
}

core::Result<aws::Snapshot> FakeEc2::create_snapshot(const aws::CreateSnapshotRequest& r) {
    AMILIFT_CHECK(enter("CreateSnapshot"));
    aws::Snapshot s;
    s.id = new_id("snap");
    s.state = "pending";
    s.progress = "0%";
    s.volume_id = r.volume_id;
    s.description = r.description;
    s.size_gib = volumes.at(r.volume_id).size_gib;
    s.tags = r.tags;
    snapshots[s.id] = s;
    AMILIFT_CHECK(leave("CreateSnapshot"));
    return s;
}

core::Result<> FakeEc2::delete_snapshot(const std::string& snapshot_id) {
    AMILIFT_CHECK(enter("DeleteSnapshot"));
    for (const auto& [id, image] : images) {
        for (const auto& m : image.block_devices) {
            if (m.snapshot_id == snapshot_id) {
                return fail(Errc::conflict, "InvalidSnapshot.InUse by " + id, "",
                            "InvalidSnapshot.InUse");
            }
        }
    }
    if (snapshots.erase(snapshot_id) == 0) {
        return not_found("InvalidSnapshot.NotFound", snapshot_id);
    }
    return leave("DeleteSnapshot");
}

core::Result<std::string> FakeEc2::register_image(const aws::RegisterImageRequest& r) {
    AMILIFT_CHECK(enter("RegisterImage"));
    for (const auto& [id, image] : images) {
        if (image.name == r.name) {
            return fail(Errc::already_exists, "InvalidAMIName.Duplicate", "",
                        "InvalidAMIName.Duplicate");
        }
    }
    registered.push_back(r);
    aws::Image image;
    image.id = new_id("ami");
    image.name = r.name;
    image.description = r.description;
    image.state = "pending";
    image.owner_id = "self";
    image.architecture = r.architecture;
    image.virtualization_type = r.virtualization_type;
    image.root_device_type = "ebs";
    image.root_device_name = r.root_device_name;
    image.kernel_id = r.kernel_id.value_or("");
    image.block_devices = r.block_devices;
    image.tags = r.tags;
    images[image.id] = image;
    AMILIFT_CHECK(leave("RegisterImage"));
    return image.id;
}

core::Result<> FakeEc2::deregister_image(const std::string& image_id) {
    AMILIFT_CHECK(enter("DeregisterImage"));
    if (images.erase(image_id) == 0) return not_found("InvalidAMIID.NotFound", image_id);
    return leave("DeregisterImage");
}

core::Result<> FakeEc2::create_tags(const std::vector<std::string>& resources,
                                    const aws::Tags& tags) {
    AMILIFT_CHECK(enter("CreateTags"));
    for (const auto& id : resources) {
        for (const auto& [key, value] : tags) instance_tags[id][key] = value;
    }
    return leave("CreateTags");
}

core::Result<> FakeEc2::terminate_instance(const std::string& instance_id) {
    AMILIFT_CHECK(enter("TerminateInstances"));
    instances.at(instance_id).state = "shutting-down";
    return leave("TerminateInstances");
}

core::Result<> FakeEc2::stop_instance(const std::string& instance_id) {
    AMILIFT_CHECK(enter("StopInstances"));
    instances.at(instance_id).state = "stopping";
    return leave("StopInstances");
}

}  // namespace amilift::fakes
