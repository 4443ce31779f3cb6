// SPDX-License-Identifier: Apache-2.0
#include "aws/ec2_client.hpp"

#include <fmt/format.h>

#include <iterator>
#include <optional>
#include <utility>

#include "aws/ec2_requests.hpp"
#include "aws/ec2_responses.hpp"

namespace amilift::aws {
namespace {

using core::Errc;
using core::fail;

/// A tag only tells, and the job waits for it.
constexpr core::Duration kTagDeadline = std::chrono::seconds(20);

constexpr int kMaxPages = 1000;  // of 500 entries: more than any account may hold

core::Result<std::string> send(Client& client, const QueryForm& form, Repeat repeat) {
    AMILIFT_TRY(auto reply, client.call(query_call("ec2", form, repeat)));
    return std::move(reply.body);
}

/// A call that is answered by yes or no.
core::Result<> tell(Client& client, const QueryForm& form,
                    std::optional<core::Duration> deadline = {}) {
    auto call = query_call("ec2", form, Repeat::safe);
    if (deadline) call.deadline = *deadline;
    AMILIFT_TRY(const auto reply, client.call(call));
    const auto& body = reply.body;
    return ec2::parse_acknowledgement(body, form.action());
}

/// Once the service has said yes, an unreadable reply does not undo what was created.
template <class T>
core::Result<T> created(core::Result<T> parsed) {
    if (!parsed) {
        auto error = std::move(parsed).error();
        error.id = kOutcomeUnknown;
        return std::unexpected(std::move(error));
    }
    return parsed;
}

template <class T>
core::Result<std::vector<T>> all_pages(Client& client, const QueryForm& form, bool by_ids,
                                       core::Result<ec2::Page<T>> (*parse)(std::string_view)) {
    std::vector<T> items;
    std::string token;
    for (int pages = 0; pages < kMaxPages; ++pages) {
        auto page_form = form;
        ec2::add_page(page_form, by_ids, token);
        AMILIFT_TRY(const auto body, send(client, page_form, Repeat::safe));
        AMILIFT_TRY(auto page, parse(body));
        std::ranges::move(page.items, std::back_inserter(items));
        if (page.next_token.empty()) return items;
        if (page.next_token == token) {
            return fail(Errc::corrupt,
                        fmt::format("'{}' gives the same next page for ever (page {})",
                                    form.action(), pages + 1),
                        "check that the endpoint is EC2 itself");
        }
        token = std::move(page.next_token);
    }
    return fail(Errc::corrupt, fmt::format("'{}' has more than {} pages", form.action(), kMaxPages),
                "narrow the filters");
}

}  // namespace

core::Result<std::vector<Image>> Ec2Client::describe_images(const std::vector<std::string>& ids,
                                                            const std::vector<std::string>& owners,
                                                            const Filters& filters) {
    if (ids.empty() && owners.empty() && filters.empty()) {
        return fail(Errc::internal,
                    "describe_images was asked for every public image: give ids, owners or "
                    "filters");
    }
    return all_pages(client_, ec2::describe_images(ids, owners, filters), !ids.empty(),
                     ec2::parse_images);
}

core::Result<std::vector<Volume>> Ec2Client::describe_volumes(const std::vector<std::string>& ids,
                                                              const Filters& filters) {
    return all_pages(client_, ec2::describe_volumes(ids, filters), !ids.empty(),
                     ec2::parse_volumes);
}

core::Result<std::vector<Snapshot>> Ec2Client::describe_snapshots(
    const std::vector<std::string>& ids, const Filters& filters) {
    return all_pages(client_, ec2::describe_snapshots(ids, filters), !ids.empty(),
                     ec2::parse_snapshots);
}

core::Result<std::vector<Instance>> Ec2Client::describe_instances(
    const std::vector<std::string>& ids, const Filters& filters) {
    return all_pages(client_, ec2::describe_instances(ids, filters), !ids.empty(),
                     ec2::parse_instances);
}

core::Result<Volume> Ec2Client::create_volume(const CreateVolumeRequest& r) {
    // The token is what makes a second request the same as the first.
    const auto repeat = r.client_token.empty() ? Repeat::once : Repeat::safe;
    AMILIFT_TRY(const auto body, send(client_, ec2::create_volume(r), repeat));
    return created(ec2::parse_created_volume(body));
}

core::Result<> Ec2Client::attach_volume(const std::string& volume_id,
                                        const std::string& instance_id, const std::string& device) {
    // Its reply is the attachment; what counts is the attachment's state, which is polled.
    return tell(client_, ec2::attach_volume(volume_id, instance_id, device));
}

core::Result<> Ec2Client::detach_volume(const std::string& volume_id,
                                        const std::string& instance_id, Detach how) {
    return tell(client_, ec2::detach_volume(volume_id, instance_id, how));
}

core::Result<> Ec2Client::delete_volume(const std::string& volume_id) {
    return tell(client_, ec2::delete_volume(volume_id));
}

core::Result<> Ec2Client::delete_volume_on_termination(const std::string& instance_id,
                                                       const std::string& device) {
    return tell(client_, ec2::delete_volume_on_termination(instance_id, device));
}

core::Result<Snapshot> Ec2Client::create_snapshot(const CreateSnapshotRequest& r) {
    AMILIFT_TRY(const auto body, send(client_, ec2::create_snapshot(r), Repeat::once));
    return created(ec2::parse_created_snapshot(body));
}

core::Result<> Ec2Client::delete_snapshot(const std::string& snapshot_id) {
    return tell(client_, ec2::delete_snapshot(snapshot_id));
}

core::Result<std::string> Ec2Client::register_image(const RegisterImageRequest& r) {
    // AMI names are unique, but a repeated call would report our own image as a stranger's.
    AMILIFT_TRY(const auto body, send(client_, ec2::register_image(r), Repeat::once));
    return created(ec2::parse_registered_image(body));
}

core::Result<> Ec2Client::deregister_image(const std::string& image_id) {
    return tell(client_, ec2::deregister_image(image_id));
}

core::Result<> Ec2Client::create_tags(const std::vector<std::string>& resources, const Tags& tags) {
    if (resources.empty() || tags.empty()) return {};
    return tell(client_, ec2::create_tags(resources, tags), kTagDeadline);
}

core::Result<> Ec2Client::terminate_instance(const std::string& instance_id) {
    return tell(client_, ec2::terminate_instance(instance_id));
}

core::Result<> Ec2Client::stop_instance(const std::string& instance_id) {
    return tell(client_, ec2::stop_instance(instance_id));
}

}  // namespace amilift::aws
